package main

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"
)

const (
	resumePartitions = 8
	// resumeSpread is over how many records of each partition the positions of
	// those that resume are spread: nobody had got exactly what others had.
	resumeSpread = 100
	// mostFetched and mostEncoded bound how often a record is fetched and encoded
	// for all that resume, on average.
	mostFetched, mostEncoded = 2, 1
	// resumingKiB is what a session that resumes may take, beside what is held for
	// all of them.
	resumingKiB = 100
)

// followersOf is how many sessions follow the topic while as many resume.
func followersOf(sessions int) int { return min(100, sessions) }

// keptBytes is what the product holds of so many records: as they are, and
// framed.
func keptBytes(records, size int) int {
	const each = 250 // beside the value
	return (records + resumePartitions*resumeSpread) * (2*size + each)
}

// resumeLoads is a case for each number of sessions. The batches are as small as
// those of many producers are, so that what was missed takes many fetches.
func resumeLoads(o *options) (loads []load) {
	for _, n := range o.sizes {
		l := o.base(n)
		l.partitions, l.batch = resumePartitions, 64<<10
		loads = append(loads, l)
	}
	return loads
}

// blockMultiple is a power of two that is more than the records which the product
// fetches at once. What it holds of a partition begins where somebody asked for
// it, or at a multiple of a smaller power of two: so nothing that it fetches for
// positions from here on is before them, and would be too much.
func blockMultiple(size int) int64 {
	const atOnce = 1 << 20 // is more
	return 1 << bits.Len(uint(atOnce/size))
}

// resume has clients come back, all at once, that have missed most of a topic,
// while others follow it.
func resume(ctx context.Context, r *run) error {
	first := blockMultiple(r.load.size)
	each := int(first) + resumeSpread + r.o.behind/resumePartitions
	if err := r.writer.burst(ctx, each*resumePartitions); err != nil {
		return err
	}
	if err := r.follow(ctx); err != nil {
		return err
	}
	before, err := r.process.metrics(ctx)
	if err != nil {
		return err
	}
	if err := r.comeBack(ctx, first); err != nil {
		return err
	}
	after, err := r.process.metrics(ctx)
	if err != nil {
		return err
	}
	const mib = 1 << 20
	held := after["catch_up_buffered_bytes"] / mib
	r.figures["held_mib"] = held
	r.figures["session_kib"] = (r.figures["peak_rss_mib"] - r.figures["before_rss_mib"] - held) * 1024 / float64(r.load.sessions)
	return r.countFetched(func(name string) float64 { return after[name] - before[name] }, first)
}

// follow connects those that follow the topic from its end, and notes their
// latencies while nobody else is there, and while the processors are busy.
func (r *run) follow(ctx context.Context) error {
	end := slices.Clone(r.writer.written)
	err := r.fleet.join(followersOf(r.load.sessions), func(int) (endpoint, []int64) { return r.process.subscribe(r.writer.topics), end })
	if err != nil {
		return err
	}
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	if err := r.followed(ctx, "before"); err != nil {
		return err
	}
	// What it costs that others keep the processors busy, whoever they are.
	stop, err := startBusy(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return r.followed(ctx, "busy")
}

// followed has records written for a while, and notes the latencies of those that
// follow.
func (r *run) followed(ctx context.Context, when string) error {
	r.fleet.since.Store(time.Now().UnixMicro())
	if err := r.writer.paced(ctx, max(1, int(r.o.duration.Seconds()*float64(r.load.rate))), r.load.rate); err != nil {
		return err
	}
	if err := r.fleet.await(ctx, r.fleet.wanted(r.writer.written)); err != nil {
		return err
	}
	latency := r.fleet.latency()
	r.figures[when+"_p50_ms"], r.figures[when+"_p99_ms"] = latency.millis(.5), latency.millis(.99)
	// Nothing is on its way, so nobody adds to these now.
	for _, c := range r.fleet.clients {
		c.latency = histogram{}
	}
	return nil
}

// comeBack has all clients resume, and measures what it takes until they have
// everything.
func (r *run) comeBack(ctx context.Context, first int64) (err error) {
	if r.crowd, err = startCrowd(ctx); err != nil {
		return err
	}
	defer r.crowd.stop()
	m, err := r.memory(ctx)
	if err != nil {
		return err
	}
	r.figures["before_rss_mib"] = float64(m.collected-m.heldMemory) / (1 << 20)
	if err := forgetPeak(r.process.pid()); err != nil {
		return fmt.Errorf("forgetting how much memory was used before: %w", err)
	}
	var p parted
	d, err := r.deliver(ctx, func() (err error) {
		p, err = r.resumeAll(ctx, first)
		r.verdict.add(p.Verdict)
		if err != nil {
			return err
		}
		peak, err := peakRSS(r.process.pid())
		r.figures["peak_rss_mib"] = float64(peak) / (1 << 20)
		return err
	})
	if err != nil {
		return err
	}
	d.deliveries += float64(p.Received)
	d.report(r.figures)
	return nil
}

// resumeAll has all clients resume, while records are written on, until they have
// everything.
func (r *run) resumeAll(ctx context.Context, first int64) (parted, error) {
	e := r.process.subscribe(r.writer.topics)
	o := order{
		Addr: e.addr, Path: e.path, Subprotocol: e.subprotocol, Topic: r.writer.topics[0], Partitions: r.load.partitions, Size: r.load.size,
		Sessions: r.load.sessions, First: first, Missed: int64(r.writer.total),
	}
	stop, written := make(chan struct{}), make(chan error, 1)
	go func() { written <- r.writer.until(ctx, stop, r.load.rate) }()
	// Who has caught up follows too, and more that follow take longer to be served.
	took, err := r.crowd.resume(o, func() { r.fleet.until.Store(time.Now().UnixMicro()) })
	r.figures["resumed_s"] = took
	close(stop)
	if err := errors.Join(err, <-written); err != nil {
		return parted{}, err
	}
	return r.crowd.part(r.writer.written)
}

// countFetched notes how often each record was fetched and encoded that somebody
// had missed, given how much the product's metrics grew, and is an error where
// that is too often.
func (r *run) countFetched(grown func(metric string) float64, first int64) error {
	records := float64(int64(r.writer.total) - first*resumePartitions)
	fetched, encoded := grown("catch_up_fetched_records_total"), grown("catch_up_encoded_records_total")
	r.figures["fetched_per_record"], r.figures["encoded_per_record"] = fetched/records, encoded/records
	r.figures["fetches"] = grown("catch_up_fetches_total")
	if fetched == 0 || encoded == 0 {
		return errors.New("nothing was fetched and encoded for those that resumed: the product's metrics are not what they were")
	}
	if fetched > mostFetched*records || encoded > mostEncoded*records {
		return fmt.Errorf("of %.0f records that were missed, %.0f were fetched and %.0f encoded; each is to be fetched %d times at most, and encoded %d times",
			records, fetched, encoded, mostFetched, mostEncoded)
	}
	return nil
}
