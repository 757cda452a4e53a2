package kafka

import (
	"context"
	"sync"
)

const (
	// maxTopicRecords is how many records of one topic sarama may hold. Its
	// channels have room for as many, so that a topic that cannot be written
	// to never blocks the goroutine that serves all of them.
	maxTopicRecords = 1024
	// maxTopicBytes bounds the same by size; one record always fits.
	maxTopicBytes = 32 << 20
)

// gate lets a topic's records into sarama in the order in which they came, for
// as long as there is room.
type gate struct {
	mu      sync.Mutex
	records int
	bytes   int
	limit   int // of bytes, where the topic takes smaller batches than usual
	epoch   int // counts the changes of limit
	entered int
	queue   []*ticket
}

type ticket struct {
	size int
	open chan struct{} // closed when pass is set
	pass pass
}

// pass tells how things were when a record entered.
type pass struct {
	entered int
	epoch   int
	alone   bool
}

// try enters if nobody waits and there is room.
func (g *gate) try(size int) (pass, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) > 0 || !g.fits(size) {
		return pass{}, false
	}
	return g.take(size), true
}

// enter waits for room until ctx is done. Who has entered must leave.
func (g *gate) enter(ctx context.Context, size int) (pass, error) {
	t := &ticket{size: size, open: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, t)
	g.admit()
	g.mu.Unlock()
	select {
	case <-t.open:
		return t.pass, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-t.open:
		return t.pass, nil // both came at once
	default:
	}
	for i, q := range g.queue {
		if q == t {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			break
		}
	}
	g.admit() // the next one may be smaller
	return pass{}, ctx.Err()
}

// leave makes room.
func (g *gate) leave(size int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.records--
	g.bytes -= size
	g.admit()
}

// blame decides whose fault it is that the broker found a batch too large: the
// record's, or that of the company it was sent in. sarama fails a whole batch
// then, while the topic may take each of its records. In that case fewer bytes
// of the topic are let in from now on, until batches are small enough. most is
// the size that batches have otherwise.
func (g *gate) blame(p pass, size, most int) (own bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.alone && p.entered == g.entered {
		return true
	}
	if p.epoch != g.epoch {
		return false // it was let in before the limit was lowered
	}
	limit := most
	if g.limit > 0 {
		limit = g.limit
	}
	if 2*size > limit {
		return true
	}
	g.limit = limit / 2
	g.epoch++
	return false
}

func (g *gate) admit() {
	for len(g.queue) > 0 && g.fits(g.queue[0].size) {
		t := g.queue[0]
		g.queue = g.queue[1:]
		t.pass = g.take(t.size)
		close(t.open)
	}
}

func (g *gate) fits(size int) bool {
	limit := maxTopicBytes
	if g.limit > 0 {
		limit = g.limit
	}
	return g.records == 0 || g.records < maxTopicRecords && g.bytes+size <= limit
}

func (g *gate) take(size int) pass {
	alone := g.records == 0
	g.records++
	g.bytes += size
	g.entered++
	return pass{entered: g.entered, epoch: g.epoch, alone: alone}
}
