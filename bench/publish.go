package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	// keysEach is how many keys each publisher has in turn.
	keysEach = 16
	// writeSize is about as much as a publisher writes at once.
	writeSize = 32 << 10
)

// publisher is a client that publishes a stream of its own. It outlives its
// sessions.
type publisher struct {
	number    int
	published int
	topic     string
	size      int // of a value
}

// publishedKey is the key of a publisher's record with a number.
func publishedKey(publisher int, number int64) string {
	return fmt.Sprintf("%d-%d", publisher, number%keysEach)
}

// append frames the next record.
func (p *publisher) append(b []byte) []byte {
	message := fmt.Appendf(nil, `{"topic":%q,"key":%q,"message":"%s"}`,
		p.topic, publishedKey(p.number, int64(p.published)), newValue(p.size, p.number, p.published, time.Now().UnixMicro()))
	p.published++
	return appendClientFrame(b, opText, message)
}

// publish publishes n records as fast as they are taken.
func (p *publisher) publish(c *client, n int) error {
	frames := make([]byte, 0, writeSize+p.size+envelope)
	for ; n > 0; n-- {
		if frames = p.append(frames); len(frames) < writeSize && n > 1 {
			continue
		}
		if _, err := c.conn.Write(frames); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
		frames = frames[:0]
	}
	return nil
}

// publish has many sessions publish until Kafka has all, then times single
// acknowledgements, and then reads what Kafka has.
func publish(ctx context.Context, r *run) error {
	all := make([]*publisher, r.o.publishers)
	for i := range all {
		all[i] = &publisher{number: i, topic: r.writer.topics[0], size: r.load.size}
	}
	if err := r.flood(ctx, all); err != nil {
		return err
	}
	for _, part := range []struct {
		key string
		of  []*publisher
	}{{"ack_alone", all[:1]}, {"ack", all}} {
		acks, err := r.acks(ctx, part.of, all)
		if err != nil {
			return err
		}
		r.figures[part.key+"_p50_ms"], r.figures[part.key+"_p99_ms"] = acks.millis(.5), acks.millis(.99)
	}
	return r.verify(ctx, all)
}

// flood publishes as fast as it goes and measures that.
func (r *run) flood(ctx context.Context, all []*publisher) error {
	return r.publishing(*r.target.publish, len(all), func(clients []*client) error {
		each := func(n int) func() error {
			return func() error {
				if err := together(len(all), func(i int) error { return all[i].publish(clients[i], n) }); err != nil {
					return err
				}
				return r.awaitWritten(ctx, all)
			}
		}
		if err := each(max(1, r.o.warmUp))(); err != nil {
			return err
		}
		before, err := r.before(ctx)
		if err != nil {
			return err
		}
		profiled := r.profiling(ctx)
		n := r.o.published / len(all)
		if err := each(n)(); err != nil {
			return err
		}
		used, took, err := r.since(ctx, before)
		records := float64(n * len(all))
		r.figures["records_per_s"] = records / took.Seconds()
		r.figures["cpu_us_per_record"] = micros(used.gateway, records)
		r.figures["allocs_per_record"] = float64(used.mallocs) / records
		r.figures["kafka_cpu_us_per_record"] = micros(used.kafka, records)
		r.figures["generator_cpu_us"] = micros(used.generator, records)
		return errors.Join(err, profiled())
	})
}

// publishing connects sessions that subscribe to nothing, for as long as do takes.
func (r *run) publishing(e endpoint, n int, do func([]*client) error) error {
	f := newFleet(r.load)
	f.pongs = r.o.acks + 1
	if err := f.grow(n, func(int) (endpoint, []int) { return r.process.reach(e), nil }); err != nil {
		return err
	}
	err := do(f.clients)
	f.close()
	r.verdict.add(f.judge(nil)) // they subscribed to nothing
	return err
}

// together does something n times at once and returns the first error.
func together(n int, do func(i int) error) error {
	errs := make(chan error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := do(i); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// awaitWritten waits until Kafka has as many records as were published: the wire
// has no acknowledgements. Its ends are asked for when all has been sent, a few
// hundred times a second.
func (r *run) awaitWritten(ctx context.Context, all []*publisher) error {
	want := int64(0)
	for _, p := range all {
		want += int64(p.published)
	}
	admin := kadm.NewClient(r.writer.cl)
	return awaitCount(ctx, want, "records were written", func() (n int64, err error) {
		ends, err := admin.ListEndOffsets(ctx, r.writer.topics[0])
		if err == nil {
			err = ends.Error()
		}
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n, err
	})
}
