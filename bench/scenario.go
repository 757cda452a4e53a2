package main

import (
	"context"
	"fmt"
	"time"
)

// scenario is a way to use a gateway.
type scenario struct {
	name    string
	about   func(*options) string
	run     func(context.Context, *run) error
	metrics []metric
}

// metric is a line of a table.
type metric struct {
	key, title string
	decimals   int
}

// delivering are the metrics of what is delivered.
var delivering = []metric{
	{"deliveries_per_s", "deliveries/s", 0},
	{"cpu_us_per_delivery", "CPU-µs/delivery", 3},
	{"p50_ms", "latency p50 (ms)", 2},
	{"p99_ms", "latency p99 (ms)", 2},
	{"p999_ms", "latency p99.9 (ms)", 2},
	{"allocs_per_delivery", "allocations/delivery", 4},
	{"rss_mib", "RSS (MiB)", 1},
	{"goroutines", "goroutines", 0},
	{"connects_per_s", "connects/s", 0},
	{"kafka_cpu_us_per_record", "Kafka's CPU-µs/record", 1},
	{"generator_cpu_us", "generator's CPU-µs/delivery", 3},
}

var scenarios = []scenario{
	{
		name: "flood",
		about: func(o *options) string {
			return fmt.Sprintf("%d records of %d bytes, written at once, to each of %d; at most %.0f MiB of the product's buffer of %d",
				o.records, o.size, o.subscribers, float64(o.floodBytes())/(1<<20), bufferMiB)
		},
		run:     flood,
		metrics: delivering,
	},
	{
		name: "steady",
		about: func(o *options) string {
			return fmt.Sprintf("%d records a second of %d bytes, for %v, to each of %d", o.rate, o.size, o.duration, o.subscribers)
		},
		run:     steady,
		metrics: delivering,
	},
	{
		name: "idle",
		about: func(o *options) string {
			return fmt.Sprintf("%d sessions that nothing was sent to, after %v; then %d records to each", o.subscribers, o.settle, o.warmUp)
		},
		run: idle,
		metrics: []metric{
			{"session_kib", "RSS/session (KiB)", 2},
			{"session_returned_kib", "... without what the heap could return", 2},
			{"session_after_kib", "... after traffic", 2},
			{"goroutines_per_session", "goroutines/session", 3},
			{"connects_per_s", "connects/s", 0},
		},
	},
}

func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

func scenarioNamed(name string) scenario {
	for _, s := range scenarios {
		if s.name == name {
			return s
		}
	}
	panic("no scenario " + name)
}

func flood(ctx context.Context, r *run) error {
	if err := r.connect(); err != nil {
		return err
	}
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	return r.deliver(ctx, func() error { return r.writer.burst(ctx, r.o.records) })
}

func steady(ctx context.Context, r *run) error {
	if err := r.connect(); err != nil {
		return err
	}
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	n := max(1, int(r.o.duration.Seconds()*float64(r.o.rate)))
	return r.deliver(ctx, func() error { return r.writer.paced(ctx, n, r.o.rate) })
}

// idle compares the memory with many sessions to that with one, which has
// everything made that sessions share.
func idle(ctx context.Context, r *run) error {
	if err := r.fleet.grow(r.process.endpoint, 1); err != nil {
		return err
	}
	empty, err := r.memory(ctx)
	if err != nil {
		return err
	}
	if err := r.connect(); err != nil {
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

// memory is what a process holds.
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
