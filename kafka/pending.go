package kafka

import (
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// submission is one record on its way through sarama.
type submission struct {
	msg      sarama.ProducerMessage
	done     func(record.Outcome)
	topic    *gate
	pass     pass
	size     int
	deadline time.Time
	// sent is set by sarama's goroutine that builds requests, before the
	// record can leave, and read by the one that reports sarama's answer.
	sent bool

	// Guarded by pending.mu.
	answered   bool
	prev, next *submission
}

// payload is a key or a value. That it is encoded tells that the record is
// about to be sent.
type payload struct {
	b []byte
	s *submission
}

// Encode implements sarama.Encoder.
func (p payload) Encode() ([]byte, error) {
	p.s.sent = true
	return p.b, nil
}

// Length implements sarama.Encoder.
func (p payload) Length() int { return len(p.b) }

// pending holds the records that the caller has heard nothing of yet, in the
// order of their deadlines, and one timer for all of them. A record whose
// deadline passes is reported as of unknown outcome; what sarama says of it later
// is not passed on.
type pending struct {
	mu    sync.Mutex
	first *submission
	last  *submission
	count int
	timer *time.Timer
	empty chan struct{} // closed when count falls to 0, if somebody waits
}

// add begins to wait for a record. Deadlines never decrease.
func (q *pending) add(s *submission) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.prev = q.last
	if q.last != nil {
		q.last.next = s
	} else {
		q.first = s
	}
	q.last = s
	q.count++
	if q.first == s {
		q.schedule()
	}
}

// schedule sets the timer for the first record. The caller holds q.mu.
func (q *pending) schedule() {
	d := time.Until(q.first.deadline)
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.expire)
		return
	}
	q.timer.Reset(d)
}

// answer reports a record's outcome, unless that was done already.
func (q *pending) answer(s *submission, o record.Outcome) {
	q.mu.Lock()
	ok := q.take(s)
	q.mu.Unlock()
	if ok {
		s.done(o)
	}
}

// take removes a record. The caller holds q.mu.
func (q *pending) take(s *submission) bool {
	if s.answered {
		return false
	}
	s.answered = true
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		q.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		q.last = s.prev
	}
	s.prev, s.next = nil, nil
	q.count--
	if q.count == 0 {
		if q.timer != nil {
			q.timer.Stop()
		}
		if q.empty != nil {
			close(q.empty)
			q.empty = nil
		}
	}
	return true
}

// expire reports the records whose time is over.
func (q *pending) expire() {
	now := time.Now()
	q.giveUp(func(s *submission) bool { return !s.deadline.After(now) })
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first != nil {
		q.schedule()
	}
}

// giveUp reports records from the first on as of unknown outcome, for as long as
// over says so.
func (q *pending) giveUp(over func(*submission) bool) {
	for {
		q.mu.Lock()
		s := q.first
		if s == nil || !over(s) {
			q.mu.Unlock()
			return
		}
		q.take(s)
		q.mu.Unlock()
		s.done(record.Outcome{
			Partition: record.AnyPartition, Offset: -1,
			Err: fmt.Errorf("writing a record: no acknowledgement came in time: %w", record.ErrUnknownOutcome),
		})
	}
}

// drained returns a channel that is closed once nothing is pending.
func (q *pending) drained() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if q.empty == nil {
		q.empty = make(chan struct{})
	}
	return q.empty
}

// idle reports whether nothing is pending.
func (q *pending) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count == 0
}
