package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnsRest has work done, and looks at how long who comes next waits for a turn.
func TestTurnsRest(t *testing.T) {
	const work, never = 5 * restAfter, time.Hour
	for name, c := range map[string]struct {
		rest    int
		work    time.Duration
		ago     time.Duration // how long before the end of it a record went out
		waiting time.Duration
	}{
		"nobody gets records":   {1, work, never, 0},
		"somebody does":         {1, work, time.Millisecond, work},
		"and the work can wait": {3, work, time.Millisecond, 3 * work},
		"somebody did":          {1, work, recently, 0},
		"too little for a rest": {1, restAfter / 2, 0, 0},
		"what took long":        {3, time.Second, time.Millisecond, longestRest},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHub(HubConfig{})
				turns := newTurns(h, c.rest)
				time.Sleep(time.Minute)
				var began time.Duration
				for range cap(turns.places) {
					began, _ = turns.take(nil)
				}
				if c.ago != never {
					h.delivery.Store(int64(h.now() + c.work - c.ago))
				}
				time.Sleep(c.work)
				turns.end(began)
				since := time.Now()
				turns.take(nil)
				if waited := time.Since(since); waited != c.waiting {
					t.Errorf("waited %v, want %v", waited, c.waiting)
				}
			})
		})
	}
}

// TestTurnsToConnect takes the turns of clients that connect.
func TestTurnsToConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{})
		p := NewPool(PoolConfig{Hub: h, PingInterval: time.Hour})
		defer p.Close()
		all := cap(h.arrivals.places)
		var done func()
		for range all {
			var err error
			if done, err = p.Turn(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := p.Turn(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while all turns are taken: %v", err)
		}
		done()
		if n := len(h.arrivals.places); n != all-1 {
			t.Errorf("%d turns are taken after one of %d has ended", n, all)
		}
	})
}

// TestOnlyRecordsThatGoOutCount tells sessions that follow a tail from those that
// stand nowhere in it.
func TestOnlyRecordsThatGoOutCount(t *testing.T) {
	r := newRig(t, nil)
	r.source.stored = map[int32][]string{0: {"a", "b"}}
	ws := r.dial("topic")
	if r.hub.delivers(r.hub.now()) {
		t.Error("nothing was sent, and is said to be")
	}
	r.source.feed("topic", 0, 2, "c")
	if got := read(t, ws); got != "c" {
		t.Fatalf("got %q", got)
	}
	if !r.hub.delivers(r.hub.now()) {
		t.Error("a record was sent, and is not said to be")
	}
	// Those that catch up are woken up too.
	r.hub.delivery.Store(0)
	r.hub.mu.Lock()
	topic := r.hub.topics["topic"]
	r.hub.mu.Unlock()
	topic.mu.Lock()
	var crews []crew
	for _, tail := range topic.tails {
		crews = tail.followers.crews
	}
	topic.mu.Unlock()
	for i := range crews {
		crews[i].mu.Lock()
		for _, f := range crews[i].members {
			f.behind.Store(true)
		}
		crews[i].mu.Unlock()
		crews[i].push()
	}
	if r.hub.delivers(r.hub.now()) {
		t.Error("a session that catches up counts")
	}
}
