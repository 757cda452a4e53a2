package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// run is one target in one round of one scenario.
type run struct {
	o       *options
	kafka   kafka
	process *process
	fleet   *fleet
	writer  *writer
	figures figures
}

// result is what a run measured and what went wrong in it.
type result struct {
	Scenario string  `json:"scenario"`
	Target   string  `json:"target"`
	Round    int     `json:"round"`
	Figures  figures `json:"figures"`
	Verdict  verdict `json:"verdict"`
}

// figures are numbers by the keys of a scenario's metrics.
type figures map[string]float64

// measure starts a target for one run of a scenario.
func measure(ctx context.Context, k kafka, o *options, s scenario, t target, binary string) (res result, err error) {
	res = result{Scenario: s.name, Target: t.name}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return res, err
	}
	defer os.RemoveAll(dir)
	topic := topicName(s.name, t.name)
	w, err := newWriter(ctx, k.addr, topic, o)
	if err != nil {
		return res, fmt.Errorf("making the topic: %w", err)
	}
	defer func() { err = errors.Join(err, w.close(context.WithoutCancel(ctx))) }()
	p, err := t.start(ctx, binary, dir, k.addr, topic)
	if err != nil {
		return res, err
	}
	defer p.stop()
	f := newFleet(o)
	r := &run{o: o, kafka: k, process: p, fleet: f, writer: w, figures: figures{}}
	err = s.run(ctx, r)
	f.close()
	if latency := f.latency(); latency.n > 0 {
		r.figures["p50_ms"], r.figures["p99_ms"], r.figures["p999_ms"] = latency.millis(.5), latency.millis(.99), latency.millis(.999)
	}
	res.Figures, res.Verdict = r.figures, f.judge(w.written)
	if err = errors.Join(err, res.Verdict.err()); err != nil {
		return res, fmt.Errorf("%s of %s: %w\n%s", s.name, t.name, err, p.log())
	}
	return res, nil
}

// connect connects all subscribers.
func (r *run) connect() error {
	start := time.Now()
	n := r.o.subscribers - len(r.fleet.clients)
	if err := r.fleet.grow(r.process.endpoint, n); err != nil {
		return err
	}
	r.figures["connects_per_s"] = float64(n) / time.Since(start).Seconds()
	return nil
}

// warmUp has the first records go all the way.
func (r *run) warmUp(ctx context.Context) error {
	if err := r.writer.paced(ctx, r.o.warmUp, 100); err != nil {
		return err
	}
	return r.fleet.await(ctx, r.writer.written)
}

// usage is what the processes have used at some time.
type usage struct {
	at                        time.Time
	gateway, generator, kafka time.Duration
	mallocs                   int64
}

func (r *run) usage(ctx context.Context, before bool) (u usage, err error) {
	var s runtimeStats
	if before { // a collection is no part of what is measured
		if s, err = r.process.inspect(ctx); err != nil {
			return u, err
		}
	}
	u.at = time.Now()
	for pid, d := range map[int]*time.Duration{r.process.pid(): &u.gateway, os.Getpid(): &u.generator, r.kafka.pid: &u.kafka} {
		var errCPU error
		*d, errCPU = cpu(pid)
		err = errors.Join(err, errCPU)
	}
	if !before {
		bytes, errRSS := rss(r.process.pid())
		r.figures["rss_mib"] = float64(bytes) / (1 << 20)
		s, err = r.process.inspect(ctx)
		err = errors.Join(err, errRSS)
		r.figures["goroutines"] = float64(s.goroutines)
	}
	u.mallocs = s.mallocs
	return u, err
}

// deliver measures what it takes until all that is written has arrived.
func (r *run) deliver(ctx context.Context, write func() error) error {
	before, err := r.usage(ctx, true)
	if err != nil {
		return err
	}
	first := r.writer.written
	r.fleet.since.Store(time.Now().UnixMicro())
	if err := write(); err != nil {
		return err
	}
	if err := r.fleet.await(ctx, r.writer.written); err != nil {
		return err
	}
	after, err := r.usage(ctx, false)
	if err != nil {
		return err
	}
	n := float64(r.writer.written-first) * float64(len(r.fleet.clients))
	r.figures["deliveries_per_s"] = n / after.at.Sub(before.at).Seconds()
	r.figures["cpu_us_per_delivery"] = float64((after.gateway - before.gateway).Nanoseconds()) / 1000 / n
	r.figures["generator_cpu_us"] = float64((after.generator - before.generator).Nanoseconds()) / 1000 / n
	r.figures["kafka_cpu_us_per_record"] = float64((after.kafka - before.kafka).Nanoseconds()) / 1000 / float64(r.writer.written-first)
	r.figures["allocs_per_delivery"] = float64(after.mallocs-before.mallocs) / n
	return nil
}
