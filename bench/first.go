package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// followers is how many sessions follow the topic that is read already.
const followers = 10

// maxPause is the longest pause before a new subscription. The pauses are random:
// without them each would come at the same point of a gateway's fetch, just after
// the one that brought the last record.
const maxPause = 30 * time.Millisecond

// firsts is how long new subscriptions took.
type firsts struct {
	handshake histogram // from the request to its answer
	record    histogram // from when a record is written, right after that, to its arrival
	both      histogram // from the request to the record's arrival
}

// first subscribes again and again, to a topic that others follow, and then to
// topics that nobody has followed.
func first(ctx context.Context, r *run) error {
	if err := r.connect(followers); err != nil {
		return err
	}
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	known := new(firsts)
	for range r.o.samples {
		if err := r.first(ctx, r.writer, 0, known); err != nil {
			return err
		}
		// Through to all, so that no later session gets it.
		if err := r.fleet.await(ctx, r.fleet.wanted(r.writer.written)); err != nil {
			return err
		}
	}
	known.report(r.figures, "known")
	if !r.target.manyTopics {
		return nil
	}
	return r.firstOfEach(ctx)
}

// firstOfEach subscribes to topics that the gateway has not read.
func (r *run) firstOfEach(ctx context.Context) (err error) {
	l := r.load
	l.topics, l.partitions = r.o.samples, 1
	w, err := newWriter(ctx, r.kafka.addr, r.writer.topics[0]+"-new", l)
	if err != nil {
		return err
	}
	defer func() {
		if errClose := w.close(context.WithoutCancel(ctx)); err == nil {
			err = errClose
		}
	}()
	// Whoever writes has to know the topics, else the wait for that would count.
	if err := w.burst(ctx, l.topics); err != nil {
		return err
	}
	unread := new(firsts)
	for topic := range l.topics {
		if err := r.first(ctx, w, topic, unread); err != nil {
			return err
		}
	}
	unread.report(r.figures, "unread")
	return nil
}

// first subscribes to a topic once and writes a record as soon as the handshake
// was answered.
func (r *run) first(ctx context.Context, w *writer, topic int, into *firsts) error {
	time.Sleep(rand.N(maxPause))
	f := newFleet(load{topics: len(w.topics), partitions: w.partitions, size: w.valueSize})
	start := time.Now()
	c, handshake, err := f.dial(r.process.subscribe(w.topics[topic:topic+1]), []int{topic})
	if err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	copy(c.next, w.written)
	arrived := make(chan time.Time, 1)
	c.arrived = arrived
	go c.read()
	written := time.Now()
	w.writeTo(ctx, topic*w.partitions)
	select {
	case at := <-arrived:
		into.handshake.add(handshake.Microseconds())
		into.record.add(at.Sub(written).Microseconds())
		into.both.add(at.Sub(start).Microseconds())
	case <-c.done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(patience):
		err = fmt.Errorf("a new subscription got no record in %v", patience)
	}
	c.close()
	r.verdict.add(c.judge(w.written))
	return err
}

func (s *firsts) report(f figures, key string) {
	for name, h := range map[string]*histogram{"handshake": &s.handshake, "record": &s.record, "both": &s.both} {
		t := new(total)
		t.add(h)
		f[key+"_"+name+"_p50_ms"], f[key+"_"+name+"_p99_ms"] = t.millis(.5), t.millis(.99)
	}
}
