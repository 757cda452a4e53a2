package gateway

import (
	"context"
	"errors"

	"github.com/kafkaws/kafkaws/record"
)

// maxFlightBytes is how many bytes of records of one session may be
// unacknowledged before it is no longer read from.
const maxFlightBytes = 4 << 20

// publish hands the record that was read to the producer, if its chain keeps it.
// The policy is about what the chain made of it. It waits while the session has as
// many records in flight as it may, so that a client that publishes faster than
// Kafka takes is slowed down by its own socket. It reports whether the producer
// has the record now, and with it all of in.
func (s *Session) publish(in *inbound) (taken bool) {
	r := &in.record
	// Transforms may take their time, and the producer may wait for Kafka,
	// while pongs stay unread.
	s.paused.Store(true)
	defer s.paused.Store(false)
	if keep, err := s.chain.run(&in.box, r); !keep {
		if s.pool.cfg.Discarded != nil {
			s.pool.cfg.Discarded(r.Topic, err)
		}
		return false
	}
	if !record.ValidTopic(r.Topic) {
		s.Close(ClosePolicy, "kafka has no topics of such a name")
		return false
	}
	if !s.mayPublish(r.Topic) {
		if s.pool.cfg.Denied != nil {
			s.pool.cfg.Denied(r.Topic)
		}
		s.Close(ClosePolicy, "this site does not let you publish to that topic")
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
	ending := s.ending && s.inFlight == 0
	var code int
	var reason string
	if ending {
		code, reason = s.parting.laterCode, s.parting.laterReason
	}
	s.changed.Signal()
	s.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		s.Close(publishFailure(err))
	}
	if ending {
		s.Close(code, reason)
	}
}
