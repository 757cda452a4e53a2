package kafkaws_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/asyncapitest"
)

// object is a JSON object of a test.
type object = map[string]any

// place is a client's position in a topic.
type place struct {
	TopicID string          `json:"topic_id,omitempty"`
	Offsets map[int32]int64 `json:"offsets"`
	Epochs  map[int32]int32 `json:"epochs,omitempty"`
}

// frame is any frame of the server, with the members of all of them.
type frame struct {
	Type           string           `json:"type"`
	ID             json.RawMessage  `json:"id"`
	Session        string           `json:"session"`
	ProducerSecret string           `json:"producer_secret"`
	Limits         map[string]int64 `json:"limits"`

	Topic         string          `json:"topic"`
	Partition     *int32          `json:"partition"`
	Offset        *int64          `json:"offset"`
	Epoch         *int32          `json:"epoch"`
	Timestamp     *int64          `json:"timestamp"`
	Key           *string         `json:"key"`
	KeyEncoding   string          `json:"key_encoding"`
	Value         json.RawMessage `json:"value"`
	ValueEncoding string          `json:"value_encoding"`
	Headers       json.RawMessage `json:"headers"`
	Duplicate     bool            `json:"duplicate"`

	Topics    []string         `json:"topics"`
	Positions map[string]place `json:"positions"`

	Status string `json:"status"`
	Reason string `json:"reason"`
	From   int64  `json:"from"`
	To     int64  `json:"to"`
	Since  int64  `json:"since"`

	Code       string `json:"code"`
	Message    string `json:"message"`
	Retriable  bool   `json:"retriable"`
	Outcome    string `json:"outcome"`
	KafkaError string `json:"kafka_error"`
	MS         *int64 `json:"ms"`

	// raw is the frame as it came.
	raw string
}

// text returns the value of a record as text.
func (f *frame) text() string {
	var s string
	if json.Unmarshal(f.Value, &s) != nil {
		return string(f.Value)
	}
	return s
}

// description is docs/asyncapi.yaml.
var description struct {
	once     sync.Once
	document *asyncapitest.Document
}

// jsonClient is a client of kafka-json. It reads only while the test waits for
// something, checks each frame in both directions against docs/asyncapi.yaml, and
// keeps its positions by the rules of docs/protocol.md. It does not accept a record
// of a topic that it is not subscribed to, of a partition whose position it was not
// told, or from before its position.
type jsonClient struct {
	*client
	document *asyncapitest.Document
	welcome  frame
	// at are the positions, and subscribed the topics whose records may come.
	at         map[string]place
	subscribed map[string]bool
	// pending are frames that nobody has waited for yet.
	pending []frame
	// arrays are the lengths of the arrays of records that have come.
	arrays []int
	lastID int
	// extensions are those that the server chose.
	extensions string
}

// dialJSON connects a client of kafka-json and reads the welcome.
func (s *site) dialJSON(query string) *jsonClient {
	s.t.Helper()
	return s.dialJSONAs(query, nil)
}

// dialJSONAs is dialJSON with headers of the request.
func (s *site) dialJSONAs(query string, header http.Header) *jsonClient {
	s.t.Helper()
	inner, resp, err := s.tryDial(query, header, "kafka-json")
	if err != nil {
		status := ""
		if resp != nil {
			status = resp.Status
		}
		s.t.Fatalf("dialling %s: %v %s", query, err, status)
	}
	if inner.Subprotocol() != "kafka-json" {
		s.t.Fatalf("the subprotocol is %q", inner.Subprotocol())
	}
	description.once.Do(func() { description.document = asyncapitest.Load(s.t, "docs/asyncapi.yaml") })
	c := &jsonClient{client: inner, document: description.document, at: make(map[string]place), subscribed: make(map[string]bool), extensions: resp.Header.Get("Sec-WebSocket-Extensions")}
	c.receive()
	if len(c.pending) != 1 || c.pending[0].Type != "welcome" {
		s.t.Fatalf("the first frame is %s", c.pending[0].raw)
	}
	c.welcome, c.pending = c.pending[0], nil
	return c
}

// fromPositions is the query's parameter for positions.
func fromPositions(at map[string]place) string { return "from=" + url.QueryEscape(mustJSON(at)) }

// receive reads a message and keeps its frames as pending.
func (c *jsonClient) receive() {
	c.t.Helper()
	if err := c.tryReceive(); err != nil {
		c.t.Fatalf("reading: %v; frames that nobody has waited for: %s", err, c.unread())
	}
}

func (c *jsonClient) tryReceive() error {
	c.t.Helper()
	c.extend()
	kind, message, err := c.ReadMessage()
	if err != nil {
		return err
	}
	if kind != websocket.TextMessage {
		c.t.Fatalf("got a message of type %d: %q", kind, message)
	}
	c.document.CheckFrame(c.t, message)
	list := []json.RawMessage{message}
	if message[0] == '[' {
		if err := json.Unmarshal(message, &list); err != nil {
			c.t.Fatal(err)
		}
		c.arrays = append(c.arrays, len(list))
	}
	for _, one := range list {
		f := frame{raw: string(one)}
		if err := json.Unmarshal(one, &f); err != nil {
			c.t.Fatalf("%v in %s", err, one)
		}
		c.heed(&f)
		c.pending = append(c.pending, f)
	}
	return nil
}

// heed does what the protocol wants of a client that keeps positions.
func (c *jsonClient) heed(f *frame) {
	c.t.Helper()
	switch {
	case f.Type == "subscribed":
		for _, topic := range f.Topics {
			c.subscribed[topic] = true
			delete(c.at, topic)
			if at, known := f.Positions[topic]; known {
				c.move(topic, at)
			}
		}
	case f.Type == "unsubscribed":
		for _, topic := range f.Topics {
			delete(c.subscribed, topic)
			if want, got := f.Positions[topic].Offsets, c.at[topic].Offsets; !maps.Equal(got, want) {
				c.t.Errorf("%s ended at %v, the client is at %v", topic, want, got)
			}
		}
	case f.Type == "record":
		at, known := c.at[f.Topic].Offsets[*f.Partition]
		switch {
		case !c.subscribed[f.Topic]:
			c.t.Errorf("a record of a topic without a subscription: %s", f.raw)
		case !known:
			c.t.Errorf("a record of a partition that begins nowhere: %s", f.raw)
		case *f.Offset < at:
			c.t.Errorf("a record before the position %d: %s", at, f.raw)
		}
		next := place{Offsets: map[int32]int64{*f.Partition: *f.Offset + 1}}
		if f.Epoch != nil {
			next.Epochs = map[int32]int32{*f.Partition: *f.Epoch}
		}
		c.move(f.Topic, next)
	case f.Status == "progress":
		for topic, at := range f.Positions {
			c.move(topic, at)
		}
	case f.Status == "gap":
		if !c.subscribed[f.Topic] {
			c.t.Errorf("a gap of a topic without a subscription: %s", f.raw)
		}
		c.move(f.Topic, place{Offsets: map[int32]int64{*f.Partition: f.To}})
	case f.Type == "error" && f.Topic != "":
		delete(c.subscribed, f.Topic)
	}
}

// move takes positions of a topic over.
func (c *jsonClient) move(topic string, to place) {
	at, known := c.at[topic]
	if !known {
		at = place{Offsets: make(map[int32]int64), Epochs: make(map[int32]int32)}
	}
	if to.TopicID != "" {
		at.TopicID = to.TopicID
	}
	for p, offset := range to.Offsets {
		at.Offsets[p] = offset
		delete(at.Epochs, p)
		if epoch, known := to.Epochs[p]; known {
			at.Epochs[p] = epoch
		}
	}
	c.at[topic] = at
}

// unread returns the frames that nobody has waited for.
func (c *jsonClient) unread() string {
	var all []string
	for i := range c.pending {
		all = append(all, c.pending[i].raw)
	}
	return strings.Join(all, "\n")
}

// wait returns the first frame that is as wanted; those before it stay pending.
func (c *jsonClient) wait(wanted func(*frame) bool) frame {
	c.t.Helper()
	for i := 0; ; i++ {
		if i == len(c.pending) {
			c.receive()
		}
		if f := c.pending[i]; wanted(&f) {
			c.pending = slices.Delete(c.pending, i, i+1)
			return f
		}
	}
}

// next returns the first frame of a type.
func (c *jsonClient) next(kind string) frame {
	c.t.Helper()
	return c.wait(func(f *frame) bool { return f.Type == kind })
}

// status returns the first status frame of that name.
func (c *jsonClient) status(name string) frame {
	c.t.Helper()
	return c.wait(func(f *frame) bool { return f.Status == name })
}

// records returns the next n records.
func (c *jsonClient) records(n int) []frame {
	c.t.Helper()
	all := make([]frame, n)
	for i := range all {
		all[i] = c.next("record")
	}
	return all
}

// values returns the values of the next n records, as text.
func (c *jsonClient) values(n int) []string {
	c.t.Helper()
	all := make([]string, n)
	for i, f := range c.records(n) {
		all[i] = f.text()
	}
	return all
}

// ask sends a request of a type with a new id, which it returns.
func (c *jsonClient) ask(kind string, members object) string {
	c.t.Helper()
	c.lastID++
	request := object{"type": kind, "id": c.lastID}
	maps.Copy(request, members)
	text := mustJSON(request)
	c.document.CheckFrame(c.t, []byte(text))
	c.send(text)
	return strconv.Itoa(c.lastID)
}

// answer returns the answer to the request of an id, and checks its type.
func (c *jsonClient) answer(id, kind string) frame {
	c.t.Helper()
	f := c.wait(func(f *frame) bool { return string(f.ID) == id })
	if f.Type != kind {
		c.t.Fatalf("got %s, want %s", f.raw, kind)
	}
	return f
}

// do sends a request and returns its answer, which is to be of a type.
func (c *jsonClient) do(kind string, members object, answer string) frame {
	c.t.Helper()
	return c.answer(c.ask(kind, members), answer)
}

// fails sends a request that is answered with an error, which it checks.
func (c *jsonClient) fails(kind string, members object, code string) frame {
	c.t.Helper()
	f := c.do(kind, members, "error")
	if f.Code != code {
		c.t.Fatalf("got %s, want %s", f.raw, code)
	}
	return f
}

// publish writes a record and returns the answer.
func (c *jsonClient) publish(members object) frame {
	c.t.Helper()
	return c.do("publish", members, "published")
}

// ended reads until the session is closed. It returns the code, and the frame
// retry_after, which has to be the last one, or nil.
func (c *jsonClient) ended() (code int, retry *frame) {
	c.t.Helper()
	for {
		err := c.tryReceive()
		if err == nil {
			continue
		}
		var ce *websocket.CloseError
		if !errors.As(err, &ce) {
			c.t.Fatalf("the connection ended without a Close frame: %v", err)
		}
		for i := range c.pending {
			if f := &c.pending[i]; f.Type != "retry_after" {
				continue
			} else if retry = f; i != len(c.pending)-1 {
				c.t.Errorf("retry_after is not the last frame:\n%s", c.unread())
			}
		}
		return ce.Code, retry
	}
}

// expectValues reads records and compares their values.
func (c *jsonClient) expectValues(want ...string) {
	c.t.Helper()
	if got := c.values(len(want)); !slices.Equal(got, want) {
		c.t.Fatalf("got records %q, want %q", got, want)
	}
}
