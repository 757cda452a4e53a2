package dedupe

import (
	"math/bits"
	"time"
)

const (
	// firstWidth is the width of a ring that is new. Many producers publish once.
	firstWidth = 4
	// leastWidth is the width below which no ring is halved.
	leastWidth = 16
	// producerCost is how many entries a producer counts as: its struct and its
	// places in two maps.
	producerCost = 8
	// entrySize is the size of an entry in bytes, in which names are counted.
	entrySize = 40
	// sweepStep is how many producers a Begin drops at most because of their
	// age: more than it can make, so that they do not pile up.
	sweepStep = 4
	// classes is how many classes of widths there are: see class.
	classes = bits.UintSize
)

// cost returns how many entries a producer of that name counts as, without its
// ring.
func (n *name) cost() int {
	return producerCost + (len(n.owner)+len(n.producer))/entrySize
}

// class returns the class of a width. Widths are firstWidth, doubled some times,
// and the window: a class has but one of them.
func class(width int) int {
	return bits.Len(uint(width - 1))
}

// widen gives the producer's ring the width that it needs, or as much of it as
// there is room for. Room is made by halving rings that are four times as wide,
// so that two which both grow do not take turns; a ring that is narrow gets
// its width also at the expense of producers that are idle.
func (m *Memory) widen(p *producer, need int64) {
	width := len(p.ring.slots)
	old := width
	for int64(width) < need {
		next := min(2*width, m.cfg.Window)
		if !m.makeRoom(next-width, 4*width, width < leastWidth, p) {
			break
		}
		m.used += next - width
		width = next
	}
	if width != old {
		m.resize(p, width)
	}
}

// makeRoom sees to it that there is room for some more entries: by halving rings
// that have at least the width above, and then, if it may drop any, by dropping
// producers that are idle, without keep. It reports whether there is.
func (m *Memory) makeRoom(entries, above int, drop bool, keep *producer) bool {
	for m.used+entries > m.cfg.Entries {
		if p := m.widest(above); p != nil {
			m.halve(p)
			continue
		}
		p := m.idle.first()
		if !drop || p == nil || p == keep {
			return false
		}
		m.drop(p)
		m.forgotten++
	}
	return true
}

// widest returns a producer with the widest ring of all, nil where that is
// narrower than above, or too narrow to be halved.
func (m *Memory) widest(above int) *producer {
	least := class(max(above, leastWidth+1))
	for c := class(m.cfg.Window); c >= least; c-- {
		if p := m.widths[c].first(); p != nil {
			return p
		}
	}
	return nil
}

// halve gives the producer's ring the next narrower width.
func (m *Memory) halve(p *producer) {
	old := len(p.ring.slots)
	width := 1 << (class(old) - 1)
	m.used -= old - width
	m.resize(p, width)
}

// resize gives the producer's ring another width.
func (m *Memory) resize(p *producer, width int) {
	p.ring.resize(width)
	p.width.remove()
	m.widths[class(width)].push(&p.width)
}

// sweep drops at most n producers that have been idle for too long.
func (m *Memory) sweep(now time.Duration, n int) {
	for range n {
		p := m.idle.first()
		if p == nil || now-p.used < m.cfg.Age {
			return
		}
		m.drop(p)
		m.aged++
	}
}

// drop forgets a producer that has nothing in flight.
func (m *Memory) drop(p *producer) {
	p.idle.remove()
	p.width.remove()
	m.used -= p.name.cost() + len(p.ring.slots)
	delete(m.producers, p.name)
	if m.owners[p.name.owner]--; m.owners[p.name.owner] == 0 {
		delete(m.owners, p.name.owner)
	}
}
