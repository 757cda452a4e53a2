package gateway

import (
	"context"
	"errors"

	"github.com/kafkaws/kafkaws/record"
)

// maxFlightBytes is how many bytes of records of one session may be
// unacknowledged before it is no longer read from.
const maxFlightBytes = 4 << 20

// Errors with which a client's record is not published, beside those of package
// record.
var (
	// ErrDiscarded means that a transform dropped the record.
	ErrDiscarded = errors.New("dropped by a transform")
	// ErrTransform means that a transform failed on the record.
	ErrTransform = errors.New("a transform failed")
	// ErrIllegalTopic means that Kafka has no topics of such a name.
	ErrIllegalTopic = errors.New("illegal topic name")
	// ErrDenied means that the session may not publish to the topic.
	ErrDenied = errors.New("publishing to the topic is not allowed")
	// ErrEnding means that the session is about to end.
	ErrEnding = errors.New("the session ends")
)

// screen takes a client's record through the session's chain, and asks the policy
// about what that made of it.
func (s *Session) screen(box *timebox, r *record.Record) error {
	if keep, err := s.chain.run(box, r); !keep {
		if s.pool.cfg.Discarded != nil {
			s.pool.cfg.Discarded(r.Topic, err)
		}
		if err != nil {
			return ErrTransform
		}
		return ErrDiscarded
	}
	if !record.ValidTopic(r.Topic) {
		return ErrIllegalTopic
	}
	if !s.mayPublish(r.Topic) {
		if s.pool.cfg.Denied != nil {
			s.pool.cfg.Denied(r.Topic)
		}
		return ErrDenied
	}
	return nil
}

// Publish publishes a client's record, if the session's chain keeps it and its
// policy allows what came out. It waits while the session has as many records in
// flight as it may. r and its bytes are the producer's until done was called; done
// is called once, by whom it may be, and must not block. Its error is one of the
// above or one of package record's. Publish is for the goroutine that Receive is
// called by.
func (s *Session) Publish(r *record.Record, done func(record.Outcome)) {
	s.paused.Store(true)
	defer s.paused.Store(false)
	if err := s.screen(&s.talking.box, r); err != nil {
		done(record.Outcome{Err: err})
		return
	}
	size := r.Size()
	if !s.takeOff(size) {
		done(record.Outcome{Err: ErrEnding})
		return
	}
	landed := func(o record.Outcome) {
		done(o)
		s.landed(size, nil) // the client was told
	}
	if err := s.pool.cfg.Producer.Publish(s.pool.ctx, r, landed); err != nil {
		landed(record.Outcome{Err: err})
	}
}

// Reserve takes the room of a record in the session's window, as Publish does: for
// a request that has to wait for an answer like one. It reports false when the
// session ends before there is room.
func (s *Session) Reserve(size int) bool {
	s.paused.Store(true)
	defer s.paused.Store(false)
	return s.takeOff(size)
}

// Release gives back what Reserve took.
func (s *Session) Release(size int) { s.landed(size, nil) }

// publish hands the record that was read to the producer, as Publish does. A client
// whose record is refused cannot be told otherwise than by closing its session. It
// reports whether the producer has the record now, and with it all of in.
func (s *Session) publish(in *inbound) (taken bool) {
	r := &in.record
	// Transforms may take their time, and the producer may wait for Kafka,
	// while pongs stay unread.
	s.paused.Store(true)
	defer s.paused.Store(false)
	switch err := s.screen(&in.box, r); err {
	case nil:
	case ErrIllegalTopic:
		s.Close(ClosePolicy, "kafka has no topics of such a name")
		return false
	case ErrDenied:
		s.Close(ClosePolicy, "this site does not let you publish to that topic")
		return false
	default:
		return false
	}
	size := r.Size()
	if !s.takeOff(size) {
		return false
	}
	in.session, in.size = s, size
	if err := s.pool.cfg.Producer.Publish(s.pool.ctx, r, in.done); err != nil {
		s.landed(size, err)
		return false
	}
	return true
}

// landed is the producer's answer for the record. The memory is used again once
// the record is written, and not where it may still be: a producer may have to
// send it once more along with others.
func (in *inbound) landed(o record.Outcome) {
	s, size := in.session, in.size
	if o.Err == nil {
		s.pool.done(in)
	}
	s.landed(size, o.Err)
}

// takeOff waits for room in the session's window and takes it. It reports false
// when the session ends before.
func (s *Session) takeOff(size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.inFlight > 0 && (int(s.inFlight) >= s.pool.cfg.MaxInFlight || int(s.flightBytes)+size > maxFlightBytes) {
		if s.closing || s.broken {
			break
		}
		s.changed.Wait()
	}
	if s.closing || s.ending || s.broken {
		return false
	}
	s.inFlight++
	s.flightBytes += int32(size)
	return true
}

// landed gives back a record's room. A record that was not written ends the
// session: the older subprotocols have no other way to say so.
func (s *Session) landed(size int, err error) {
	s.mu.Lock()
	s.inFlight--
	s.flightBytes -= int32(size)
	end := s.ended()
	s.changed.Broadcast()
	s.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		s.Close(publishFailure(err))
	}
	end()
}

// receiving notes whether requests of the client are being acted on. A session that
// is to end answers them before.
func (s *Session) receiving(on bool) {
	s.mu.Lock()
	s.talking.receiving = on
	end := s.ended()
	s.mu.Unlock()
	end()
}

// answering reports whether the client waits for answers about what it has sent. The
// lock is held.
func (s *Session) answering() bool {
	return s.inFlight > 0 || s.talking != nil && s.talking.receiving
}

// ended returns what closes the session, if it was to end once everything is answered
// and now is. The lock is held, and is not when that is called.
func (s *Session) ended() func() {
	if !s.ending || s.answering() {
		return func() {}
	}
	code, reason := s.parting.laterCode, s.parting.laterReason
	return func() { s.Close(code, reason) }
}
