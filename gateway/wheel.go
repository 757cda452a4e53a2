package gateway

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// slots is how many parts the ping interval is cut into, so that the pings of
// many sessions are spread over it.
const slots = 32

// wheel holds the served sessions of a pool and looks after each once in an
// interval, with one timer for all of them. It also is the pool's clock: signs
// of life are noted in ticks, which costs no look at the time.
type wheel struct {
	interval time.Duration
	// reach tells since when no broker answers, the zero time while some do.
	reach func() time.Time
	now   atomic.Uint32 // ticks

	mu      sync.Mutex
	slots   [slots][]*Session
	count   int
	running chan struct{} // closed to end the ticking; nil while there is none
	// unreachable is what reach returned last.
	unreachable time.Time
	visit       func(*Session)
}

// add puts a session into a random slot. After stop, the session is visited at
// once instead of being looked after.
func (w *wheel) add(s *Session) {
	w.mu.Lock()
	slot := rand.IntN(slots)
	s.slot, s.slotIndex = int32(slot), int32(len(w.slots[slot]))
	w.slots[slot] = append(w.slots[slot], s)
	w.count++
	if w.running == nil {
		w.running = make(chan struct{})
		w.unreachable = w.reach()
		go w.turn(w.running)
	}
	visit := w.visit
	w.mu.Unlock()
	if visit != nil {
		visit(s)
	}
}

// remove takes a session out.
func (w *wheel) remove(s *Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.slots[s.slot]
	last := len(in) - 1
	in[s.slotIndex] = in[last]
	in[s.slotIndex].slotIndex = s.slotIndex
	in[last] = nil
	w.slots[s.slot] = in[:last]
	if w.count--; w.count == 0 {
		close(w.running)
		w.running = nil
	}
}

// stop visits all sessions, and each that is still added.
func (w *wheel) stop(visit func(*Session)) {
	w.mu.Lock()
	w.visit = visit
	w.mu.Unlock()
	w.each(visit)
}

// each visits all sessions.
func (w *wheel) each(visit func(*Session)) {
	w.mu.Lock()
	all := make([]*Session, 0, w.count)
	for i := range w.slots {
		all = append(all, w.slots[i]...)
	}
	w.mu.Unlock()
	for _, s := range all {
		visit(s)
	}
}

// turn looks after a slot at each tick, until there is no session.
func (w *wheel) turn(done <-chan struct{}) {
	ticker := time.NewTicker(max(w.interval/slots, time.Millisecond))
	defer ticker.Stop()
	var due []*Session
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		now := w.now.Add(1)
		w.mu.Lock()
		due = append(due[:0], w.slots[now%slots]...)
		w.mu.Unlock()
		for i, s := range due {
			s.tend(now)
			due[i] = nil
		}
		if w.look() {
			w.each((*Session).reach)
		}
	}
}

// look asks whether brokers answer, and reports whether that has changed.
func (w *wheel) look() bool {
	since := w.reach()
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := since.IsZero() != w.unreachable.IsZero()
	w.unreachable = since
	return changed
}

// silent returns since when no broker answers, as of the last tick.
func (w *wheel) silent() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unreachable
}
