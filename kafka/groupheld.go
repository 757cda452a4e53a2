package kafka

import (
	"fmt"
	"slices"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// held is a partition that a member holds. Its fields are guarded by the
// member's lock.
type held struct {
	m   *member
	key topicPartition

	gone      bool // it is not held any more
	placed    bool // it is known where it begins
	placing   bool // somebody is finding out
	announced bool // the caller of Next knows it, or will when it has read the queue
	known     bool // the caller of Next knows it

	handed    int64 // the next offset after what Next has returned
	done      int64 // everything before is done; -1: nothing was said yet
	committed int64 // what Kafka has; -1: nothing, or of another log
	log       int   // counts the logs that the partition was found to have
	stale     int   // how many of these the caller of Next does not know of yet

	feed  *feed
	delay *time.Timer // of Rewind
}

// dirty reports whether there is something to commit.
func (h *held) dirty() bool { return h.done > h.committed }

// finish notes that everything before next is done. The caller holds the member's
// lock.
func (h *held) finish(next int64) {
	if h.stale == 0 {
		h.done = max(h.done, min(next, h.handed))
	}
}

// lose notes that reading does not simply go on, before the caller of Next is told
// of it. Where the log is another one, what was done of the old one says nothing
// about it. The caller holds the member's lock.
func (h *held) lose(l record.Loss) {
	if renews(l) {
		h.done, h.committed = -1, -1
		h.log++
		h.stale++
	}
}

// told notes that the caller of Next is told of a loss. It may note what it is done
// with of the log that it knows then, unless that has been replaced, too. The caller
// holds the member's lock.
func (h *held) told(l record.Loss) {
	h.handed = l.Next
	if renews(l) {
		h.stale--
	}
}

// renews reports whether the log behind a loss is another one.
func renews(l record.Loss) bool {
	return l.Reason == record.LossTruncated || l.Reason == record.LossRecreated
}

// place notes where the partition begins. The caller holds the member's lock.
func (h *held) place(next int64) {
	if h.gone || h.placed {
		return
	}
	h.placed, h.handed = true, next
	h.done = max(h.done, next)
	h.m.announce()
}

// open begins to read the partition. The caller holds the member's lock.
func (h *held) open(next int64) {
	f := &feed{held: h}
	h.feed = f
	f.reading = h.m.src.readOne(h.key.topic, h.key.id, next, f)
}

// halt ends the reading of the partition, drops what was read, and returns the
// reading, which is to be stopped without the member's lock. The caller holds
// that.
func (h *held) halt() *reading {
	m := h.m
	m.queue = slices.DeleteFunc(m.queue, func(it item) bool {
		if it.held == h {
			m.bytes -= it.size
		}
		return it.held == h
	})
	if h.delay != nil {
		h.delay.Stop()
		h.delay = nil
	}
	f := h.feed
	h.feed = nil
	if f == nil {
		return nil
	}
	return f.reading
}

// left returns the offset before which the log is still the one that the caller of
// Next knows: ahead of all cuts that it is to be told of. The caller holds the member's
// lock.
func (h *held) left() int64 {
	left := h.handed
	for i := range h.m.queue {
		if loss, ok := h.m.queue[i].event.(record.GroupLoss); ok && h.m.queue[i].held == h && renews(loss.Loss) {
			left = min(left, loss.Loss.Next)
			if loss.Loss.Reason == record.LossRecreated {
				return 0
			}
		}
	}
	return left
}

// Rewind implements record.Member.
func (m *member) Rewind(topic string, partition int32, offset int64, delay time.Duration) error {
	m.mu.Lock()
	h := m.parts[topicPartition{topic, partition}]
	switch {
	case h == nil || !h.known || m.over:
		m.mu.Unlock()
		return fmt.Errorf("rewinding topic %q, partition %d: %w", topic, partition, record.ErrNotAssigned)
	case offset < 0 || offset > h.handed:
		m.mu.Unlock()
		return fmt.Errorf("rewinding topic %q, partition %d: offset %d was not delivered: %w", topic, partition, offset, record.ErrRefused)
	}
	if h.stale > 0 && offset >= h.left() {
		m.mu.Unlock()
		return nil // the log is gone that the offset was of, as will be told next
	}
	old := h.halt()
	if h.stale == 0 {
		h.handed = offset
	} else {
		// It goes on farther ahead than was to be told.
		h.stale = 1
		m.push(item{held: h, event: record.GroupLoss{Topic: topic, Loss: record.Loss{
			Partition: partition, From: h.handed, Next: offset, Reason: record.LossTruncated,
		}}})
	}
	if delay <= 0 {
		h.open(offset)
	} else {
		var t *time.Timer
		t = time.AfterFunc(delay, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if h.delay == t && !h.gone {
				h.delay = nil
				h.open(offset)
			}
		})
		h.delay = t
	}
	resume := m.relieve()
	m.mu.Unlock()
	stopAll([]*reading{old})
	resumeAll(resume)
	return nil
}

// feed is one reading of a held partition, and its sink.
type feed struct {
	held    *held
	reading *reading
}

// Missing implements record.Sink.
func (f *feed) Missing() {}

// Started implements record.Sink.
func (f *feed) Started(record.Started) {}

// Ready implements record.Sink.
func (f *feed) Ready() bool {
	m := f.held.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = m.full || m.bytes >= memberBuffer
	return !m.full
}

// Deliver implements record.Sink.
func (f *feed) Deliver(b record.Batch) {
	h := f.held
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.feed != f {
		return
	}
	size := itemOverhead
	for i := range b.Records {
		size += weight(&b.Records[i])
	}
	h.m.bytes += size
	h.m.push(item{held: h, batch: b, size: size})
}

// Lost implements record.Sink.
func (f *feed) Lost(l record.Loss) {
	h := f.held
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.feed == f {
		h.lose(l)
		h.m.push(item{held: h, event: record.GroupLoss{Topic: h.key.topic, Loss: l}})
	}
}

// weight is about what a record takes in memory.
func weight(r *record.Record) int { return r.Size() + 128 }

// itemOverhead is about what an entry of the queue takes.
const itemOverhead = 64
