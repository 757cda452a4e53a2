package gateway

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// restAfter is for how long work that can wait is done before it rests.
	restAfter = time.Millisecond
	// writersRest, siftersRest and arrivalsRest are for how many times as long as it
	// was done it then rests. What a handshake takes in front of the gateway, about as
	// much again, takes no turns.
	writersRest, siftersRest, arrivalsRest = 1, 1, 3
	// longestRest bounds that: what took long has waited for something.
	longestRest = 100 * time.Millisecond
	// recently is for how long after a record went to sessions that follow a tail
	// another is expected.
	recently = time.Second
	// turnLimit is how long a client that connects keeps its turn. Only what is not
	// the gateway's own, such as a handler in front of it, takes that long.
	turnLimit = time.Second
)

// turns has work that can wait take turns. When many clients come back at once there
// is more of it than the processors can do, and were it done as it comes, each new
// record would wait behind it, in the gateway, in Kafka and with the clients.
//
// No more of it is done at a time than half of the processors do, and as long as
// others get records, it rests in between.
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

// Turn waits for a client's turn to be served with what its handshake takes beside
// waiting: see turns. It fails when ctx is done before. Whoever has it calls done when
// that is over, and before anything that could take long; further calls do nothing.
func (p *Pool) Turn(ctx context.Context) (done func(), err error) {
	arrivals := p.cfg.Hub.arrivals
	began, taken := arrivals.take(ctx.Done())
	if !taken {
		return nil, fmt.Errorf("waiting for a turn to connect: %w", ctx.Err())
	}
	end := sync.OnceFunc(func() { arrivals.end(began) })
	limit := time.AfterFunc(turnLimit, end)
	return func() {
		limit.Stop()
		end()
	}, nil
}

// delivered notes that a record goes to sessions that follow a tail.
func (h *Hub) delivered() { h.delivery.Store(int64(h.now())) }

// delivers reports whether one did of late.
func (h *Hub) delivers(now time.Duration) bool {
	last := h.delivery.Load()
	return last != 0 && now-time.Duration(last) < recently
}
