package main

import (
	"context"
	"errors"
	"time"
)

// delivered is what it took until all that was written had arrived.
type delivered struct {
	usage
	took                time.Duration
	records, deliveries float64
}

// deliver writes and measures what it takes until all has arrived.
func (r *run) deliver(ctx context.Context, write func() error) (d delivered, err error) {
	before, err := r.before(ctx)
	if err != nil {
		return d, err
	}
	profiled := r.profiling(ctx)
	records, deliveries := r.writer.total, r.fleet.wanted(r.writer.written)
	r.fleet.since.Store(time.Now().UnixMicro())
	if err := write(); err != nil {
		return d, err
	}
	all := r.fleet.wanted(r.writer.written)
	if err := r.fleet.await(ctx, all); err != nil {
		return d, err
	}
	d.usage, d.took, err = r.since(ctx, before)
	d.records, d.deliveries = float64(r.writer.total-records), float64(all-deliveries)
	return d, errors.Join(err, profiled())
}

// report puts down what is measured of deliveries.
func (d delivered) report(f figures) {
	f["deliveries_per_s"] = d.deliveries / d.took.Seconds()
	f["records_per_s"] = d.records / d.took.Seconds()
	f["cpu_us_per_delivery"] = micros(d.gateway, d.deliveries)
	f["cpu_us_per_record"] = micros(d.gateway, d.records)
	f["generator_cpu_us"] = micros(d.generator, d.deliveries)
	f["kafka_cpu_us_per_record"] = micros(d.kafka, d.records)
	f["allocs_per_delivery"] = float64(d.mallocs) / d.deliveries
}

func flood(ctx context.Context, r *run) error {
	return r.delivering(ctx, func() error { return r.writer.burst(ctx, r.load.records) })
}

func steady(ctx context.Context, r *run) error {
	n := max(1, int(r.o.duration.Seconds()*float64(r.load.rate)))
	return r.delivering(ctx, func() error { return r.writer.paced(ctx, n, r.load.rate) })
}

// consume has one session read floods, one after the other, so that none is
// larger than the product's buffer.
func consume(ctx context.Context, r *run) error {
	return r.delivering(ctx, func() error {
		for left := r.o.consumed; left > 0; left -= r.load.records {
			if err := r.writer.burst(ctx, min(left, r.load.records)); err != nil {
				return err
			}
			if err := r.fleet.await(ctx, r.fleet.wanted(r.writer.written)); err != nil {
				return err
			}
		}
		return nil
	})
}

// delivering connects all, has the first records go all the way, and measures.
func (r *run) delivering(ctx context.Context, write func() error) error {
	if err := r.connect(r.load.sessions); err != nil {
		return err
	}
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	d, err := r.deliver(ctx, write)
	if err != nil {
		return err
	}
	d.report(r.figures)
	return nil
}
