package history

import (
	"cmp"
	"slices"
)

// group is what AtLeastOnce readers share.
type group struct {
	acks    []event // by seq
	union   map[*partition]*bits
	members []*walker
	done    bool
}

func groupName(r *reading) string {
	if r.options.Group == "" {
		return "reader " + r.name
	}
	return "group " + r.options.Group
}

func (c *check) groups() map[string]*group {
	groups := map[string]*group{}
	for _, r := range c.readers {
		if r.options.Mode != AtLeastOnce {
			continue
		}
		g := groups[groupName(r)]
		if g == nil {
			g = &group{union: map[*partition]*bits{}}
			groups[groupName(r)] = g
		}
		for _, e := range r.events {
			if e.kind == acked {
				g.acks = append(g.acks, e)
			}
		}
	}
	for _, g := range groups {
		slices.SortFunc(g.acks, func(a, b event) int { return cmp.Compare(a.seq, b.seq) })
	}
	return groups
}

func (g *group) got(p *partition, i int) {
	b := g.union[p]
	if b == nil {
		b = new(bits)
		g.union[p] = b
	}
	b.set(i)
}

func (g *group) join(w *walker) { g.members = append(g.members, w) }

// takeAcks applies what the whole group had acknowledged when the reader's
// position was settled.
func (w *walker) takeAcks(before int64) {
	for ; w.taken < len(w.group.acks) && w.group.acks[w.taken].seq < before; w.taken++ {
		a := w.group.acks[w.taken]
		w.cursor(a.place).ack(a.from, a.to)
	}
}

// end reports what no member got.
func (g *group) end(c *check) {
	g.done = true
	// What was acknowledged at any time is done with.
	done := map[int32]int64{} // everything before is
	for _, a := range g.acks {
		p, from := c.partitions[a.place], a.from
		if low := done[a.place]; from <= low {
			from, done[a.place] = low, max(low, a.to)
		}
		for i := p.search(from); i < len(p.offsets) && p.offsets[i] < a.to; i++ {
			g.got(p, i)
		}
	}
	finisher := g.members[len(g.members)-1]
	for _, w := range g.members {
		if w.finished {
			finisher = w
		}
		w.complete()
		for _, cur := range w.cursors {
			if cur != nil {
				w.reportMissing(cur, g.of(cur.p))
			}
		}
	}
	// Only now: what one lacks another may have got.
	for place, p := range c.partitions {
		from := int64(-1)
		for _, w := range g.members {
			if cur := w.cursors[place]; cur != nil && cur.first >= 0 && (from < 0 || cur.first < from) {
				from = cur.first
			}
		}
		if from >= 0 {
			union := g.of(p)
			finisher.rest(finisher.cursor(int32(place)), from, func(i int) bool {
				return !union.has(i)
			})
		}
	}
}

func (g *group) of(p *partition) bits {
	if b := g.union[p]; b != nil {
		return *b
	}
	return nil
}
