package main

import (
	"context"
	"time"
)

const (
	// growthFlood bounds what a flood takes up in the product's buffer, in bytes.
	growthFlood = bufferMiB << 20 / 2
	// growthDeliveries and growthBytes bound what a flood is for all sessions.
	growthDeliveries, growthBytes = 5_000_000, 2 << 30
	// growthRate bounds the deliveries a second of what is steady.
	growthRate = 50_000
	// growthTime is how long that takes at most.
	growthTime = 3 * time.Second
)

// growthLoads is a case for each number of sessions, size of a record, number of
// partitions, and number of topics. All but what is named is as in "100 sessions".
func growthLoads(o *options) (loads []load) {
	add := func(name string, change func(*load)) {
		l := o.base(min(100, o.mostSessions()))
		l.name = name
		change(&l)
		sent := l.sessions * l.follow / l.topics // of each record
		l.records = max(l.streams(), min(l.records, floodRecords(l.size), growthDeliveries/max(1, sent), growthBytes/(l.size+envelope)/max(1, sent)))
		l.rate = max(1, min(l.rate, growthRate/max(1, sent)))
		loads = append(loads, l)
	}
	for _, n := range o.upTo(10, 100, 1000, 5000) {
		add(plural(n, "session"), func(l *load) { l.sessions = n })
	}
	for _, n := range []int{50, 200, 1 << 10, 10 << 10} {
		add(plural(n, "byte"), func(l *load) { l.size = n })
	}
	for _, n := range []int{1, 4, 32} {
		add(plural(n, "partition"), func(l *load) { l.partitions = n })
	}
	for _, n := range []int{1, 10, 100} {
		add(plural(n, "topic")+", each session has 1", func(l *load) { l.topics = n })
	}
	for _, n := range []int{10, 100} {
		add(plural(n, "topic")+", each session has 10", func(l *load) { l.topics, l.follow = n, 10 })
	}
	return loads
}

// floodRecords is how many records of a size a flood may have.
func floodRecords(size int) int { return growthFlood / (size + envelope) }

// growth measures records that come singly, and then a flood.
func growth(ctx context.Context, r *run) error {
	if err := r.connect(r.load.sessions); err != nil {
		return err
	}
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	// All streams, so that all sessions get something.
	n := max(r.load.streams(), int(min(r.o.duration, growthTime).Seconds()*float64(r.load.rate)))
	for _, part := range []struct {
		key   string
		write func() error
	}{
		{"steady", func() error { return r.writer.paced(ctx, n, r.load.rate) }},
		{"flood", func() error { return r.writer.burst(ctx, r.load.records) }},
	} {
		d, err := r.deliver(ctx, part.write)
		if err != nil {
			return err
		}
		r.figures[part.key+"_cpu_us_per_delivery"] = micros(d.gateway, d.deliveries)
		r.figures[part.key+"_cpu_us_per_record"] = micros(d.gateway, d.records)
		r.figures[part.key+"_deliveries_per_s"] = d.deliveries / d.took.Seconds()
	}
	return nil
}
