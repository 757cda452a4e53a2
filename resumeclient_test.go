package kafkaws_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/history"
)

// places are a client's positions by topic.
type places map[string]*place

// move notes an offset with its epoch, or without one.
func (p places) move(topic string, partition int32, offset int64, epoch *int32) {
	at := p[topic]
	if at == nil {
		at = &place{}
		p[topic] = at
	}
	if at.Offsets == nil {
		at.Offsets = map[int32]int64{}
	}
	at.Offsets[partition] = offset
	if epoch == nil {
		delete(at.Epochs, partition)
		return
	}
	if at.Epochs == nil {
		at.Epochs = map[int32]int32{}
	}
	at.Epochs[partition] = *epoch
}

// told takes over positions that name some of the partitions.
func (p places) told(news places) {
	for topic, at := range news {
		if at.TopicID != "" {
			if p[topic] == nil {
				p[topic] = &place{}
			}
			p[topic].TopicID = at.TopicID
		}
		for partition, offset := range at.Offsets {
			var epoch *int32
			if e, ok := at.Epochs[partition]; ok {
				epoch = &e
			}
			p.move(topic, partition, offset, epoch)
		}
	}
}

// clone copies positions.
func (p places) clone() places {
	c := places{}
	for topic, at := range p {
		c[topic] = &place{at.TopicID, maps.Clone(at.Offsets), maps.Clone(at.Epochs)}
	}
	return c
}

// jsonFrame is any frame that the server sends.
type jsonFrame struct {
	Type      string `json:"type"`
	ID        *int   `json:"id"`
	Topic     string `json:"topic"`
	Partition *int32 `json:"partition"`
	Offset    *int64 `json:"offset"`
	Epoch     *int32 `json:"epoch"`
	Key       string `json:"key"`
	Value     string `json:"value"`
	Status    string `json:"status"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	Reason    string `json:"reason"`
	Positions places `json:"positions"`

	Code           string `json:"code"`
	Message        string `json:"message"`
	Outcome        string `json:"outcome"`
	Duplicate      bool   `json:"duplicate"`
	ProducerSecret string `json:"producer_secret"`
}

// frames reads a message, which is a frame or an array of records.
func frames(message []byte) ([]jsonFrame, error) {
	var all []jsonFrame
	if len(message) > 0 && message[0] == '[' {
		if err := json.Unmarshal(message, &all); err != nil {
			return nil, fmt.Errorf("%w in %.200q", err, message)
		}
		for _, f := range all {
			if f.Type != "record" {
				return nil, fmt.Errorf("an array has a %s", f.Type)
			}
		}
		return all, nil
	}
	var one jsonFrame
	if err := json.Unmarshal(message, &one); err != nil {
		return nil, fmt.Errorf("%w in %.200q", err, message)
	}
	return append(all, one), nil
}

// roamer is one client of kafka-json over all of its connections. What it knows
// from one to the next are its positions alone.
type roamer struct {
	t      testing.TB
	topic  string
	filter string
	// read, if set, is told of everything that comes.
	read *history.Reader
	// exact tells that the log stays as it is, so that connections begin where
	// they are asked to.
	exact bool

	*client           // the connection, nil between two
	at         places // the positions
	asked      places // those that the connection began with
	subscribed bool
	session    int
	records    int
	// what the status frames of all connections told, by status.
	heard map[string]int
	gaps  []jsonFrame
}

func newRoamer(t testing.TB, h *history.History, name, topic string, options history.ReaderOptions) *roamer {
	r := &roamer{t: t, topic: topic, at: places{}, heard: map[string]int{}}
	if h != nil {
		r.read = h.Reader(name, options)
	}
	return r
}

// connection is how a roamer connects.
type connection struct {
	// batch has records come in arrays; frame has the client ask by a subscribe
	// frame instead of the request's parameters.
	batch, frame bool
}

// connect begins a connection where the last one ended; the first, at the
// beginning of the topic.
func (r *roamer) connect(s *site, how connection) error {
	r.t.Helper()
	r.asked, r.subscribed = r.at.clone(), false
	r.session++
	if r.read != nil {
		if r.at[r.topic] == nil {
			r.read.Start(history.Position{Topic: r.topic, Partition: -1})
		} else {
			var at []history.Position
			for p, offset := range r.at[r.topic].Offsets {
				at = append(at, history.Position{Topic: r.topic, Partition: p, Offset: offset})
			}
			r.read.Resume(at...)
		}
	}
	query := url.Values{}
	if how.batch {
		query.Set("batch", "1")
	}
	from := any("earliest")
	if len(r.at) > 0 {
		from = r.at
	}
	if !how.frame {
		query.Set("topics", r.topic)
		if r.filter != "" {
			query.Set("filter", r.filter)
		}
		if text, ok := from.(string); ok {
			query.Set("from", text)
		} else {
			query.Set("from", mustJSON(from))
		}
	}
	c, response, err := s.tryDial(query.Encode(), nil, "kafka-json")
	if err != nil {
		if response != nil && response.StatusCode < 500 {
			r.t.Fatalf("refused with %d", response.StatusCode)
		}
		r.session--
		return err
	}
	if got := c.Subprotocol(); got != "kafka-json" {
		r.t.Fatalf("the subprotocol is %q", got)
	}
	r.client = c
	if how.frame {
		request := map[string]any{"type": "subscribe", "id": r.session, "topic": r.topic, "from": from}
		if r.filter != "" {
			request["filter"] = r.filter
		}
		if err := c.WriteMessage(websocket.TextMessage, []byte(mustJSON(request))); err != nil {
			r.lost()
			return err
		}
	}
	return nil
}

// errLater means that the client was told to ask again later.
var errLater = errors.New("kafka is unreachable")

// lost notes that the connection is gone.
func (r *roamer) lost() {
	_ = r.Close()
	r.client = nil
	if r.read != nil {
		r.read.End()
	}
}

// take reads one message and returns how many records it had. An error is the end
// of the connection.
func (r *roamer) take() (int, error) {
	r.extend()
	_, message, err := r.ReadMessage()
	if err != nil {
		var timeout interface{ Timeout() bool }
		if errors.As(err, &timeout) && timeout.Timeout() {
			r.t.Fatalf("nothing came for %v; the positions are %s", patience, mustJSON(r.at))
		}
		return 0, err
	}
	all, err := frames(message)
	if err != nil {
		r.t.Fatal(err)
	}
	n := 0
	for i := range all {
		if f := &all[i]; f.Type == "error" && f.Code == "unavailable" && f.ID != nil && *f.ID == r.session {
			return 0, errLater
		}
		if r.heed(&all[i]) {
			n++
		}
	}
	r.records += n
	return n, nil
}

// heed notes what a frame says, and reports whether it is a record.
func (r *roamer) heed(f *jsonFrame) bool {
	switch f.Type {
	case "record":
		if !r.subscribed {
			r.t.Fatal("a record came before `subscribed`")
		}
		r.at.move(f.Topic, *f.Partition, *f.Offset+1, f.Epoch)
		if r.read != nil {
			v, ok := history.ParseValue([]byte(f.Value))
			if !ok {
				r.t.Fatalf("a record that nobody wrote: %.100q", f.Value)
			}
			r.read.Read(f.Topic, *f.Partition, *f.Offset, v, history.Sum([]byte(f.Key), []byte(f.Value)))
		}
		return true
	case "subscribed":
		r.begun(f)
	case "status":
		r.status(f)
	case "welcome", "retry_after":
	default:
		r.t.Fatalf("got %s", mustJSON(f))
	}
	return false
}

// begun checks that a subscription begins exactly where it was asked to.
func (r *roamer) begun(f *jsonFrame) {
	r.subscribed = true
	if got, want := f.Positions[r.topic], r.asked[r.topic]; want != nil && r.exact && (got == nil ||
		got.TopicID != want.TopicID || !maps.Equal(got.Offsets, want.Offsets) || !maps.Equal(got.Epochs, want.Epochs)) {
		r.t.Errorf("session %d begins at %s, and asked for %s", r.session, mustJSON(got), mustJSON(want))
	}
	r.at = places{}
	r.at.told(f.Positions)
	if asked := r.asked[r.topic]; r.read != nil && asked != nil && f.Positions[r.topic] == nil {
		for p := range asked.Offsets { // the topic is not there, and begins anew
			r.read.Seek(r.topic, p, 0)
		}
	}
}

func (r *roamer) status(f *jsonFrame) {
	r.heard[f.Status]++
	switch f.Status {
	case "progress":
		r.at.told(f.Positions)
		for topic, at := range f.Positions {
			for p, offset := range at.Offsets {
				if r.read != nil {
					r.read.Progress(topic, p, offset)
				}
			}
		}
	case "gap":
		r.gaps = append(r.gaps, *f)
		r.at.move(f.Topic, *f.Partition, f.To, f.Epoch)
		if r.read == nil {
			return
		}
		if f.To < f.From {
			r.read.Seek(f.Topic, *f.Partition, f.To)
		} else {
			r.read.Gap(f.Topic, *f.Partition, f.From, f.To)
		}
	}
}

// offset is the next offset of a partition.
func (r *roamer) offset(partition int32) int64 {
	if at := r.at[r.topic]; at != nil {
		return at.Offsets[partition]
	}
	return 0
}

// until reads until something is so.
func (r *roamer) until(what string, done func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(2 * patience)
	for !done() {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: did not happen; the positions are %s", what, mustJSON(r.at))
		}
		if _, err := r.take(); err != nil {
			r.t.Fatalf("%s: the connection ended: %v", what, err)
		}
	}
}

// identify tells an independent reader's record.
func identify(r *kgo.Record) (history.Value, uint32, bool) {
	v, ok := history.ParseValue(r.Value)
	return v, history.Sum(r.Key, r.Value), ok
}

// identified makes a record that can be told from all others.
func identified(v history.Value, topic string, partition int32, key, padding string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Key: []byte(key), Value: []byte(v.String() + " " + padding)}
}
