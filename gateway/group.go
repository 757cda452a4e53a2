package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// Errors of sessions that are members of a consumer group.
var (
	// ErrNoGroup means that the session is no member of a group whose client
	// acknowledges records itself.
	ErrNoGroup = errors.New("the session is no member of a group that waits for acknowledgements")
	// ErrNotDelivered means that the client was not given the record, or has
	// acknowledged it.
	ErrNotDelivered = errors.New("the record was not delivered")
)

// leavePatience is how long a session takes to leave its group.
const leavePatience = 5 * time.Second

// Group has a session be a member of a consumer group, which reads its topics
// instead of the hub.
type Group struct {
	// Groups makes the member.
	Groups record.Groups
	// Membership is what it joins. Its topics are by their names in Kafka.
	Membership record.Membership
	// ByClient has records count as done when the client says so (Session.Ack).
	// Otherwise they do when they were written to its socket.
	ByClient bool
	// MaxUnacked is how many records may be delivered and not acknowledged, where
	// the client does that; at least 1.
	MaxUnacked int
}

// Assigned tells a member of a group which partitions it has.
type Assigned struct {
	// Partitions are all that it has, by topic.
	Partitions map[string][]int32
	// Positions are where those that it did not have before begin.
	Positions record.Positions
}

// Revoked tells a member of a group which partitions it has lost.
type Revoked struct {
	// Partitions are those, by topic.
	Partitions map[string][]int32
}

// member is a session's part in a consumer group. One goroutine reads and has the
// flusher write, a piece at a time: the next is read when this one is in the
// socket.
type member struct {
	Group
	record.Member
	session *Session
	ctx     context.Context
	cancel  context.CancelFunc
	encoder encoder
	// piece is what the flusher is to write next, under the session's lock, and
	// written is sent to when it has.
	piece   []byte
	written chan struct{}

	mu sync.Mutex
	// held are the partitions that the member has; unacked counts the records
	// that the client has not acknowledged.
	held    map[topicPartition]*held
	unacked int
	// full tells that the reading waits for room for more of them.
	full bool
	// rewinds are those that the client has asked for, and interrupt has the
	// reading look at them, and whether there is room.
	rewinds   []rewind
	interrupt context.CancelFunc
	// acks are those that wait to be committed, by one goroutine at a time.
	acks       []ack
	committing bool
	acked      chan struct{} // sent to when there is room for more of them
	// away tells that Kafka did not answer the last of them in time. It belongs to
	// the goroutine that commits.
	away bool
	// leaving tells that the membership ends, departure has it end once, and work
	// is what is waited for then.
	leaving   bool
	departure sync.Once
	work      sync.WaitGroup
}

// join makes the session a member of a group.
func (s *Session) join(g Group, filter Filter) {
	m := &member{
		Group: g, Member: g.Groups.Join(g.Membership), session: s,
		written: make(chan struct{}, 1), acked: make(chan struct{}, 1),
		held: make(map[topicPartition]*held), interrupt: func() {},
	}
	m.encoder = encoder{session: s, filter: filter}
	m.ctx, m.cancel = context.WithCancel(s.pool.ctx)
	s.member = m
}

// serve has the member read, and leave as soon as the session ends or closes: the
// others need not wait until the client has taken leave.
func (m *member) serve() {
	m.work.Go(m.read)
	context.AfterFunc(m.ctx, m.leave)
}

// leave ends the membership and waits for its end. What was delivered, or
// acknowledged, before is noted as done first, so that it does not come again.
func (m *member) leave() {
	m.cancel()
	m.departure.Do(func() {
		m.mu.Lock()
		m.leaving = true
		m.mu.Unlock()
		m.work.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
		defer cancel()
		m.Leave(ctx)
	})
}

// read reads until the session ends or closes.
func (m *member) read() {
	for m.awaitRoom() {
		if !m.act(m.Next) {
			return
		}
	}
}

// act waits for an event and acts on it, unless there are rewinds, or it waits for
// room and there is some. It reports whether the reading goes on.
func (m *member) act(next func(context.Context) (record.GroupEvent, error)) bool {
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	m.mu.Lock()
	m.interrupt = cancel
	if len(m.rewinds) > 0 || m.full && m.unacked < m.MaxUnacked {
		cancel()
	}
	m.mu.Unlock()
	e, err := next(ctx)
	if err != nil {
		return errors.Is(err, context.Canceled) && m.ctx.Err() == nil
	}
	return m.take(e)
}

// take acts on an event, and reports whether the reading goes on.
func (m *member) take(e record.GroupEvent) bool {
	s := m.session
	switch e := e.(type) {
	case record.GroupAssigned:
		return m.assigned(e)
	case record.GroupRevoked:
		m.drop(e.Partitions)
		return m.tell(Revoked{e.Partitions})
	case record.GroupRecords:
		return m.deliver(e)
	case record.GroupLoss:
		return m.lost(e)
	case record.GroupMissing:
		return m.tell(Waiting{e.Topic})
	case record.GroupFailed:
		if errors.Is(e.Err, record.ErrRefused) {
			s.Close(CloseRefused, "kafka does not let the gateway be a member of the group")
		} else {
			s.Close(CloseTryLater, "the consumer group cannot be read")
		}
	}
	return false
}

// assigned notes partitions that are new.
func (m *member) assigned(e record.GroupAssigned) bool {
	at := make(record.Positions)
	m.mu.Lock()
	for topic, partitions := range e.Next {
		at[topic] = record.TopicPosition{Offsets: partitions}
		for p, next := range partitions {
			m.held[topicPartition{topic, p}] = &held{next: next}
		}
	}
	m.mu.Unlock()
	return m.tell(Assigned{Partitions: e.Partitions, Positions: at})
}

// drop forgets partitions that are the member's no more.
func (m *member) drop(partitions map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, list := range partitions {
		for _, p := range list {
			m.forget(topicPartition{topic, p})
		}
	}
}

// lost tells of records that the group can no longer be given.
func (m *member) lost(e record.GroupLoss) bool {
	s := m.session
	if s.onGap() == GapClose {
		if s.pool.cfg.OnGap == GapDefault {
			// Its end tells the client; the next member goes on behind it.
			m.skip(e)
		}
		s.Close(CloseRecordsLost, reasonGone)
		return false
	}
	// What the client was not told of is told to the next member.
	if !m.tell(Gap{e.Topic, e.Loss}) {
		return false
	}
	m.skip(e)
	return true
}

// skip has the group go on behind a loss.
func (m *member) skip(e record.GroupLoss) {
	at := topicPartition{e.Topic, e.Loss.Partition}
	switch e.Loss.Reason {
	case record.LossTruncated:
		m.renounce(at, e.Loss.Next)
	case record.LossRecreated:
		m.renounce(at, 0)
	default: // what was delivered is what it was
	}
	m.passed(at, e.Loss.Next)
}

// tell tells the client of an event, in its order among the records.
func (m *member) tell(e Event) bool {
	if m.session.talking == nil {
		return true
	}
	return m.send(m.session.message(e))
}

// send has the flusher write frames, and waits until they are in the socket. It
// reports false when they will not be.
func (m *member) send(frames []byte) bool {
	if len(frames) == 0 {
		return true
	}
	s := m.session
	s.mu.Lock()
	if s.closing || s.broken {
		s.mu.Unlock()
		return false
	}
	m.piece = frames
	s.mu.Unlock()
	s.wake()
	select {
	case <-m.written:
		return true
	case <-m.ctx.Done():
	}
	select {
	case <-m.written: // before it was
		return true
	default:
		return false
	}
}

// takePiece takes what the session's member has for the flusher.
func (s *Session) takePiece() []byte {
	if s.member == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.member.piece
	s.member.piece = nil
	return p
}

// deliver sends records, and counts them as done where the client does not do that
// itself. It ends early when the client wants them again, or their partition was
// taken away.
func (m *member) deliver(e record.GroupRecords) bool {
	at := topicPartition{e.Topic, e.Batch.Partition}
	records := e.Batch.Records
	m.mu.Lock()
	begun := m.held[at]
	m.mu.Unlock()
	for {
		if len(records) > 0 && !m.awaitRoom() {
			return false
		}
		most := len(records)
		if m.ByClient {
			m.mu.Lock()
			most = min(most, m.MaxUnacked-m.unacked)
			over := m.held[at] != begun
			m.mu.Unlock()
			if over {
				return true // the rest comes again, here or to its next owner
			}
		}
		frames, sent, n := m.encoder.encode(records[:most])
		next := e.Batch.Next
		if n < len(records) {
			next = records[n].Offset
		}
		m.expect(at, sent)
		if !m.send(frames) {
			return false
		}
		m.passed(at, next)
		if records = records[n:]; len(records) == 0 {
			return true
		}
	}
}
