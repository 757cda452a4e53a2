package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// outbox holds what is on its way to one topic: a lane for each partition, behind
// a gate that bounds all of them.
type outbox struct {
	p     *Producer
	topic string

	mu      sync.Mutex
	info    *topicInfo
	whole   bool    // every partition has a leader
	leaders []int32 // by partition
	lanes   []*lane // by partition; may be more than leaders of a topic made again
	gate    gate
	limit   int // the most bytes of a batch
	turn    int32

	watching bool
	closed   bool          // takes nothing more
	dead     bool          // nothing is sent any more, and everything has its outcome
	empty    chan struct{} // closed when nothing is left, if somebody waits
}

// try takes a record if that needs neither waiting nor asking anybody.
func (o *outbox) try(r *record.Record, size int, done func(record.Outcome), now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || !o.fresh(now) || r.Partition != record.AnyPartition && !o.has(r.Partition) || !o.gate.try(size) {
		return false
	}
	o.push(r, size, done, now)
	return true
}

// enter takes a record of a topic that was looked up, and waits for room until
// ctx is done.
func (o *outbox) enter(ctx context.Context, r *record.Record, size int, done func(record.Outcome)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return fmt.Errorf("writing to topic %q: %w", o.topic, record.ErrClosed)
	}
	if !o.gate.try(size) {
		t := o.gate.lineUp(size)
		o.mu.Unlock()
		err := t.wait(ctx)
		o.mu.Lock()
		if err != nil && o.gate.withdraw(t) {
			o.settle()
			return fmt.Errorf("writing to topic %q: the records before it are stuck: %w", o.topic, record.ErrUnavailable)
		}
	}
	if o.dead {
		o.leave(1, size)
		return fmt.Errorf("writing to topic %q: %w", o.topic, record.ErrClosed)
	}
	o.adopt(o.p.c.meta.cached(o.topic))
	if len(o.leaders) == 0 || r.Partition != record.AnyPartition && !o.has(r.Partition) {
		o.leave(1, size)
		return fmt.Errorf("writing to topic %q: its partitions have changed meanwhile: %w", o.topic, record.ErrUnavailable)
	}
	o.push(r, size, done, time.Now())
	return nil
}

func (o *outbox) has(partition int32) bool { return partition >= 0 && int(partition) < len(o.leaders) }

// fresh reports whether what is known of the topic is good enough to write
// without asking anybody: the way of all records but a topic's first.
func (o *outbox) fresh(now time.Time) bool {
	if now.Sub(o.info.at) > metadataStale {
		o.adopt(o.p.c.meta.cached(o.topic))
		age := now.Sub(o.info.at)
		if age > metadataStale {
			o.p.c.meta.prefetch(o.topic)
		}
		if age > metadataOld {
			return false
		}
	}
	return o.whole
}

// adopt takes over what the brokers said, if it is news.
func (o *outbox) adopt(t *topicInfo) {
	if t == nil || o.info != nil && !t.at.After(o.info.at) {
		return
	}
	o.info, o.whole = t, t.complete()
	if len(t.partitions) == 0 {
		return // what is on its way keeps looking for its leaders
	}
	o.leaders = make([]int32, len(t.partitions))
	for i := range o.leaders {
		o.leaders[i] = noBroker
	}
	for _, p := range t.partitions {
		if o.has(p.id) {
			o.leaders[p.id] = p.leader
		}
	}
	for len(o.lanes) < len(o.leaders) {
		o.lanes = append(o.lanes, &lane{o: o, partition: int32(len(o.lanes)), numbering: noNumbering})
	}
}

// push appends a record that the gate let in to its partition's lane.
func (o *outbox) push(r *record.Record, size int, done func(record.Outcome), now time.Time) {
	stamp := now
	if !r.Timestamp.IsZero() {
		stamp = r.Timestamp
	}
	deadline := now.Sub(o.p.birth) + o.p.cfg.Timeout
	ln := o.lanes[o.choose(r)]
	b := ln.last
	if b == nil || batchOverhead+b.size+size > o.limit {
		b = o.p.newBatch()
		ln.append(b)
	}
	b.add(r, entry{done: done, millis: stamp.UnixMilli(), deadline: deadline, size: size})
	if ln.state == idle {
		ln.list()
	}
	if o.gate.records == 1 {
		o.p.expiry.arm(deadline)
	}
}

// choose returns the partition of a record.
func (o *outbox) choose(r *record.Record) int32 {
	n := int32(len(o.leaders))
	switch {
	case r.Partition != record.AnyPartition:
		return r.Partition
	case r.Key != nil:
		return partitionOf(r.Key, n)
	}
	for range n {
		o.turn = (o.turn + 1) % n
		if o.leaders[o.turn] >= 0 {
			break
		}
	}
	return o.turn
}

// leave makes room.
func (o *outbox) leave(records, bytes int) {
	o.gate.leave(records, bytes)
	o.settle()
}

// settle tells who waits for it that nothing is left.
func (o *outbox) settle() {
	if o.empty != nil && o.gate.idle() {
		close(o.empty)
		o.empty = nil
	}
}

// close has further records turned away. Those that wait for room already are
// still let in. The channel that it returns is closed once nothing is left.
func (o *outbox) close() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	ch := make(chan struct{})
	o.empty = ch
	o.settle()
	return ch
}

// onMetadata implements watcher: lanes that are in trouble try again at the
// leaders that the brokers name now.
func (o *outbox) onMetadata(t *topicInfo) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.adopt(t)
	waiting := false
	for _, ln := range o.lanes {
		if ln.state != parked {
			continue
		}
		// An answer from before the failure may be what led to it.
		if t.at.After(ln.since) && o.leader(ln.partition) >= 0 {
			ln.list()
		} else {
			waiting = true
		}
	}
	if !waiting && o.watching {
		o.watching = false
		o.p.c.meta.unwatch(o.topic, o)
	}
}

func (o *outbox) leader(partition int32) int32 {
	if !o.has(partition) {
		return noBroker
	}
	return o.leaders[partition]
}
