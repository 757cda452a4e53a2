package kafka

import "context"

const (
	// maxTopicRecords is how many records of one topic may be on their way.
	maxTopicRecords = 16_384
	// maxTopicBytes bounds the same by size; one record always fits.
	maxTopicBytes = 32 << 20
)

// gate lets a topic's records in, in the order in which they came, for as long as
// there is room. It is guarded by the mutex of the outbox that it belongs to.
type gate struct {
	records int
	bytes   int
	queue   []*ticket
}

type ticket struct {
	size int
	open chan struct{} // closed when the record was let in
}

// try enters if nobody waits and there is room.
func (g *gate) try(size int) bool {
	if len(g.queue) > 0 || !g.fits(size) {
		return false
	}
	g.take(size)
	return true
}

// lineUp waits behind those who came before.
func (g *gate) lineUp(size int) *ticket {
	t := &ticket{size: size, open: make(chan struct{})}
	g.queue = append(g.queue, t)
	return t
}

// withdraw ends the waiting. It reports false when the record was let in at the
// same time.
func (g *gate) withdraw(t *ticket) bool {
	for i, q := range g.queue {
		if q == t {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			g.admit() // the next one may be smaller
			return true
		}
	}
	return false
}

// leave makes room.
func (g *gate) leave(records, bytes int) {
	g.records -= records
	g.bytes -= bytes
	g.admit()
}

// idle reports whether nothing is on its way or waits.
func (g *gate) idle() bool { return g.records == 0 && len(g.queue) == 0 }

func (g *gate) admit() {
	for len(g.queue) > 0 && g.fits(g.queue[0].size) {
		t := g.queue[0]
		g.queue = g.queue[1:]
		g.take(t.size)
		close(t.open)
	}
}

func (g *gate) fits(size int) bool {
	return g.records == 0 || g.records < maxTopicRecords && g.bytes+size <= maxTopicBytes
}

func (g *gate) take(size int) {
	g.records++
	g.bytes += size
}

// wait returns when the record was let in, and else fails with ctx.
func (t *ticket) wait(ctx context.Context) error {
	select {
	case <-t.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
