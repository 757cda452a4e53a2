package kafkaws_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// What the tests of consumer groups have in common. The value of a record is
// "<partition>/<offset>", so that clients of the older subprotocols can tell where
// it stands, too.

// openGroups lets clients be members of every group.
const openGroups = open + "groups *\n"

// spot is where a record stands.
type spot struct {
	partition int32
	offset    int64
}

// groupFrame is a frame of kafka-json.
type groupFrame struct {
	Type, Status, Code, Group, Message string
	ID                                 int
	Topic, Key, Value                  string
	Partition                          int32
	Offset, From, To                   int64
	Reason                             string
	Partitions                         map[string][]int32
	Positions                          map[string]struct{ Offsets map[int32]int64 }
}

// groupMember is a client that is a member of a group, and what it was sent.
type groupMember struct {
	*client
	name, topic string

	mu       sync.Mutex
	changed  chan struct{}     // closed and made again with everything that comes
	got      []spot            // in the order of their arrival
	frames   []groupFrame      // those that are no records
	held     []int32           // of the topic, as the last assigned said and revoked took
	began    map[int32]int64   // where partitions began when they were assigned last
	messages int               // of records
	note     func(groupFrame)  // called for each frame and record, in order; values are its business then
	code     int               // of the Close frame; -1 while there is none
	gone     error             // the end of reading
	last     map[int32]int64   // the offset that came last, by partition
	raw      map[string]string // the whole message of each record, by its value
}

// member connects a client that is a member of a group.
func (s *site) member(name, query string, header http.Header, subprotocols ...string) *groupMember {
	s.t.Helper()
	return s.noting(name, query, header, nil, subprotocols...)
}

// noting is member for a test that wants to hear of all that comes.
func (s *site) noting(name, query string, header http.Header, note func(groupFrame), subprotocols ...string) *groupMember {
	s.t.Helper()
	c, _, err := s.tryDial(query, header, subprotocols...)
	if err != nil {
		s.t.Fatalf("dialling %s: %v", query, err)
	}
	m := &groupMember{
		client: c, name: name, changed: make(chan struct{}), began: map[int32]int64{}, code: -1, note: note,
		last: map[int32]int64{}, raw: map[string]string{},
	}
	for parameter := range strings.SplitSeq(query, "&") {
		if topic, ok := strings.CutPrefix(parameter, "topics="); ok {
			m.topic = topic
		}
	}
	_ = c.SetReadDeadline(time.Time{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.listenAll()
	}()
	s.t.Cleanup(func() {
		_ = c.Close()
		<-ended
	})
	return m
}

func (m *groupMember) listenAll() {
	for {
		kind, message, err := m.ReadMessage()
		m.mu.Lock()
		if err != nil {
			m.gone, m.code = err, 0
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				m.code = ce.Code
			}
		} else {
			m.take(kind, message)
		}
		close(m.changed)
		m.changed = make(chan struct{})
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take notes a message. The lock is held.
func (m *groupMember) take(kind int, message []byte) {
	var frames []groupFrame
	switch m.Subprotocol() {
	case "kafka-binary":
		if kind != websocket.BinaryMessage {
			m.t.Errorf("%s: got a message of type %d", m.name, kind)
		}
		n := int(message[0])
		frames = []groupFrame{{Type: "record", Topic: string(message[1 : 1+n]), Value: string(message[1+n:])}}
	case "kafka-json":
		if message[0] != '[' {
			message = slices.Concat([]byte("["), message, []byte("]"))
		}
		if err := json.Unmarshal(message, &frames); err != nil {
			m.t.Errorf("%s: %v: %.200s", m.name, err, message)
		}
	default:
		var old struct{ Topic, Message string }
		if err := json.Unmarshal(message, &old); err != nil {
			m.t.Errorf("%s: %v: %.200s", m.name, err, message)
		}
		frames = []groupFrame{{Type: "record", Topic: old.Topic, Value: old.Message}}
	}
	for _, f := range frames {
		if f.Type == "record" {
			at := spot{f.Partition, f.Offset}
			if m.note == nil {
				at = m.spot(f)
			}
			m.got = append(m.got, at)
			m.last[at.partition] = at.offset
			m.raw[f.Value] = string(message)
		} else {
			m.frames = append(m.frames, f)
		}
		switch f.Status {
		case "assigned":
			m.held = f.Partitions[m.topic]
			maps.Copy(m.began, f.Positions[m.topic].Offsets)
		case "revoked":
			m.held = slices.DeleteFunc(slices.Clone(m.held), func(p int32) bool { return slices.Contains(f.Partitions[m.topic], p) })
		}
		if m.note != nil {
			m.note(f)
		}
	}
	m.messages++
}

// spot returns where a record stands by its value, which the frame has to agree
// with.
func (m *groupMember) spot(f groupFrame) spot {
	var at spot
	if _, err := fmt.Sscanf(f.Value, "%d/%d", &at.partition, &at.offset); err != nil || f.Topic != m.topic {
		m.t.Errorf("%s: strange record %+v", m.name, f)
	}
	if m.Subprotocol() == "kafka-json" && at != (spot{f.Partition, f.Offset}) {
		m.t.Errorf("%s: record %v came as %d/%d", m.name, at, f.Partition, f.Offset)
	}
	return at
}

// until waits until something holds, which it is asked about, under the lock,
// whenever something has come.
func (m *groupMember) until(what string, holds func() bool) {
	m.t.Helper()
	timeout := time.After(2 * patience)
	for {
		m.mu.Lock()
		done, changed, gone := holds(), m.changed, m.gone
		got, held := len(m.got), m.held
		m.mu.Unlock()
		switch {
		case done:
			return
		case gone != nil:
			m.t.Fatalf("%s: waiting for %s: %v", m.name, what, gone)
		}
		select {
		case <-changed:
		case <-timeout:
			m.t.Fatalf("%s: waiting for %s in vain; it has got %d records, holds %v", m.name, what, got, held)
		}
	}
}

// holds waits until the member holds so many partitions, by what it was told.
func (m *groupMember) holds(n int) []int32 {
	m.t.Helper()
	m.until(fmt.Sprintf("%d partitions", n), func() bool { return len(m.held) == n })
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.held)
}

// hears waits until so many records have come in all, and returns them.
func (m *groupMember) hears(n int) []spot {
	m.t.Helper()
	m.until(fmt.Sprintf("%d records", n), func() bool { return len(m.got) >= n })
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

// ask sends a request of a number and returns its answer.
func (m *groupMember) ask(id int, format string, args ...any) groupFrame {
	m.t.Helper()
	m.send(fmt.Sprintf(`{"id":%d,`, id) + fmt.Sprintf(format, args...)[1:])
	return m.answer(id)
}

// answer waits for the answer to a request of a number.
func (m *groupMember) answer(id int) groupFrame {
	m.t.Helper()
	var found groupFrame
	m.until(fmt.Sprintf("the answer %d", id), func() bool {
		for _, f := range m.frames {
			if f.ID == id {
				found = f
				return true
			}
		}
		return false
	})
	return found
}

// ack acknowledges what is before an offset and waits for the answer.
func (m *groupMember) ack(id int, partition int32, next int64) groupFrame {
	m.t.Helper()
	return m.ask(id, `{"type":"ack","positions":{%q:{"offsets":{"%d":%d}}}}`, m.topic, partition, next)
}

// roundTrip sends a ping of kafka-json and waits for its pong.
func (m *groupMember) roundTrip(id int) {
	m.t.Helper()
	if f := m.ask(id, `{"type":"ping"}`); f.Type != "pong" {
		m.t.Fatalf("%s: got %+v", m.name, f)
	}
}

// ends waits until the session has ended and returns the code.
func (m *groupMember) ends() int {
	m.t.Helper()
	timeout := time.After(2 * patience)
	for {
		m.mu.Lock()
		code, changed := m.code, m.changed
		m.mu.Unlock()
		if code >= 0 {
			return code
		}
		select {
		case <-changed:
		case <-timeout:
			m.t.Fatalf("%s: the session is still open", m.name)
		}
	}
}

// leaves closes the session cleanly.
func (m *groupMember) leaves() {
	m.t.Helper()
	_ = m.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience))
	if code := m.ends(); code != websocket.CloseNormalClosure {
		m.t.Fatalf("%s: closed with %d", m.name, code)
	}
}

// groupKafka is the Kafka side of a group of one topic.
type groupKafka struct {
	t            testing.TB
	admin        *kadm.Client
	writer       *kgo.Client
	topic, group string
	partitions   int32
	next         []int64 // of each partition
}

// newGroupKafka makes a topic, for a group of the same name.
func newGroupKafka(t testing.TB, broker *kafkatest.Broker, partitions int32) *groupKafka {
	t.Helper()
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, int(partitions), nil)
	return &groupKafka{
		t: t, admin: broker.Admin(t), writer: kafkaClient(t, broker.Addr()), topic: topic, group: topic,
		partitions: partitions, next: make([]int64, partitions),
	}
}

// query is what a member asks for.
func (k *groupKafka) query(more string) string {
	return "topics=" + k.topic + "&group.id=" + k.group + more
}

// writes writes so many records to each of the partitions; none are all.
func (k *groupKafka) writes(each int, partitions ...int32) {
	k.t.Helper()
	if len(partitions) == 0 {
		for p := range k.partitions {
			partitions = append(partitions, p)
		}
	}
	var records []*kgo.Record
	for range each {
		for _, p := range partitions {
			records = append(records, &kgo.Record{Topic: k.topic, Partition: p, Value: fmt.Appendf(nil, "%d/%d", p, k.next[p])})
			k.next[p]++
		}
	}
	produce(k.t, k.writer, records...)
}

// committed returns what the group has committed, by partition.
func (k *groupKafka) committed() map[int32]int64 {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var offsets kadm.OffsetResponses
	await(k.t, "the committed offsets", func() (done bool) { // a coordinator may still be to be made
		var err error
		offsets, err = k.admin.FetchOffsets(ctx, k.group)
		return err == nil && offsets.Error() == nil
	})
	at := map[int32]int64{}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == k.topic {
			at[o.Partition] = o.At
		}
	})
	return at
}

// awaitCommit waits until the group has committed an offset, and fails if it
// commits more.
func (k *groupKafka) awaitCommit(partition int32, next int64) {
	k.t.Helper()
	await(k.t, fmt.Sprintf("the commit of %d/%d", partition, next), func() bool {
		at, some := k.committed()[partition]
		if some && at > next {
			k.t.Fatalf("partition %d: %d was committed, want %d", partition, at, next)
		}
		return some && at == next
	})
}

// awaitCommits waits until all is committed.
func (k *groupKafka) awaitCommits() {
	k.t.Helper()
	for p, next := range k.next {
		k.awaitCommit(int32(p), next)
	}
}

// members returns how many members Kafka knows of, and their client ids.
func (k *groupKafka) members() (n int, clients []string) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var all kadm.DescribedGroups
	await(k.t, "the group's description", func() (done bool) {
		var err error
		all, err = k.admin.DescribeGroups(ctx, k.group)
		return err == nil && all.Error() == nil
	})
	for _, m := range all[k.group].Members {
		clients = append(clients, m.ClientID)
	}
	return len(clients), clients
}

// awaitMembers waits until Kafka knows of so many, and returns how long that took.
func (k *groupKafka) awaitMembers(n int) time.Duration {
	k.t.Helper()
	begun := time.Now()
	await(k.t, fmt.Sprintf("%d members", n), func() bool {
		got, _ := k.members()
		return got == n
	})
	return time.Since(begun)
}

// upTo returns the places of a partition from one offset up to and without
// another.
func upTo(partition int32, from, to int64) []spot {
	var all []spot
	for o := from; o < to; o++ {
		all = append(all, spot{partition, o})
	}
	return all
}

// of returns those of a partition.
func of(partition int32, all []spot) []spot {
	return slices.DeleteFunc(slices.Clone(all), func(at spot) bool { return at.partition != partition })
}
