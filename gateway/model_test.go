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

// TestAnyInterleaving has records come, be trimmed, deleted and cut off, partitions
// be added, and sessions come from anywhere, take some, fall behind, and be cut
// off and come back, in any order: whatever it is, each session gets every record
// that it wants once, in the order of its partition, or is told of a gap, and the
// positions that it is told are those of what it has got.
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
			"expire":    m.expire,
			"cut":       m.cut,
			"recreate":  m.recreate,
			"join":      m.join,
			"serve":     m.serve,
			"progress":  m.progress,
			"resume":    m.resume,
			"forget":    m.forget,
			"corrupt":   m.corrupt,
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
	log      [][]place // the records of each partition
	first    []int64   // the first offset that Kafka still has of each
	next     []int64   // behind what was delivered of each
	bad      []bad     // what cannot be read any more
	cuts     []cut     // of logs, in their order
	lives    []int     // how many cuts there were when the topic was made, each time
	sessions []*modelled
}

// place is a record: where it stands, and how often its log had been cut when it
// was written.
type place struct {
	offset int64
	cuts   int
}

// bad is a range of offsets that Fetch cannot read.
type bad struct {
	partition int32
	from, to  int64
}

// cut is the cut of a log.
type cut struct {
	partition int
	at        int64
}

// modelled is a client and what it has got, in one session after another.
type modelled struct {
	*Session
	conn   *sink
	talk   *modelTalk // nil for one of an older subprotocol
	batch  bool
	filter Filter
	from   []int64 // where it began; unknown for partitions that came later
	got    [][]place
	at     []int64 // what the client knows its positions to be
	epochs []int   // and how often the logs before them had been cut; -1: it does not know
	lost   []record.Loss
	begun  bool
	id     record.TopicID // of the topic, as the client knows it
}

// modelTalk notes events and sends their numbers.
type modelTalk struct{ events []Event }

func (*modelTalk) Receive(*Session, bool, []byte) {}

func (t *modelTalk) Tell(dst []byte, e Event) []byte {
	t.events = append(t.events, e)
	return fmt.Appendf(dst, "!%d", len(t.events)-1)
}

// everyNth wants one of n records.
type everyNth int64

func (n everyNth) ID() string { return fmt.Sprint(int64(n)) }

func (n everyNth) Match(r *record.Record, seen any) (bool, any, int) {
	return (r.Offset+int64(r.Partition))%int64(n) == 0, seen, 1
}

// dropping drops some records.
type dropping struct{}

func (dropping) Transform(_ context.Context, r *record.Record) (bool, error) {
	return r.Offset%5 != 3, nil
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
func (*sink) SetDeadline(time.Time) error      { return nil }
func (*sink) Close() error                     { return nil }

// placeCodec makes messages of where a record stands, with some padding.
type placeCodec struct{ Codec }

func (placeCodec) Binary() bool { return false }

func (placeCodec) Append(dst []byte, r *record.Record) ([]byte, error) {
	return fmt.Appendf(dst, "%d/%d/%s/%s", r.Partition, r.Offset, r.Key, r.Value), nil
}

func newModel(rt *rapid.T) *model {
	m := &model{encoding: &Encoding{ID: "place", Codec: placeCodec{}}, lives: []int{0}}
	if rapid.Bool().Draw(rt, "drops") {
		m.encoding.Chain = &Chain{ID: "drops", Steps: []Transform{dropping{}}}
	}
	m.hub = NewHub(HubConfig{Source: m, KeepReading: time.Hour, Buffer: 64 << 10, BufferTotal: 256 << 10})
	m.pool = NewPool(PoolConfig{Hub: m.hub, PingInterval: time.Hour, WriteTimeout: time.Hour})
	partitions := rapid.IntRange(1, 3).Draw(rt, "partitions")
	m.log, m.next, m.first = make([][]place, partitions), make([]int64, partitions), make([]int64, partitions)
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
	s.Started(record.Started{TopicID: topicOf(1), Next: next})
	return noReading{}
}

type noReading struct{}

func (noReading) Resume() {}
func (noReading) Stop()   {}

func (m *model) Unreachable() time.Time { return time.Time{} }

func (m *model) Exists(context.Context, string) error { return nil }

func (m *model) Describe(context.Context, string, time.Duration) (record.Topic, error) {
	return record.Topic{}, nil
}

func (m *model) Offsets(_ context.Context, _ string, at record.Point) (map[int32]int64, error) {
	offsets := map[int32]int64{}
	for p := range m.first {
		offsets[int32(p)] = m.first[p]
	}
	return offsets, nil
}

func (m *model) Verify(_ context.Context, _ string, _ int32, offset int64, _ int32) (int64, error) {
	return offset, nil
}

func (m *model) Fetch(_ context.Context, _ string, p int32, offset int64) (record.Batch, error) {
	if offset < m.first[p] {
		return record.Batch{}, record.ErrOffsetGone
	}
	b := record.Batch{Partition: p, Next: m.next[p]}
	for _, r := range m.bad {
		if r.partition == p && r.from <= offset && offset < r.to {
			return record.Batch{Partition: p, Next: r.to, Epoch: record.NoEpoch, Unreadable: true}, nil
		}
		if r.partition == p && r.from > offset {
			b.Next = min(b.Next, r.from)
		}
	}
	for _, o := range m.log[p] {
		if o.offset >= offset && o.offset < b.Next {
			if len(b.Records) == 5 {
				b.Next = o.offset
				break
			}
			b.Records = append(b.Records, m.record(p, o))
		}
	}
	return b, nil
}

func (m *model) record(p int32, at place) record.Record {
	size := int(at.offset*7919+int64(p)*104729) % 900
	if at.offset%50 == 49 {
		size = 40_000
	}
	return record.Record{
		Topic: "t", Partition: p, Offset: at.offset, Epoch: int32(at.cuts),
		Key: fmt.Append(nil, at.cuts), Value: []byte(strings.Repeat("x", size)),
	}
}

func (m *model) partition(rt *rapid.T) int32 {
	return int32(rapid.IntRange(0, len(m.log)-1).Draw(rt, "partition"))
}

func (m *model) produce(rt *rapid.T) {
	p := m.partition(rt)
	var records []record.Record
	for range rapid.IntRange(1, 40).Draw(rt, "records") {
		m.next[p] += int64(rapid.SampledFrom([]int{0, 0, 0, 1, 4}).Draw(rt, "hole"))
		at := place{m.next[p], len(m.cuts)}
		m.log[p] = append(m.log[p], at)
		records = append(records, m.record(p, at))
		m.next[p]++
	}
	m.topic.put(p, records, m.next[p], int32(len(m.cuts)))
}

// hole has a partition go on without records, as behind aborted transactions.
func (m *model) hole(rt *rapid.T) {
	p := m.partition(rt)
	m.next[p] += int64(rapid.SampledFrom([]int{1, 7, 20, 2 * maxUnseen}).Draw(rt, "hole"))
	m.topic.put(p, nil, m.next[p], int32(len(m.cuts)))
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
	m.log, m.next, m.first = append(m.log, nil), append(m.next, 0), append(m.first, 0)
	m.topic.started(record.Started{TopicID: topicOf(len(m.lives)), Next: map[int32]int64{int32(len(m.log) - 1): 0}})
}

// expire has Kafka delete records, some of them before they were read.
func (m *model) expire(rt *rapid.T) {
	p := m.partition(rt)
	if rapid.Bool().Draw(rt, "unread") {
		from := m.next[p]
		m.next[p] += rapid.Int64Range(1, 20).Draw(rt, "records")
		m.first[p] = m.next[p]
		m.lose(record.Loss{Partition: p, From: from, Next: m.next[p], Reason: record.LossExpired})
		m.leave()
		return
	}
	m.first[p] = rapid.Int64Range(m.first[p], m.next[p]).Draw(rt, "first")
	m.hub.blocks.forget("t")
}

// lose has the topic's reading notice a loss.
func (m *model) lose(l record.Loss) {
	m.hub.blocks.forget("t")
	m.topic.lost(l)
}

// corrupt has what Kafka stores become unreadable.
func (m *model) corrupt(rt *rapid.T) {
	p := m.partition(rt)
	from := rapid.Int64Range(m.first[p], m.next[p]).Draw(rt, "from")
	to := min(from+rapid.Int64Range(1, 30).Draw(rt, "offsets"), m.next[p])
	m.bad = append(m.bad, bad{p, from, to})
	m.hub.blocks.forget("t")
}

// certain leaves out what a client that cannot be told of it may have missed.
func (m *model) certain(s *modelled, p int, all []place) []place {
	if s.talk != nil {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(at place) bool {
		return slices.ContainsFunc(m.bad, func(r bad) bool { return int(r.partition) == p && r.from <= at.offset && at.offset < r.to })
	})
}

// mend has what is cut off no longer be corrupt.
func (m *model) mend(p int32, from int64) {
	for i := range m.bad {
		if r := &m.bad[i]; r.partition == p {
			r.to = min(r.to, from)
		}
	}
}

// cut has a log be cut, as by an unclean election, or be another one altogether.
func (m *model) cut(rt *rapid.T) {
	p := m.partition(rt)
	loss := record.Loss{Partition: p, From: m.next[p], Reason: record.LossTruncated}
	loss.Next = rapid.Int64Range(m.first[p], m.next[p]).Draw(rt, "cut")
	if rapid.Bool().Draw(rt, "recreated") {
		loss.Next, loss.Reason = 0, record.LossRecreated
		m.first[p] = 0
	}
	m.next[p] = loss.Next
	m.mend(p, loss.Next)
	i := sort.Search(len(m.log[p]), func(i int) bool { return m.log[p][i].offset >= loss.Next })
	m.log[p] = m.log[p][:i:i]
	m.cuts = append(m.cuts, cut{int(p), loss.Next})
	m.lose(loss)
	m.leave()
}

// topicOf returns the id that the topic has in one of its lives.
func topicOf(life int) record.TopicID { return record.TopicID{byte(life), byte(life >> 8)} }

// recreate has the topic be deleted and made again.
func (m *model) recreate(*rapid.T) {
	m.lives = append(m.lives, len(m.cuts)+len(m.log))
	for p := range m.log {
		from := m.next[p]
		m.log[p], m.next[p], m.first[p] = nil, 0, 0
		m.mend(int32(p), 0)
		m.cuts = append(m.cuts, cut{p, 0})
		m.lose(record.Loss{Partition: int32(p), From: from, Reason: record.LossRecreated})
	}
	m.topic.started(record.Started{TopicID: topicOf(len(m.lives))})
	m.leave()
}

// checkLife checks that a client that gets a record of one of the topic's lives knows
// which one it is.
func (m *model) checkLife(rt *rapid.T, s *modelled, cuts int) {
	life := 0
	for life < len(m.lives) && m.lives[life] <= cuts {
		life++
	}
	if s.talk != nil && s.id != topicOf(life) {
		rt.Fatalf("a record of the topic's life %d, to a client that was told of %v", life, s.id)
	}
}

// leave has those clients go that were closed.
func (m *model) leave() {
	m.sessions = slices.DeleteFunc(m.sessions, func(s *modelled) bool {
		if !s.isClosing() {
			return false
		}
		s.leave()
		return true
	})
}

// join adds a client, at the end or somewhere before it.
func (m *model) join(rt *rapid.T) {
	if len(m.sessions) == 5 {
		rt.Skip("enough")
	}
	s := &modelled{from: slices.Clone(m.next)}
	if rapid.Bool().Draw(rt, "filter") {
		s.filter = everyNth(rapid.IntRange(1, 4).Draw(rt, "nth"))
	}
	if rapid.Bool().Draw(rt, "talks") {
		s.talk = new(modelTalk)
		s.batch = rapid.Bool().Draw(rt, "batch")
	}
	earlier := rapid.Bool().Draw(rt, "earlier")
	if earlier {
		for p := range s.from {
			s.from[p] = rapid.Int64Range(m.first[p], m.next[p]).Draw(rt, "from")
		}
	}
	m.connect(rt, s, earlier, s.from)
	m.sessions = append(m.sessions, s)
}

// connect gives a client a session that begins at these offsets.
func (m *model) connect(rt *rapid.T, s *modelled, earlier bool, from []int64) {
	cfg := SessionConfig{Encoding: m.encoding, Batch: s.batch}
	if s.talk != nil {
		cfg.Talk = s.talk
	}
	s.Session, s.conn, s.begun = newSession(m.pool, cfg), &sink{}, false
	s.Session.conn.Conn = s.conn
	s.flusher.Store(flushRunning) // nobody but the test serves it
	m.topic.mu.Lock()
	f, err := m.tail.follow(s.Session, s.filter)
	m.topic.mu.Unlock()
	if err != nil {
		rt.Fatal(err)
	}
	if earlier {
		f.lag(slices.Clone(from))
	}
	if s.talk != nil {
		s.order(order{ask: ask{Subscription: Subscription{Topics: []string{"t"}}}, followers: []*follower{f}})
	} else {
		s.followers = []*follower{f}
	}
}

// serve serves a session some steps.
func (m *model) serve(rt *rapid.T) {
	s := m.anyone(rt)
	for range rapid.IntRange(1, 30).Draw(rt, "steps") {
		if !s.step(rt) {
			break
		}
	}
	s.read(rt, m)
	m.leave()
}

func (m *model) anyone(rt *rapid.T) *modelled {
	if len(m.sessions) == 0 {
		rt.Skip("nobody")
	}
	return rapid.SampledFrom(m.sessions).Draw(rt, "session")
}

// progress has a session tell its positions.
func (m *model) progress(rt *rapid.T) {
	if s := m.anyone(rt); s.talk != nil {
		s.order(order{progress: true})
	}
}

// resume cuts a client off, whatever it was being sent, and has it go on from the
// positions that it knows.
func (m *model) resume(rt *rapid.T) {
	s := m.anyone(rt)
	if s.talk == nil || !s.begun {
		rt.Skip("it knows no positions")
	}
	// Some of what was sent arrives.
	arrived := messages(s.conn.bytes)
	s.hearAll(rt, m, arrived[:rapid.IntRange(0, len(arrived)).Draw(rt, "arrived")])
	s.conn.bytes, s.owed = nil, nil
	s.Session.leave()
	s.talk = new(modelTalk)
	for _, c := range m.cuts {
		if p := c.partition; p < len(s.at) && s.epochs[p] < 0 {
			// It does not know which log it has read, so this client is given up.
			m.sessions = slices.DeleteFunc(m.sessions, func(other *modelled) bool { return other == s })
			return
		}
	}
	// What the check of positions finds out.
	for i, c := range m.cuts {
		if p := c.partition; p < len(s.at) && i >= s.epochs[p] && s.at[p] > c.at {
			s.know(p, c.at, -1)
			s.rewind(p, c.at)
		}
	}
	for p := range m.next {
		if p >= len(s.at) {
			s.know(p, 0, -1) // positions that do not name it
		}
		if s.at[p] < m.first[p] {
			s.lost = append(s.lost, record.Loss{Partition: int32(p), From: s.at[p], Next: m.first[p]})
			s.know(p, m.first[p], -1)
		}
	}
	m.connect(rt, s, true, s.at)
}

// rewind has the client forget what is no longer in a log.
func (s *modelled) rewind(p int, at int64) {
	s.got[p] = s.before(p, at)
	s.lost = slices.DeleteFunc(s.lost, func(l record.Loss) bool { return int(l.Partition) == p && l.From >= at })
	for i := range s.lost {
		if l := &s.lost[i]; int(l.Partition) == p {
			l.Next = min(l.Next, at)
		}
	}
	if p < len(s.from) {
		s.from[p] = min(s.from[p], at)
	}
}

// before returns what the client has got of a partition before an offset.
func (s *modelled) before(p int, at int64) []place {
	got := s.got[p]
	i := sort.Search(len(got), func(i int) bool { return got[i].offset >= at })
	return got[:i:i]
}

// forget has the blocks be let go of.
func (m *model) forget(*rapid.T) { m.hub.blocks.forget("t") }

// step is one turn of Session.send.
func (s *modelled) step(rt *rapid.T) bool {
	if err := s.pay(); err != nil {
		rt.Fatal(err)
	}
	if o, ok := s.takeOrder(); ok {
		if err := s.carryOut(o); err != nil {
			rt.Fatal(err)
		}
		return true
	}
	if s.isClosing() {
		return false
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
func (s *modelled) read(rt *rapid.T, m *model) {
	if err := s.pay(); err != nil {
		rt.Fatal(err)
	}
	s.hearAll(rt, m, messages(s.conn.bytes))
	s.conn.bytes = nil
}

// hearAll takes in messages.
func (s *modelled) hearAll(rt *rapid.T, m *model, all []string) {
	for len(s.got) < len(m.log) {
		s.got = append(s.got, nil)
	}
	for _, message := range all {
		if number, event := strings.CutPrefix(message, "!"); event {
			n, err := strconv.Atoi(number)
			if err != nil {
				rt.Fatalf("got %.50q", message)
			}
			s.hear(rt, m, s.talk.events[n])
			continue
		}
		records := []string{message}
		if s.batch {
			if message[0] != '[' || message[len(message)-1] != ']' {
				rt.Fatalf("got %.50q, which is no array", message)
			}
			records = strings.Split(message[1:len(message)-1], ",")
		}
		for _, r := range records {
			s.take(rt, m, r)
		}
	}
}

// take takes in a record.
func (s *modelled) take(rt *rapid.T, m *model, message string) {
	var p int
	var at place
	if _, err := fmt.Sscanf(message[:min(len(message), 60)], "%d/%d/%d/", &p, &at.offset, &at.cuts); err != nil {
		rt.Fatalf("got %.50q: %v", message, err)
	}
	if s.talk != nil && !s.begun {
		rt.Fatalf("got %.50q before the subscription began", message)
	}
	if n := len(s.got[p]); n > 0 && s.got[p][n-1].offset >= at.offset {
		rt.Fatalf("partition %d: got %v behind %v", p, at, s.got[p][n-1])
	}
	m.checkLife(rt, s, at.cuts)
	s.got[p] = append(s.got[p], at)
	s.know(p, at.offset+1, at.cuts)
}

// know notes a position.
func (s *modelled) know(p int, next int64, epoch int) {
	for len(s.at) <= p {
		s.at, s.epochs = append(s.at, 0), append(s.epochs, -1)
	}
	s.at[p], s.epochs[p] = next, epoch
}

// hear takes in an event.
func (s *modelled) hear(rt *rapid.T, m *model, e Event) {
	switch e := e.(type) {
	case Begun:
		if s.at == nil {
			// What has happened before it begins is no business of the client's.
			for p := range s.from {
				s.from[p] = e.Positions["t"].Offsets[int32(p)]
			}
		}
		s.begun = true
		s.positions(rt, m, e.Positions)
	case Progress:
		s.positions(rt, m, e.Positions)
	case Gap:
		p := int(e.Partition)
		if p < len(s.at) && e.From < s.at[p] {
			rt.Fatalf("partition %d: told of the gap %+v at %d", p, e.Loss, s.at[p])
		}
		if e.Next < e.From {
			s.rewind(p, e.Next)
		} else {
			s.lost = append(s.lost, e.Loss)
		}
		s.know(p, e.Next, -1)
	case CaughtUp:
	default:
		rt.Fatalf("told of %#v", e)
	}
}

// positions checks that positions are those of what the client has got.
func (s *modelled) positions(rt *rapid.T, m *model, at record.Positions) {
	if id := at["t"].TopicID; id != (record.TopicID{}) {
		s.id = id
	}
	for partition, next := range at["t"].Offsets {
		p := int(partition)
		if p < len(s.at) && next < s.at[p] {
			rt.Fatalf("partition %d: told of %d at %d", p, next, s.at[p])
		}
		if len(m.cuts) == 0 {
			var want []place
			for _, w := range m.wanted(s, p) {
				if w.offset < next {
					want = append(want, w)
				}
			}
			if !slices.Equal(s.got[p], want) {
				rt.Fatalf("partition %d: told of %d, got %v, want %v", p, next, s.got[p], want)
			}
		}
		epoch, known := at["t"].Epochs[partition]
		if !known {
			epoch = -1
		}
		s.know(p, next, int(epoch))
	}
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

// check compares what the clients have got with what they should have, so far. The
// logs that they read may have been cut since.
func (m *model) check(rt *rapid.T) {
	if len(m.cuts) > 0 {
		return
	}
	for i, s := range m.sessions {
		for p, got := range s.got {
			got, want := m.certain(s, p, got), m.certain(s, p, m.wanted(s, p))
			if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
				rt.Fatalf("session %d, partition %d: got %v, want the beginning of %v", i, p, got, want)
			}
		}
	}
}

// wanted returns what a client is to get of a partition, as far as is known.
func (m *model) wanted(s *modelled, p int) (want []place) {
	for _, at := range m.log[p] {
		lost := slices.ContainsFunc(s.lost, func(l record.Loss) bool {
			return int(l.Partition) == p && l.From <= at.offset && at.offset < l.Next
		})
		if p < len(s.from) && at.offset < s.from[p] || lost || m.encoding.Chain != nil && at.offset%5 == 3 {
			continue
		}
		if s.filter != nil {
			r := m.record(int32(p), at)
			if wanted, _, _ := s.filter.Match(&r, nil); !wanted {
				continue
			}
		}
		want = append(want, at)
	}
	return want
}

// finish serves all sessions to the end.
func (m *model) finish(rt *rapid.T) {
	for i, s := range m.sessions {
		for n := 0; s.step(rt); n++ {
			if n > 100_000 {
				rt.Fatalf("session %d does not come to an end", i)
			}
		}
		s.read(rt, m)
		if s.isClosing() {
			continue
		}
		for p := range m.log {
			if got, want := m.certain(s, p, s.got[p]), m.certain(s, p, m.wanted(s, p)); !slices.Equal(got, want) {
				rt.Fatalf("session %d, partition %d: got %v, want %v", i, p, got, want)
			}
		}
	}
}
