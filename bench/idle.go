package main

import (
	"context"
	"time"
)

// idle compares the memory with many sessions to that with one, which has
// everything made that sessions share.
func idle(ctx context.Context, r *run) error {
	if err := r.connect(1); err != nil {
		return err
	}
	empty, err := r.memory(ctx)
	if err != nil {
		return err
	}
	if err := r.connect(r.load.sessions); err != nil {
		return err
	}
	time.Sleep(r.o.settle)
	full, err := r.memory(ctx)
	if err != nil {
		return err
	}
	more := float64(max(1, len(r.fleet.clients)-1))
	per := func(a, b int64) float64 { return float64(b-a) / more / 1024 }
	r.figures["session_kib"] = per(empty.rss, full.rss)
	r.figures["session_returned_kib"] = per(empty.collected-empty.heldMemory, full.collected-full.heldMemory)
	r.figures["goroutines_per_session"] = float64(full.goroutines-empty.goroutines) / more
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	after, err := rss(r.process.pid())
	r.figures["session_after_kib"] = per(empty.rss, after)
	return err
}

// memory is what a process holds, in bytes.
type memory struct {
	runtimeStats
	rss       int64 // before a collection
	collected int64 // after it
}

func (r *run) memory(ctx context.Context) (m memory, err error) {
	if m.rss, err = rss(r.process.pid()); err != nil {
		return m, err
	}
	if m.runtimeStats, err = r.process.inspect(ctx); err != nil {
		return m, err
	}
	m.collected, err = rss(r.process.pid())
	return m, err
}
