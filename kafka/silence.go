package kafka

import (
	"context"
	"sync"
	"time"
)

// silence knows since when no broker has answered anything. An outage is told when
// an answer has been missing for a while, and every broker that is known was then
// asked in vain: that the only broker with something to read is down does not make
// the cluster unreachable.
type silence struct {
	c *Cluster

	mu     sync.Mutex
	open   map[*question]struct{}
	answer time.Time // the last one
	// Of what was not answered since then: when the first of it was asked, and
	// when its answer was missing. Both are zero where nothing failed.
	asked, due time.Time
	probing    bool
	probed     time.Time // the end of the last probe
	vain       bool      // no broker has answered since that began
	since      time.Time // the outage that was told
}

// question is something that a broker is being asked.
type question struct {
	asked time.Time
	due   time.Time // the broker may take until then
}

// ask notes that a broker is being asked something, which it may take some time to
// answer: a long poll is no silence. Whoever asks calls end in any case.
func (s *silence) ask(q *question, wait time.Duration) {
	now := time.Now()
	*q = question{asked: now, due: now.Add(wait)}
	s.mu.Lock()
	s.open[q] = struct{}{}
	s.mu.Unlock()
}

// end notes whether a question was answered.
func (s *silence) end(q *question, answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, q)
	if answered {
		s.heard()
	} else {
		s.missed(q.asked, earlier(q.due, time.Now()))
	}
}

// answered notes an answer to something that was not noted as a question.
func (s *silence) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard()
}

// failed notes the same of something that was not answered.
func (s *silence) failed() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed(now, now)
}

func (s *silence) heard() {
	s.answer = time.Now()
	s.asked, s.due, s.since, s.vain = time.Time{}, time.Time{}, time.Time{}, false
}

func (s *silence) missed(asked, due time.Time) {
	s.asked, s.due = earlier(s.asked, asked), earlier(s.due, due)
}

// earlier returns the earlier of two times, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// unreachable returns the time since which no broker has answered, or the zero
// time. It has the brokers asked where it may come to that.
func (s *silence) unreachable() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	asked, due := s.asked, s.due
	for q := range s.open {
		if q.due.Before(now) {
			asked, due = earlier(asked, q.asked), earlier(due, q.due)
		}
	}
	if due.IsZero() {
		return time.Time{}
	}
	if due.Before(s.answer) {
		due = s.answer // others were answered meanwhile
	}
	if asked.Before(s.answer) {
		asked = s.answer
	}
	limit := s.c.timings.silence
	quiet := now.Sub(due)
	if quiet >= limit/2 && !s.probing && now.Sub(s.probed) >= limit {
		before := s.answer
		s.probing = s.c.spawn(func() { s.probe(before) })
	}
	if s.since.IsZero() && quiet >= limit && s.vain {
		s.since = asked
	}
	return s.since
}

// probe asks all brokers for a handshake. before is the time of the last answer.
func (s *silence) probe(before time.Time) {
	limit := s.c.timings.silence
	ctx, cancel := context.WithTimeout(s.c.ctx, limit)
	defer cancel()
	conf := *s.c.base
	conf.Net.DialTimeout, conf.Net.ReadTimeout, conf.Net.WriteTimeout = limit, limit, limit
	var all sync.WaitGroup
	for _, addr := range s.c.meta.candidates() {
		all.Go(func() {
			if cn, err := open(ctx, addr, &conf); err == nil {
				s.answered()
				cancel() // one is enough
				cn.close()
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing, s.probed, s.vain = false, time.Now(), s.answer.Equal(before)
}
