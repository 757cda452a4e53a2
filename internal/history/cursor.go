package history

import "fmt"

// cursor is a reader in one partition.
type cursor struct {
	p    *partition
	next int64 // the offset expected next; -1: that of the first record to come
	// first is the lowest position that the reader ever had, -1 before it has one.
	first int64
	hint  int
	prev  int64 // the last offset that came, -1 before
	fresh bool  // nothing came since the session was resumed
	// astray is the first offset at which the reader got a record of a log that
	// was cut since, and has not been told; -1 where there is none.
	astray int64

	seen    bits
	acked   bits
	below   int64 // all offsets before this are acknowledged, too
	gaps    []span
	missing []missing
}

// span is a range of offsets that the reader was told it does not get. It ends
// before to.
type span struct{ from, to int64 }

// missing is a record that did not come between two that did.
type missing struct {
	i             int
	after, before int64
	session       int
	ext           bool
	progress      bool // before is a position that was told
}

func (c *cursor) place(next int64) {
	c.next = next
	if c.first < 0 || next < c.first {
		c.first = next
	}
}

// stray notes whether a record that came is of the log as it is. A reader that
// goes on in that behind others of the log that was cut lacks what stands in the
// place of these.
func (c *cursor) stray(offset int64, standing bool) {
	switch {
	case !standing && c.p.loaded && c.p.excused(offset):
		if c.astray < 0 {
			c.astray = offset
		}
	case standing && c.astray >= 0 && offset >= c.next:
		c.next, c.astray = c.astray, -1
	}
}

func (c *cursor) isAcked(offset int64, i int) bool { return offset < c.below || c.acked.has(i) }

// ack marks the offsets from one up to and without another.
func (c *cursor) ack(from, to int64) {
	if from <= max(c.below, 0) {
		c.below = max(c.below, to)
		return
	}
	for i := c.p.search(from); i < len(c.p.offsets) && c.p.offsets[i] < to; i++ {
		c.acked.set(i)
	}
}

// inGap tells whether the reader was told that it does not get an offset.
func (c *cursor) inGap(offset int64) bool {
	for _, g := range c.gaps {
		if offset >= g.from && offset < g.to {
			return true
		}
	}
	return false
}

// neighbours tells between what a record is missing.
func (m *missing) neighbours() string {
	after := fmt.Sprintf("after %d", m.after)
	if m.after < 0 {
		after = "at the beginning"
	}
	if m.progress {
		return fmt.Sprintf("%s the position was told to be %d", after, m.before)
	}
	return fmt.Sprintf("%s came %d", after, m.before)
}
