package gateway

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kafkaws/kafkaws/record"
)

// TestAnyInterleaving has records come, be trimmed, partitions be added, and
// sessions come from anywhere, take some, and fall behind, in any order: whatever
// it is, each session gets every record from where it began once, in the order of
// its partition.
func TestAnyInterleaving(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(rt)
		defer m.hub.Close()
		rt.Repeat(map[string]func(*rapid.T){
			"produce":   m.produce,
			"hole":      m.hole,
			"trim":      m.trim,
			"idle":      m.idle,
			"partition": m.addPartition,
			"join":      m.join,
			"serve":     m.serve,
			"forget":    m.forget,
			"":          m.check,
		})
		m.finish(rt)
	})
}

// model is a topic as the test knows it, and sessions that follow it through the
// gateway's own code, one step at a time.
type model struct {
	hub      *Hub
	pool     *Pool
	topic    *topic
	tail     *tail
	encoding *Encoding
	log      [][]int64 // the offsets of each partition's records
	next     []int64   // behind what was delivered of each
	sessions []*modelled
	made     int
}

// modelled is a session and what it has got.
type modelled struct {
	*Session
	conn *sink
	from []int64 // where it began; unknown for partitions that came later
	got  [][]int64
}

// sink takes all that is written to it.
type sink struct {
	net.Conn
	bytes []byte
}

func (s *sink) Write(p []byte) (int, error) {
	s.bytes = append(s.bytes, p...)
	return len(p), nil
}

func (*sink) SetWriteDeadline(time.Time) error { return nil }
func (*sink) Close() error                     { return nil }

// placeCodec makes messages of where a record stands, with some padding.
type placeCodec struct{ Codec }

func (placeCodec) Binary() bool { return false }

func (placeCodec) Append(dst []byte, r *record.Record) ([]byte, error) {
	return fmt.Appendf(dst, "%d/%d/%s", r.Partition, r.Offset, r.Value), nil
}

func newModel(rt *rapid.T) *model {
	m := &model{encoding: &Encoding{ID: "place", Codec: placeCodec{}}}
	m.hub = NewHub(HubConfig{Source: m, KeepReading: time.Hour, Buffer: 64 << 10, BufferTotal: 256 << 10})
	m.pool = NewPool(PoolConfig{Hub: m.hub, PingInterval: time.Hour, WriteTimeout: time.Hour})
	partitions := rapid.IntRange(1, 3).Draw(rt, "partitions")
	m.log, m.next = make([][]int64, partitions), make([]int64, partitions)
	var err error
	if m.topic, err = m.hub.open("t"); err != nil {
		rt.Fatal(err)
	}
	m.tail = m.topic.tailOf(m.encoding)
	m.topic.mu.Unlock()
	return m
}

// The model is the source of its own topic.
func (m *model) Read(_ string, s record.Sink) record.Reading {
	next := map[int32]int64{}
	for p := range m.next {
		next[int32(p)] = 0
	}
	s.Started(record.Started{Next: next})
	return noReading{}
}

type noReading struct{}

func (noReading) Resume() {}
func (noReading) Stop()   {}

func (m *model) Exists(context.Context, string) error { return nil }

func (m *model) Describe(context.Context, string, time.Duration) (record.Topic, error) {
	return record.Topic{}, nil
}

func (m *model) Offsets(context.Context, string, record.Point) (map[int32]int64, error) {
	return nil, nil
}

func (m *model) Verify(_ context.Context, _ string, _ int32, offset int64, _ int32) (int64, error) {
	return offset, nil
}

func (m *model) Fetch(_ context.Context, _ string, p int32, offset int64) (record.Batch, error) {
	b := record.Batch{Partition: p, Next: m.next[p]}
	for _, o := range m.log[p] {
		if o >= offset {
			if len(b.Records) == 5 {
				b.Next = o
				break
			}
			b.Records = append(b.Records, m.record(p, o))
		}
	}
	return b, nil
}

func (m *model) record(p int32, offset int64) record.Record {
	size := int(offset*7919+int64(p)*104729) % 900
	if offset%50 == 49 {
		size = 40_000
	}
	return record.Record{Topic: "t", Partition: p, Offset: offset, Value: []byte(strings.Repeat("x", size))}
}

func (m *model) partition(rt *rapid.T) int32 {
	return int32(rapid.IntRange(0, len(m.log)-1).Draw(rt, "partition"))
}

func (m *model) produce(rt *rapid.T) {
	p := m.partition(rt)
	var records []record.Record
	for range rapid.IntRange(1, 40).Draw(rt, "records") {
		m.next[p] += int64(rapid.SampledFrom([]int{0, 0, 0, 1, 4}).Draw(rt, "hole"))
		m.log[p] = append(m.log[p], m.next[p])
		records = append(records, m.record(p, m.next[p]))
		m.next[p]++
	}
	m.topic.put(p, records, m.next[p])
}

// hole has a partition go on without records, as behind aborted transactions.
func (m *model) hole(rt *rapid.T) {
	p := m.partition(rt)
	m.next[p] += int64(rapid.IntRange(1, 20).Draw(rt, "hole"))
	m.topic.put(p, nil, m.next[p])
}

func (m *model) trim(rt *rapid.T) {
	m.topic.mu.Lock()
	defer m.topic.mu.Unlock()
	m.tail.trim(int64(rapid.IntRange(1, 64<<10).Draw(rt, "bytes")))
}

func (m *model) idle(*rapid.T) {
	m.topic.mu.Lock()
	defer m.topic.mu.Unlock()
	m.tail.idle()
}

func (m *model) addPartition(rt *rapid.T) {
	if len(m.log) == 6 {
		rt.Skip("enough")
	}
	m.log, m.next = append(m.log, nil), append(m.next, 0)
	m.topic.Started(record.Started{Next: map[int32]int64{int32(len(m.log) - 1): 0}})
}

// join adds a session, at the end or somewhere before it.
func (m *model) join(rt *rapid.T) {
	if len(m.sessions) == 5 {
		rt.Skip("enough")
	}
	s := &modelled{Session: newSession(m.pool, SessionConfig{Encoding: m.encoding}), conn: &sink{}, from: slices.Clone(m.next)}
	s.Session.conn.Conn = s.conn
	s.flusher.Store(flushRunning) // nobody but the test serves it
	m.topic.mu.Lock()
	f := m.tail.follow(s.Session)
	m.topic.mu.Unlock()
	if rapid.Bool().Draw(rt, "earlier") {
		for p := range s.from {
			s.from[p] = rapid.Int64Range(0, m.next[p]).Draw(rt, "from")
		}
		f.lag(slices.Clone(s.from))
	}
	s.followers = []*follower{f}
	m.sessions = append(m.sessions, s)
}

// serve serves a session some steps.
func (m *model) serve(rt *rapid.T) {
	if len(m.sessions) == 0 {
		rt.Skip("nobody")
	}
	s := rapid.SampledFrom(m.sessions).Draw(rt, "session")
	for range rapid.IntRange(1, 30).Draw(rt, "steps") {
		if !s.step(rt) {
			break
		}
	}
	s.read(rt, len(m.log))
}

// forget has the blocks be let go of.
func (m *model) forget(*rapid.T) { m.hub.blocks.forget("t") }

// step is one turn of Session.send.
func (s *modelled) step(rt *rapid.T) bool {
	if err := s.pay(); err != nil {
		rt.Fatal(err)
	}
	f, frames, more := s.nextFrames()
	var err error
	switch {
	case f != nil:
		_, err = s.sendFrames(f, frames)
	case more:
		err = s.sendNext()
	}
	if err != nil {
		rt.Fatal(err)
	}
	return f != nil || more || len(s.owed) > 0
}

// read takes in what the session was sent.
func (s *modelled) read(rt *rapid.T, partitions int) {
	for len(s.got) < partitions {
		s.got = append(s.got, nil)
	}
	if err := s.pay(); err != nil {
		rt.Fatal(err)
	}
	for _, message := range messages(s.conn.bytes) {
		place := strings.SplitN(message, "/", 3)
		p, errP := strconv.Atoi(place[0])
		offset, errO := strconv.ParseInt(place[1], 10, 64)
		if errP != nil || errO != nil {
			rt.Fatalf("got %.50q", message)
		}
		s.got[p] = append(s.got[p], offset)
	}
	s.conn.bytes = nil
}

// messages takes frames apart.
func messages(b []byte) (all []string) {
	for len(b) > 0 {
		n, header := int(b[1]), 2
		switch n {
		case 126:
			n, header = int(b[2])<<8|int(b[3]), 4
		case 127:
			n, header = int(b[7])<<16|int(b[8])<<8|int(b[9]), 10
		}
		all = append(all, string(b[header:header+n]))
		b = b[header+n:]
	}
	return all
}

// check compares what the sessions have got with what they should have, so far.
func (m *model) check(rt *rapid.T) {
	for i, s := range m.sessions {
		for p, got := range s.got {
			want := m.wanted(s, p)
			if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
				rt.Fatalf("session %d, partition %d: got %v, want the beginning of %v", i, p, got, want)
			}
		}
	}
}

// wanted returns what a session is to get of a partition.
func (m *model) wanted(s *modelled, p int) []int64 {
	from := int64(0)
	if p < len(s.from) {
		from = s.from[p]
	}
	i := sort.Search(len(m.log[p]), func(i int) bool { return m.log[p][i] >= from })
	return m.log[p][i:]
}

// finish serves all sessions to the end.
func (m *model) finish(rt *rapid.T) {
	for i, s := range m.sessions {
		for n := 0; s.step(rt); n++ {
			if n > 100_000 {
				rt.Fatalf("session %d does not come to an end", i)
			}
		}
		s.read(rt, len(m.log))
		for p := range m.log {
			if want := m.wanted(s, p); !slices.Equal(s.got[p], want) {
				rt.Fatalf("session %d, partition %d: got %v, want %v", i, p, s.got[p], want)
			}
		}
	}
}
