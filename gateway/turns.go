package gateway

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// restAfter is for how long work that can wait is done before it rests.
	restAfter = time.Millisecond
	// writersRest, siftersRest and arrivalsRest are for how many times as long as it
	// was done it then rests. Clients that connect take more time before and behind
	// their turn than in it.
	writersRest, siftersRest, arrivalsRest = 1, 1, 3
	// longestRest bounds that.
	longestRest = 100 * time.Millisecond
	// recently is for how long after a tail's sessions were woken up for a record
	// another one is expected.
	recently = time.Second
)

// turns has work of one kind, which can wait, take turns. When many clients come back
// at once there is more of it than the processors can do, and were it done as it comes,
// each new record would wait behind it, in the gateway, in Kafka and with the clients.
//
// No more of it is done at a time than half of the processors do, and as long as
// others get records, it rests in between. Nothing may be waited for in a turn.
type turns struct {
	hub    *Hub
	rest   int // how many times as long as the work
	places chan struct{}
	// worked is for how long the work was done since it last rested, in nanoseconds.
	worked atomic.Int64
}

func newTurns(h *Hub, rest int) *turns {
	return &turns{hub: h, rest: rest, places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// take waits for a turn, which end ends. It reports false where done was closed
// before.
func (t *turns) take(done <-chan struct{}) (began time.Duration, taken bool) {
	select {
	case t.places <- struct{}{}:
		return t.hub.now(), true
	case <-done:
		return 0, false
	}
}

// end ends a turn. While the work rests, nobody gets its place.
func (t *turns) end(began time.Duration) {
	now := t.hub.now()
	work := t.worked.Add(int64(now - began))
	if work < int64(restAfter) || !t.worked.CompareAndSwap(work, 0) || !t.hub.delivers(now) {
		t.leave()
		return
	}
	time.AfterFunc(min(time.Duration(work)*time.Duration(t.rest), longestRest), t.leave)
}

func (t *turns) leave() { <-t.places }

// Turn waits for the turn of a client that connects, which done ends: as many as come
// at once are let in one after the other. It fails when ctx is done before. Nothing may
// be waited for in a turn.
func (p *Pool) Turn(ctx context.Context) (done func(), err error) {
	arrivals := p.cfg.Hub.arrivals
	began, taken := arrivals.take(ctx.Done())
	if !taken {
		return nil, fmt.Errorf("waiting for a turn to connect: %w", ctx.Err())
	}
	return func() { arrivals.end(began) }, nil
}

// delivered notes that sessions that follow a tail are woken up.
func (h *Hub) delivered() { h.delivery.Store(int64(h.now())) }

// delivers reports whether any were of late.
func (h *Hub) delivers(now time.Duration) bool {
	last := h.delivery.Load()
	return last != 0 && now-time.Duration(last) < recently
}
