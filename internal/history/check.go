package history

import (
	"cmp"
	"fmt"
	"slices"
)

// check is one run over a history.
type check struct {
	report     *Report
	partitions []*partition // by place
	sends      []sent       // by value
	readers    []*reading
	// told are conflicts that were reported.
	told map[conflict]bool
}

// conflict is a value where another one is.
type conflict struct {
	p      *partition
	offset int64
	value  Value
}

// sent is a send with its producer and its outcome, its transaction's included.
type sent struct {
	value    Value
	offset   int64
	sum      uint32
	place    int32
	producer int32
	outcome  outcome
}

// reading is a reader as it is when the check begins.
type reading struct {
	*Reader
	reads  []read
	events []event
}

// Check looks for everything that is wrong. Nothing may be recorded meanwhile.
func (h *History) Check() *Report {
	c := &check{report: &Report{}, told: map[conflict]bool{}}
	producers := c.freeze(h)
	c.collect(producers)
	c.match(producers)
	c.walk()
	c.report.sort()
	return c.report
}

// freeze takes over what was recorded and returns the producers' names.
func (c *check) freeze(h *History) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make([]string, 0, len(h.producers))
	for _, p := range h.producers {
		p.mu.Lock()
		for i := range p.sends {
			s := &p.sends[i]
			c.sends = append(c.sends, sent{s.value, s.offset, s.sum, s.place, int32(len(names)), p.outcome(s)})
		}
		p.mu.Unlock()
		names = append(names, p.name)
	}
	slices.SortStableFunc(c.sends, func(a, b sent) int { return cmp.Compare(a.value, b.value) })
	for _, r := range h.readers {
		r.mu.Lock()
		c.readers = append(c.readers, &reading{r, r.reads, r.events})
		r.mu.Unlock()
	}
	for i, at := range h.places {
		p := newPartition(at)
		if cut, ok := h.cuts[int32(i)]; ok {
			p.cut = cut
		}
		if log, ok := h.logs[int32(i)]; ok {
			p.load(log)
		}
		c.partitions = append(c.partitions, p)
	}
	return names
}

// collect brings together what is known of each offset: from the log, from
// acknowledgements, and from reads.
func (c *check) collect(producers []string) {
	c.merge("", "in the log")
	for i := range c.sends {
		s := &c.sends[i]
		if s.outcome != succeeded {
			continue
		}
		c.report.Acked++
		p := c.partitions[s.place]
		if s.offset < 0 || p.partition == anywhere {
			continue
		}
		at, ok := p.find(s.offset, 0)
		switch {
		case ok && p.values[at] == s.value:
			p.flags[at] |= wasAcked
		case p.loaded && s.offset >= p.start:
			// It is lost, or elsewhere; match tells which.
		default:
			p.extra = append(p.extra, observation{s.offset, s.value, s.sum, wasAcked})
		}
	}
	c.merge("", "acknowledged")
	for _, r := range c.readers {
		c.observe(r)
		c.merge(r.name, "read")
	}
	c.report.Sends = len(c.sends)
	for _, p := range c.partitions {
		c.report.Records += len(p.offsets)
	}
}

// observe takes in what a reader got.
func (c *check) observe(r *reading) {
	c.report.Reads += len(r.reads)
	hints := make([]int, len(c.partitions))
	for i := range r.reads {
		e := &r.reads[i]
		p := c.partitions[e.place]
		at, ok := p.find(e.offset, hints[e.place])
		switch {
		case !ok:
			p.extra = append(p.extra, observation{e.offset, e.value, e.sum, wasRead})
		case p.values[at] != e.value:
			c.conflict(p, e.offset, p.values[at], e.value, r.name, "read")
		default:
			p.flags[at] |= wasRead
		}
		hints[e.place] = at + 1
	}
}

func (c *check) merge(reader, how string) {
	for _, p := range c.partitions {
		p.merge(func(offset int64, have, got Value) { c.conflict(p, offset, have, got, reader, how) })
	}
}

// conflict reports a value where another one is, once.
func (c *check) conflict(p *partition, offset int64, have, got Value, reader, how string) {
	key := conflict{p, offset, got}
	if p.excused(offset) || c.told[key] {
		return
	}
	c.told[key] = true
	source := "others have"
	if p.loaded {
		source = "the log has"
	}
	c.report.add(Anomaly{
		Kind: InconsistentOffsets, Reader: reader, Topic: p.topic, Partition: p.partition, Offset: offset, Value: got,
		Detail: fmt.Sprintf("%s, where %s value %s", how, source, have),
	})
}

// found is a place where a value is.
type found struct {
	value Value
	p     *partition
	i     int
}

// match compares what was sent with what is there, value by value.
func (c *check) match(producers []string) {
	total := 0
	for _, p := range c.partitions {
		total += len(p.offsets)
	}
	all := make([]found, 0, total)
	for _, p := range c.partitions {
		for i, v := range p.values {
			all = append(all, found{v, p, i})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(a.value, b.value) })
	s := 0
	for len(all) > 0 || s < len(c.sends) {
		var v Value
		switch {
		case len(all) == 0:
			v = c.sends[s].value
		case s == len(c.sends):
			v = all[0].value
		default:
			v = min(all[0].value, c.sends[s].value)
		}
		n, m := 0, s
		for n < len(all) && all[n].value == v {
			n++
		}
		for m < len(c.sends) && c.sends[m].value == v {
			m++
		}
		c.matchValue(all[:n], c.sends[s:m], producers)
		all, s = all[n:], m
	}
}

func (c *check) matchValue(places []found, sends []sent, producers []string) {
	possible, promised := 0, false
	for i := range sends {
		if sends[i].outcome != failed {
			possible++
		}
		promised = promised || sends[i].outcome == succeeded
	}
	if len(sends) > 0 && possible == 0 {
		for _, f := range places {
			f.p.flags[f.i] |= sendFailed
		}
	}
	var live []found
	for _, f := range places {
		flags := f.p.flags[f.i]
		at := c.anomaly(f)
		if len(sends) > 0 {
			c.compare(f, &sends[0], producers)
		}
		switch {
		case len(sends) > 0 && possible == 0:
			if flags&(inLog|aborted) == inLog {
				at.Kind, at.Detail = AbortedRead, "in the log, although it "+c.fate(&sends[0], producers)
				c.report.add(at)
			}
			continue
		case len(sends) == 0 && flags&inLog == 0 && len(c.sends) > 0:
			at.Kind, at.Detail = Phantom, "nobody sent it"
			c.report.add(at)
		case f.p.gone(f.i) && flags&wasRead != 0 && !promised: // else it is lost, see below
			at.Kind, at.Detail = Vanished, fmt.Sprintf("read, where the log, from %d to %d, has nothing", f.p.start, f.p.end)
			c.report.add(at)
		}
		old := f.p.loaded && flags&inLog == 0 && f.p.excused(f.p.offsets[f.i])
		if flags&aborted == 0 && !old {
			live = append(live, f)
		}
	}
	if len(live) > max(1, possible) {
		at := c.anomaly(live[0])
		at.Kind, at.Count, at.Detail = Duplicate, len(live), fmt.Sprintf("sent %d times and also at", max(1, len(sends)))
		for _, f := range live[1:min(len(live), 6)] {
			at.Detail += fmt.Sprintf(" %s/%d:%d", f.p.topic, f.p.partition, f.p.offsets[f.i])
		}
		c.report.add(at)
	}
	for i := range sends {
		if sends[i].outcome == succeeded {
			c.acknowledged(&sends[i], places, producers)
		}
	}
}

// compare reports content that is not what was sent.
func (c *check) compare(f found, s *sent, producers []string) {
	at, want := c.anomaly(f), c.partitions[s.place]
	at.Kind = WrongContent
	switch sum := &f.p.sums[f.i]; {
	case want.topic != f.p.topic, want.partition != anywhere && s.outcome != succeeded && want.partition != f.p.partition:
		at.Detail = fmt.Sprintf("sent to %s/%d by %s", want.topic, want.partition, producers[s.producer])
		c.report.add(at)
	case s.sum == 0:
	case *sum != s.sum && f.p.flags[f.i]&inLog != 0 && *sum != 0:
		at.Detail = fmt.Sprintf("its sum in the log is %08x, and %s sent %08x", *sum, producers[s.producer], s.sum)
		c.report.add(at)
	default:
		*sum = s.sum // what readers are compared with
	}
}

// acknowledged looks for a record that was acknowledged.
func (c *check) acknowledged(s *sent, places []found, producers []string) {
	p := c.partitions[s.place]
	there := slices.IndexFunc(places, func(f found) bool {
		flags := f.p.flags[f.i]
		return f.p.topic == p.topic && flags&aborted == 0 && (!f.p.loaded || flags&inLog != 0)
	})
	exact := slices.ContainsFunc(places, func(f found) bool { return f.p == p && f.p.offsets[f.i] == s.offset })
	at := Anomaly{Topic: p.topic, Partition: p.partition, Offset: s.offset, Value: s.value}
	from := "acknowledged to " + producers[s.producer]
	switch {
	case there >= 0 && s.offset >= 0 && !exact && !p.excused(s.offset):
		f := places[there]
		at.Kind = InconsistentOffsets
		at.Detail = fmt.Sprintf("%s at this offset, and it is at %s/%d:%d", from, f.p.topic, f.p.partition, f.p.offsets[f.i])
		if !c.told[conflict{p, s.offset, s.value}] {
			c.report.add(at)
		}
	case there >= 0 || !c.mayTell(s, p):
	default:
		at.Kind, at.Detail = LostWrite, from+", and "+c.instead(p, s.offset)
		c.report.add(at)
	}
}

// mayTell says whether the log that was loaded would have an acknowledged
// record, had it not been lost.
func (c *check) mayTell(s *sent, p *partition) bool {
	if p.partition != anywhere {
		whole := p.start == 0
		if s.offset >= 0 {
			whole = s.offset >= p.start && !p.excused(s.offset)
		} else {
			whole = whole && !p.excused(0) && !p.excused(p.end)
		}
		return p.loaded && !p.compacted && whole
	}
	loaded := false
	for _, q := range c.partitions {
		if q.topic != p.topic || q.partition == anywhere {
			continue
		}
		if !q.loaded || q.compacted || q.start > 0 || q.excused(q.end) {
			return false
		}
		loaded = true
	}
	return loaded
}

// instead tells what a log has where a record should be.
func (c *check) instead(p *partition, offset int64) string {
	if p.partition == anywhere || offset < 0 {
		return "it is nowhere in the log"
	}
	i, ok := p.find(offset, 0)
	if ok && p.flags[i]&(inLog|aborted) == inLog {
		return fmt.Sprintf("the log, from %d to %d, has value %s there", p.start, p.end, p.values[i])
	}
	if ok && p.flags[i]&aborted != 0 {
		return "in the log its transaction was not committed"
	}
	return fmt.Sprintf("the log, from %d to %d, has nothing there", p.start, p.end)
}

func (c *check) fate(s *sent, producers []string) string {
	return fmt.Sprintf("failed or was aborted at %s", producers[s.producer])
}

func (c *check) anomaly(f found) Anomaly {
	return Anomaly{Topic: f.p.topic, Partition: f.p.partition, Offset: f.p.offsets[f.i], Value: f.value}
}
