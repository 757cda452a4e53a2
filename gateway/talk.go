package gateway

import (
	"context"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// Talk is what a subprotocol says beside records. Sessions of those that have
// nothing but records have none.
type Talk interface {
	// Receive acts on a client's message. It is called by the goroutine that
	// reads from the session, which owns the message and uses its memory again;
	// while it waits, the client is not read from.
	Receive(s *Session, binary bool, message []byte)
	// Tell appends the message that tells the client of an event, of the frame
	// type that the session's records have, or nothing. It must not block, nor
	// call the session, and may be called by several goroutines at once.
	Tell(dst []byte, e Event) []byte
}

// Event is something that happens to a session: one of the types below. Topics
// are by their names in Kafka. Those that carry or change positions are told at
// the point of the stream of records where they happen: what was sent before is
// before the positions, and what is sent after is behind them.
type Event any

// Begun tells that a subscription begins. Its records come after it.
type Begun struct {
	// Request is that of the Subscription.
	Request any
	// Topics are those of the Subscription.
	Topics []string
	// Positions are where they begin, every partition named. A topic that does
	// not exist yet has none.
	Positions record.Positions
}

// Ended tells that subscriptions have ended, because the client wanted that. No
// record of theirs comes after it.
type Ended struct {
	// Request is what Unsubscribe was given.
	Request any
	// Topics are those that Unsubscribe was given.
	Topics []string
	// Positions are where those of them ended that were subscribed to.
	Positions record.Positions
}

// Failed tells that a subscription could not begin, or cannot go on.
type Failed struct {
	// Request is that of the Subscription; nil for one that had begun.
	Request any
	// Topic is the topic, where it is about one.
	Topic string
	// Err is why: record.ErrOffsetGone, record.ErrUnavailable,
	// record.ErrUnknownTopic, record.ErrRefused, ErrTooManyFilters, ErrSlowFilter,
	// ErrSlowFilters, ErrTooManyMissing, or an error of the Subscription's Check or
	// Filter.
	Err error
}

// Gap tells that reading does not simply go on in a partition.
type Gap struct {
	// Topic is the topic, and the Loss what happened in which partition.
	Topic string
	record.Loss
}

// Progress tells positions that the records alone do not tell: of what was
// passed over, and of partitions that were found.
type Progress struct {
	// Positions are those of the partitions that have moved.
	Positions record.Positions
}

// Waiting tells that a topic does not exist yet.
type Waiting struct {
	// Topic is the topic.
	Topic string
}

// CaughtUp tells that a subscription which began in the past, or had fallen
// behind, has reached the newest record.
type CaughtUp struct {
	// Topic is the topic.
	Topic string
}

// Opened is the first event of a session.
type Opened struct{}

// Closing tells that the gateway is about to close the session. Nothing comes
// after it but the Close frame.
type Closing struct {
	// Code is that of the Close frame.
	Code int
}

// Unreachable tells that no broker answers.
type Unreachable struct {
	// Since is since when.
	Since time.Time
}

// Reachable tells that brokers answer again.
type Reachable struct{}

// talking is what a session has that talks.
type talking struct {
	Talk
	// ctx ends with the session.
	ctx    context.Context
	cancel context.CancelFunc
	// batch tells that records are sent as arrays.
	batch bool
	// box is the reader's.
	box timebox

	// The session's lock guards what follows: what the client has asked for and
	// nobody has begun with; whether somebody has; and what is ready for the
	// flusher to carry out.
	asked     []ask
	arranging bool
	orders    []order
	// unreachable tells that the client was told of Unreachable.
	unreachable bool
	// receiving tells that requests of the client are being acted on.
	receiving bool
}

func newTalking(p *Pool, cfg SessionConfig) *talking {
	if cfg.Talk == nil {
		return nil
	}
	t := &talking{Talk: cfg.Talk, batch: cfg.Batch}
	t.ctx, t.cancel = context.WithCancel(p.ctx)
	return t
}

// message returns the frame that tells of an event, or nothing.
func (s *Session) message(e Event) []byte {
	payload := s.talking.Tell(nil, e)
	if len(payload) == 0 {
		return nil
	}
	return appendFrame(make([]byte, 0, headerLen(len(payload))+len(payload)), s.encoding.firstByte(), payload)
}

// tell tells the client of an event here in the stream of records. It is the
// flusher's, and does nothing for sessions that do not talk.
func (s *Session) tell(e Event) error {
	if s.talking == nil {
		return nil
	}
	frame := s.message(e)
	if len(frame) == 0 {
		return nil
	}
	return s.write(frame)
}

// tellAside tells the client of an event that does not depend on what records it
// has got.
func (s *Session) tellAside(e Event) {
	if frame := s.message(e); len(frame) > 0 {
		s.queue(frame)
	}
}

// reach tells the client whether brokers answer, where that is not what it knows.
func (s *Session) reach() {
	if s.talking == nil {
		return
	}
	s.mu.Lock()
	// Asked for under the session's lock: of two that come at the same time, a new
	// session and a tick, the last one knows the latest.
	since := s.pool.wheel.silent()
	changed := s.talking.unreachable == since.IsZero()
	s.talking.unreachable = !since.IsZero()
	s.mu.Unlock()
	switch {
	case !changed:
	case since.IsZero():
		s.tellAside(Reachable{})
	default:
		s.tellAside(Unreachable{since})
	}
}
