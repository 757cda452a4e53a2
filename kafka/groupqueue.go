package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/kafkaws/kafkaws/record"
)

// item is what waits for Next: an event, or records of a partition.
type item struct {
	held  *held // of records and of a loss
	event record.GroupEvent
	batch record.Batch
	size  int     // as counted in member.bytes
	fresh []*held // that a GroupAssigned tells of
}

// push adds to the queue. The caller holds m.mu.
func (m *member) push(it item) {
	m.queue = append(m.queue, it)
	m.poke()
}

func (m *member) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Next implements record.Member.
func (m *member) Next(ctx context.Context) (record.GroupEvent, error) {
	return m.await(ctx, m.take)
}

// NextChange implements record.Member.
func (m *member) NextChange(ctx context.Context) (record.GroupEvent, error) {
	return m.await(ctx, m.takeChange)
}

// await waits until there is something to take.
func (m *member) await(ctx context.Context, take func() record.GroupEvent) (record.GroupEvent, error) {
	for {
		m.mu.Lock()
		ev := take()
		over := m.over
		resume := m.relieve()
		m.mu.Unlock()
		resumeAll(resume)
		switch {
		case ev != nil:
			return ev, nil
		case over:
			return nil, fmt.Errorf("reading as a member of consumer group %q: %w", m.spec.Group, record.ErrClosed)
		}
		select {
		case <-m.wake:
		case <-ctx.Done():
			return nil, fmt.Errorf("reading as a member of consumer group %q: %w", m.spec.Group, ctx.Err())
		}
	}
}

// take returns the next event, if there is one. Nothing of a partition is
// delivered during a rebalance, which may give it to somebody else. The caller
// holds m.mu.
func (m *member) take() record.GroupEvent {
	if len(m.queue) == 0 {
		return nil
	}
	it := &m.queue[0]
	h := it.held
	if h != nil && !m.live {
		return nil
	}
	switch {
	case h == nil:
		ev := it.tell()
		m.pop()
		return ev
	case it.event != nil:
		ev := it.event
		m.pop()
		if loss, ok := ev.(record.GroupLoss); ok {
			h.told(loss.Loss)
		}
		return ev
	}
	b := it.part()
	if len(it.batch.Records) == 0 {
		m.bytes -= it.size
		m.pop()
	}
	h.handed = b.Next
	return record.GroupRecords{Topic: h.key.topic, Batch: b}
}

// takeChange returns the next event that is not of one partition's log, if there is
// one. It may overtake those that are: what was read of a partition is dropped when
// the partition is taken away, and read after its assignment was queued. The caller
// holds m.mu.
func (m *member) takeChange() record.GroupEvent {
	i := slices.IndexFunc(m.queue, func(it item) bool { return it.held == nil })
	if i < 0 {
		return nil
	}
	ev := m.queue[i].tell()
	m.queue = slices.Delete(m.queue, i, i+1)
	return ev
}

// tell returns the item's event, after which the caller of Next knows the partitions
// that it assigns. The caller holds the member's lock.
func (it *item) tell() record.GroupEvent {
	for _, h := range it.fresh {
		h.known = true
	}
	return it.event
}

func (m *member) pop() {
	m.queue[0] = item{}
	if m.queue = m.queue[1:]; len(m.queue) == 0 {
		m.queue = nil
	}
}

// part takes as many records from the item as one event carries.
func (it *item) part() record.Batch {
	m, all := it.held.m, it.batch.Records
	n, size := 0, 0
	for n < len(all) && (n == 0 || size+weight(&all[n]) <= eventBytes) {
		size += weight(&all[n])
		n++
	}
	m.bytes -= size
	it.size -= size
	b := it.batch
	b.Records, it.batch.Records = all[:n:n], all[n:]
	if n < len(all) {
		b.Next, b.Epoch = all[n-1].Offset+1, noEpoch
	}
	return b
}

// relieve returns the readings that may go on, because there is room again. The
// caller holds m.mu.
func (m *member) relieve() []*reading {
	if !m.full || m.bytes > memberBuffer/2 {
		return nil
	}
	m.full = false
	var all []*reading
	for _, h := range m.parts {
		if h.feed != nil {
			all = append(all, h.feed.reading)
		}
	}
	return all
}

func resumeAll(all []*reading) {
	for _, r := range all {
		r.Resume()
	}
}
