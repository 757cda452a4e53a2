package main

import (
	"context"
	"time"
)

// requestRate is how many records a second requests writes: few enough that each
// comes in a fetch of its own, whatever the number of sessions.
const requestRate = 10

// requestLoads is a case for each number of sessions.
func requestLoads(o *options) (loads []load) {
	for _, n := range o.upTo(1, 100, 1000, 5000) {
		l := o.base(n)
		l.rate = requestRate
		loads = append(loads, l)
	}
	return loads
}

// requests counts what a number of sessions asks of Kafka, while nothing is
// written and while a little is.
func requests(ctx context.Context, r *run) error {
	if err := r.connect(r.load.sessions); err != nil {
		return err
	}
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	idle, err := r.perSecond(func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(r.o.duration):
			return nil
		}
	})
	if err != nil {
		return err
	}
	steady, err := r.perSecond(func() error {
		if err := r.writer.paced(ctx, max(1, int(r.o.duration.Seconds()*requestRate)), requestRate); err != nil {
			return err
		}
		return r.fleet.await(ctx, r.fleet.wanted(r.writer.written))
	})
	r.figures["idle_requests_per_s"], r.figures["steady_requests_per_s"] = idle, steady
	r.figures["connections"] = float64(r.proxy.open.Load())
	return err
}

// perSecond counts the requests of some time.
func (r *run) perSecond(during func() error) (float64, error) {
	start, before := time.Now(), r.proxy.requests.Load()
	if err := during(); err != nil {
		return 0, err
	}
	return float64(r.proxy.requests.Load()-before) / time.Since(start).Seconds(), nil
}
