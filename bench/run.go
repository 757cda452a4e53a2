package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// run is one target in one round of one case of a scenario.
type run struct {
	o       *options
	load    load
	kafka   kafka
	target  target
	name    string // of the scenario, the case and the target
	proxy   *proxy // nil but in scenarios that count requests
	process *process
	fleet   *fleet
	crowd   *crowd // nil but in resume
	writer  *writer
	figures figures
	verdict verdict // on others than the fleet
}

// result is what a run measured and what went wrong in it.
type result struct {
	Scenario string  `json:"scenario"`
	Case     string  `json:"case"`
	Target   string  `json:"target"`
	Round    int     `json:"round"`
	Figures  figures `json:"figures,omitempty"`
	Verdict  verdict `json:"verdict"`
	Error    string  `json:"error,omitempty"` // then the figures are in no median
}

// figures are numbers by the keys of a scenario's metrics.
type figures map[string]float64

// measure starts a target for one run of a scenario.
func measure(ctx context.Context, k kafka, o *options, s scenario, l load, t target, binary string) (res result, err error) {
	res = result{Scenario: s.name, Case: l.name, Target: t.name}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return res, err
	}
	defer os.RemoveAll(dir)
	w, err := newWriter(ctx, k.addr, topicName(s.name, t.name), l)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, w.close(context.WithoutCancel(ctx))) }()
	r := &run{o: o, load: l, kafka: k, target: t, name: strings.Join([]string{s.name, l.name, t.name}, " "), fleet: newFleet(l), writer: w, figures: figures{}}
	start := launch{binary: binary, dir: dir, brokers: k.addr, transport: l.transport}
	if s.counts {
		if r.proxy, err = startProxy(k.addr); err != nil {
			return res, err
		}
		defer r.proxy.close()
		start.brokers = r.proxy.addr()
	}
	if !s.publishes {
		start.topic = w.topics[0]
	}
	if r.process, err = t.start(ctx, start); err != nil {
		return res, err
	}
	defer r.process.stop()
	errRun := s.run(ctx, r)
	r.fleet.close()
	if latency := r.fleet.latency(); latency.n > 0 {
		r.figures["p50_ms"], r.figures["p99_ms"], r.figures["p999_ms"] = latency.millis(.5), latency.millis(.99), latency.millis(.999)
	}
	res.Figures, res.Verdict = r.figures, r.verdict
	res.Verdict.add(r.fleet.judge(w.written))
	switch {
	case errRun == nil:
		err = res.Verdict.err()
	case res.Verdict.Ended > 0:
		err = fmt.Errorf("%w; a session ended: %s", errRun, res.Verdict.Why)
	default: // what is missing then says nothing
		err = errRun
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, r.process.log())
	}
	return res, err
}

// where is the way to the target for a subscriber, and what it subscribes to: as
// many topics as the load says, spread over all that there are.
func (r *run) where(number int) (endpoint, []int) {
	topics, names := make([]int, 0, r.load.follow), make([]string, 0, r.load.follow)
	for i := range r.load.follow {
		topic := (number*r.load.follow + i) % r.load.topics
		topics, names = append(topics, topic), append(names, r.writer.topics[topic])
	}
	return r.process.subscribe(names), topics
}

// connect connects subscribers until there are n.
func (r *run) connect(n int) error {
	start := time.Now()
	n -= len(r.fleet.clients)
	if err := r.fleet.grow(n, r.where); err != nil {
		return err
	}
	r.figures["connects_per_s"] = float64(n) / time.Since(start).Seconds()
	return nil
}

// warmUp has the first records go all the way.
func (r *run) warmUp(ctx context.Context) error {
	if err := r.writer.paced(ctx, max(r.o.warmUp, r.load.streams()), max(100, r.load.streams())); err != nil {
		return err
	}
	return r.fleet.await(ctx, r.fleet.wanted(r.writer.written))
}

// usage is what the processes have used at some time.
type usage struct {
	at                        time.Time
	gateway, generator, kafka time.Duration
	mallocs                   int64
}

// before reads what was used before something is measured. A collection of
// garbage is no part of that.
func (r *run) before(ctx context.Context) (u usage, err error) {
	s, err := r.process.inspect(ctx)
	if err != nil {
		return u, err
	}
	err = r.read(&u)
	u.mallocs = s.mallocs
	return u, err
}

// since tells what was used since then, and what the gateway holds now.
func (r *run) since(ctx context.Context, before usage) (used usage, took time.Duration, err error) {
	var now usage
	if err := r.read(&now); err != nil {
		return used, 0, err
	}
	bytes, err := rss(r.process.pid())
	if err != nil {
		return used, 0, err
	}
	s, err := r.process.inspect(ctx)
	if err != nil {
		return used, 0, err
	}
	r.figures["rss_mib"], r.figures["goroutines"] = float64(bytes)/(1<<20), float64(s.goroutines)
	used = usage{
		gateway: now.gateway - before.gateway, generator: now.generator - before.generator, kafka: now.kafka - before.kafka,
		mallocs: s.mallocs - before.mallocs,
	}
	return used, now.at.Sub(before.at), nil
}

func (r *run) read(u *usage) (err error) {
	u.at = time.Now()
	for pid, d := range map[int]*time.Duration{r.process.pid(): &u.gateway, os.Getpid(): &u.generator, r.kafka.pid: &u.kafka} {
		var errCPU error
		*d, errCPU = cpu(pid)
		err = errors.Join(err, errCPU)
	}
	if r.crowd != nil {
		more, errCPU := cpu(r.crowd.pid())
		u.generator += more
		err = errors.Join(err, errCPU)
	}
	return err
}

// micros is CPU time for each of n, in microseconds.
func micros(d time.Duration, n float64) float64 { return float64(d.Nanoseconds()) / 1000 / n }
