package kafka

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// health knows which brokers do not answer, so that a broker's failure is one
// line in the log and its return another, however often it is tried meanwhile.
type health struct {
	log     *zap.Logger
	silence *silence
	mu      sync.Mutex
	down    map[string]*outage // by address
}

type outage struct {
	failures int
	logged   bool
}

// failed notes that a broker could not be used. That a connection was lost is
// not worth a line yet: brokers close idle ones, and the next one may well work.
func (h *health) failed(addr string, lost bool, err error) {
	h.silence.failed()
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.down[addr]
	if o == nil {
		o = &outage{}
		h.down[addr] = o
	}
	o.failures++
	if o.logged || lost && o.failures == 1 {
		return
	}
	o.logged = true
	h.log.Warn("kafka broker is unreachable; trying again until it answers", zap.String("broker", addr), zap.Error(err))
}

// answered notes that a broker has answered.
func (h *health) answered(addr string) {
	h.silence.answered()
	h.usable(addr)
}

// usable notes that a broker could be used, though it was not to answer.
func (h *health) usable(addr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.down[addr]
	if o == nil {
		return
	}
	delete(h.down, addr)
	if o.logged {
		h.log.Info("kafka broker answers again", zap.String("broker", addr), zap.Int("failed_attempts", o.failures))
	}
}

// seldom lets a message of one kind through once in a while.
type seldom struct {
	mu   sync.Mutex
	next time.Time
}

// allow reports whether the message may be logged now: once a minute.
func (s *seldom) allow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Before(s.next) {
		return false
	}
	s.next = now.Add(time.Minute)
	return true
}
