package history

import (
	"fmt"
	"slices"
)

// walker follows a reader through its history.
type walker struct {
	c       *check
	r       *reading
	group   *group // nil for ExactlyOnce
	cursors []*cursor
	// whole are positions for all partitions of a topic that have none.
	whole    map[string]int64
	session  int
	finished bool
	// taken is how many of the group's acknowledgements are applied.
	taken int
}

// walk follows all readers, and then looks at what is left over.
func (c *check) walk() {
	groups := c.groups()
	for _, r := range c.readers {
		w := &walker{c: c, r: r, cursors: make([]*cursor, len(c.partitions)), whole: map[string]int64{}}
		if r.options.Mode == AtLeastOnce {
			w.group = groups[groupName(r)]
		}
		w.run()
		if w.group == nil {
			w.end()
		} else {
			w.group.join(w)
		}
	}
	for _, r := range c.readers {
		if g := groups[groupName(r)]; r.options.Mode == AtLeastOnce && !g.done {
			g.end(c)
		}
	}
	c.unseen()
}

func (w *walker) run() {
	at := 0
	for _, e := range w.r.events {
		w.reads(at, e.at)
		at = e.at
		w.event(e)
	}
	w.reads(at, len(w.r.reads))
	w.c.report.Sessions += w.session
}

func (w *walker) reads(from, to int) {
	for i := from; i < to; i++ {
		w.read(&w.r.reads[i])
	}
}

// cursor returns the reader's place in a partition.
func (w *walker) cursor(place int32) *cursor {
	c := w.cursors[place]
	if c == nil {
		c = &cursor{p: w.c.partitions[place], next: -1, first: -1, prev: -1, astray: -1}
		if start, ok := w.whole[c.p.topic]; ok {
			c.place(start)
		}
		w.cursors[place] = c
	}
	return c
}

func (w *walker) event(e event) {
	switch e.kind {
	case started, resumed:
		w.begin(e.kind == started)
	case startedAt, resumedAt:
		w.at(e)
	case gap:
		w.gap(w.cursor(e.place), e)
	case sought:
		w.seek(w.cursor(e.place), e.to)
	case progressed:
		w.progress(w.cursor(e.place), e.to)
	case acked:
		w.cursor(e.place).ack(e.from, e.to)
	case finished:
		w.finished = true
	case ended:
		w.flush()
	}
	if w.group != nil && (e.kind <= resumedAt || e.kind == sought) {
		w.takeAcks(e.seq)
	}
}

// begin begins a session.
func (w *walker) begin(anew bool) {
	w.flush()
	w.session++
	if anew {
		clear(w.whole)
	}
	for _, c := range w.cursors {
		switch {
		case c == nil:
		case anew:
			c.next, c.prev, c.fresh, c.gaps, c.astray = -1, -1, false, nil, -1
			c.seen = nil
		default:
			c.fresh = true
		}
	}
}

// at is one of the positions at which a session begins.
func (w *walker) at(e event) {
	if p := w.c.partitions[e.place]; p.partition == anywhere {
		w.whole[p.topic] = e.to
		for i, q := range w.c.partitions {
			if q.topic != p.topic || q.partition == anywhere {
				continue
			}
			if c := w.cursor(int32(i)); c.next < 0 {
				c.place(e.to)
			}
		}
		return
	}
	c := w.cursor(e.place)
	if e.kind == startedAt || c.next < 0 || e.to < c.next {
		c.place(e.to)
	}
}

// seek moves the reader; what is there is expected whether it came before or not.
func (w *walker) seek(c *cursor, to int64) {
	w.flushOne(c)
	c.seen.clearFrom(c.p.search(to))
	c.place(to)
	c.prev, c.fresh, c.gaps, c.astray = -1, false, nil, -1
}

func (w *walker) gap(c *cursor, e event) {
	from := max(e.from, c.next)
	for i := c.p.search(from); i < len(c.p.offsets) && c.p.offsets[i] < e.to; i++ {
		if w.expects(c, i) {
			w.c.report.Told++
		}
		if w.group != nil {
			w.group.got(c.p, i)
		}
	}
	switch {
	case c.next < 0 || e.from <= c.next && e.to > c.next:
		c.place(max(c.next, e.to))
	case e.to > c.next:
		c.gaps = append(c.gaps, span{e.from, e.to})
	}
}

func (w *walker) progress(c *cursor, next int64) {
	switch {
	case c.next < 0:
		c.place(next)
	case next < c.next:
		w.report(IntNonmonotonic, c, next, 0, fmt.Sprintf("its position was told to be %d after it was %d", next, c.next))
	default:
		w.skip(c, next, true)
		c.next = next
	}
}

// read is one record that came.
func (w *walker) read(e *read) {
	c := w.cursor(e.place)
	i, there := c.p.find(e.offset, c.hint)
	c.hint = i + 1
	same := there && c.p.values[i] == e.value
	if same {
		w.content(c, i, e)
	}
	if c.next < 0 {
		c.place(e.offset)
	}
	c.stray(e.offset, same && c.p.flags[i]&inLog != 0)
	again := same && c.seen.has(i)
	if w.group == nil && again {
		w.report(Duplicate, c, e.offset, e.value, fmt.Sprintf("came again after %d", c.prev))
		return
	}
	switch {
	case e.offset >= c.next:
		w.skip(c, e.offset, false)
	case w.group != nil && (c.fresh || c.isAcked(e.offset, i)):
		// Not acknowledged in the session before, or reported below.
	case c.fresh:
		w.report(ExtNonmonotonic, c, e.offset, e.value, fmt.Sprintf("first of its session, which should begin at %d", c.next))
	default:
		w.report(IntNonmonotonic, c, e.offset, e.value, fmt.Sprintf("came after %d", c.prev))
	}
	if w.group != nil && c.isAcked(e.offset, i) {
		w.report(AckedAgain, c, e.offset, e.value, "")
	}
	if same {
		c.seen.set(i)
		if w.group != nil {
			w.group.got(c.p, i)
		}
	}
	c.next, c.prev, c.fresh = e.offset+1, e.offset, false
}

// content looks at a record apart from its place.
func (w *walker) content(c *cursor, i int, e *read) {
	flags, o := c.p.flags[i], &w.r.options
	if sum := c.p.sums[i]; sum != e.sum && sum != 0 && e.sum != 0 {
		w.report(WrongContent, c, e.offset, e.value, fmt.Sprintf("its sum is %08x, not %08x", e.sum, sum))
	}
	switch {
	case flags&aborted != 0 && !o.Uncommitted:
		w.report(AbortedRead, c, e.offset, e.value, "its transaction was aborted or is open")
	case flags&sendFailed != 0 && flags&inLog == 0 && (!o.Uncommitted || c.p.loaded):
		w.report(AbortedRead, c, e.offset, e.value, "its send failed or was aborted")
	}
	if !w.wants(c, i) {
		w.report(Unwanted, c, e.offset, e.value, "")
	}
}

func (w *walker) wants(c *cursor, i int) bool {
	f := w.r.options.Wants
	return f == nil || f(Record{c.p.topic, c.p.partition, c.p.offsets[i], c.p.values[i]})
}

// expects tells whether the reader must get a record when it passes it.
func (w *walker) expects(c *cursor, i int) bool {
	if c.p.flags[i]&aborted != 0 {
		return w.r.options.Uncommitted && w.wants(c, i)
	}
	return c.p.lasting(i) && w.wants(c, i)
}

// skip notes what did not come before an offset that is now passed.
func (w *walker) skip(c *cursor, to int64, progress bool) {
	if c.next < to {
		for i := c.p.search(c.next); i < len(c.p.offsets) && c.p.offsets[i] < to; i++ {
			o := c.p.offsets[i]
			if c.seen.has(i) || c.isAcked(o, i) || c.inGap(o) || !w.expects(c, i) {
				continue
			}
			c.missing = append(c.missing, missing{i, c.prev, to, w.session, c.fresh, progress})
		}
	}
	if len(c.gaps) > 0 {
		c.gaps = slices.DeleteFunc(c.gaps, func(g span) bool { return g.to <= to })
	}
}

// flush reports what is missing of a session that is over. A group's waits for
// the other members.
func (w *walker) flush() {
	for _, c := range w.cursors {
		if c != nil {
			w.flushOne(c)
		}
	}
}

func (w *walker) flushOne(c *cursor) {
	if w.group != nil || len(c.missing) == 0 {
		return
	}
	w.reportMissing(c, c.seen)
}

// reportMissing reports what never came, one anomaly for what is missing at the
// same place.
func (w *walker) reportMissing(c *cursor, got bits) {
	left := slices.DeleteFunc(c.missing, func(m missing) bool { return got.has(m.i) })
	c.missing = nil
	for len(left) > 0 {
		m := left[0]
		if p := c.p; !p.loaded && p.flags[m.i]&wasRead == 0 {
			left = left[1:]
			if p.flags[m.i]&reported == 0 {
				w.reportIn(m.session, LostWrite, c, m.i, 1, "acknowledged, nobody got it, and "+m.neighbours())
			}
			p.flags[m.i] |= reported
			if w.group != nil {
				w.group.got(p, m.i)
			}
			continue
		}
		n := 0
		for n < len(left) && left[n].after == m.after && left[n].before == m.before && left[n].session == m.session &&
			(c.p.loaded || c.p.flags[left[n].i]&wasRead != 0) {
			c.p.flags[left[n].i] |= reported
			if w.group != nil {
				w.group.got(c.p, left[n].i) // said once is enough
			}
			n++
		}
		kind := IntSkipped
		if m.ext {
			kind = ExtSkipped
		}
		w.reportIn(m.session, kind, c, m.i, n, m.neighbours())
		left = left[n:]
	}
}

// end is the end of an ExactlyOnce reader's history.
func (w *walker) end() {
	w.flush()
	w.complete()
	for _, c := range w.cursors {
		if c != nil && c.next >= 0 {
			from := c.next
			if c.astray >= 0 {
				from = min(from, c.astray)
			}
			w.rest(c, from, func(i int) bool { return !c.seen.has(i) && !c.inGap(c.p.offsets[i]) })
		}
	}
}

// complete adds the partitions of whole topics that nothing came from.
func (w *walker) complete() {
	for place, p := range w.c.partitions {
		if _, ok := w.whole[p.topic]; ok && p.partition != anywhere {
			w.cursor(int32(place))
		}
	}
}

// rest looks at what comes after the end of a reader's history.
func (w *walker) rest(c *cursor, from int64, lacks func(i int) bool) {
	first, n := 0, 0
	for i := c.p.search(from); i < len(c.p.offsets); i++ {
		if !w.finished && c.p.flags[i]&(wasRead|awaited) != 0 || !w.expects(c, i) || !lacks(i) {
			continue
		}
		if !w.finished {
			c.p.flags[i] |= awaited
			continue
		}
		c.p.flags[i] |= reported
		if n == 0 {
			first = i
		}
		n++
	}
	if n > 0 {
		w.reportIn(w.session, Unseen, c, first, n, fmt.Sprintf("the last that came is %d", c.prev))
	}
}

// unseen reports what nobody got although somebody was on the way to it.
func (c *check) unseen() {
	for _, p := range c.partitions {
		first, n := 0, 0
		for i, f := range p.flags {
			if f&(awaited|wasRead|reported) != awaited {
				continue
			}
			if n == 0 {
				first = i
			}
			n++
		}
		if n > 0 {
			c.report.add(Anomaly{
				Kind: Unseen, Topic: p.topic, Partition: p.partition, Offset: p.offsets[first], Value: p.values[first],
				Count: n, Detail: "nobody got it",
			})
		}
	}
}

func (w *walker) report(kind Kind, c *cursor, offset int64, v Value, detail string) {
	w.c.report.add(Anomaly{
		Kind: kind, Reader: w.r.name, Session: w.session, Topic: c.p.topic, Partition: c.p.partition,
		Offset: offset, Value: v, Detail: detail,
	})
}

func (w *walker) reportIn(session int, kind Kind, c *cursor, i, count int, detail string) {
	w.c.report.add(Anomaly{
		Kind: kind, Reader: w.r.name, Session: session, Topic: c.p.topic, Partition: c.p.partition,
		Offset: c.p.offsets[i], Value: c.p.values[i], Count: count, Detail: detail,
	})
}
