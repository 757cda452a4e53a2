package kafka

import (
	"sync"
	"time"
)

// expiry calls a function at the next deadline, with one timer for all records.
type expiry struct {
	f     func()
	birth time.Time

	mu    sync.Mutex
	timer *time.Timer
	set   bool
	at    time.Duration
	over  bool
}

// arm has the function called at a time, counted from birth, unless it will be
// called before.
func (x *expiry) arm(at time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over || x.set && x.at <= at {
		return
	}
	x.set, x.at = true, at
	d := at - time.Since(x.birth)
	if x.timer == nil {
		x.timer = time.AfterFunc(d, x.fire)
		return
	}
	x.timer.Reset(d)
}

func (x *expiry) fire() {
	x.mu.Lock()
	x.set = false
	x.mu.Unlock()
	x.f()
}

// stop ends the calls.
func (x *expiry) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	if x.timer != nil {
		x.timer.Stop()
	}
}
