package history

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// flag is what is known of the record at an offset.
type flag uint8

const (
	inLog      flag = 1 << iota // the log that was loaded has it
	aborted                     // the log says that its transaction was not committed
	wasAcked                    // its sender was told this offset
	wasRead                     // a reader got it
	sendFailed                  // all its senders were told that it was not written
	awaited                     // a reader whose history is cut short would get it next
	reported                    // an anomaly says that it is missing
)

// partition is everything known of a partition's records, by offset: the log
// where it was loaded, else what was acknowledged and read.
type partition struct {
	place
	loaded     bool
	compacted  bool
	start, end int64
	cut        int64 // from here on the log was cut once

	offsets []int64
	values  []Value
	sums    []uint32
	flags   []flag

	extra []observation // to be merged
}

// observation is a record that somebody claims to be at an offset.
type observation struct {
	offset int64
	value  Value
	sum    uint32
	flag   flag
}

// search returns the index of the first record at an offset or after it.
func (p *partition) search(offset int64) int {
	if len(p.offsets) == 0 || offset <= p.offsets[0] {
		return 0
	}
	// Offsets rise by 1 at least, so the index is no larger than the distance.
	n := len(p.offsets)
	if d := offset - p.offsets[0]; d < int64(n) {
		if p.offsets[d] == offset {
			return int(d)
		}
		n = int(d)
	}
	return sort.Search(n, func(i int) bool { return p.offsets[i] >= offset })
}

// find returns the index of the record at an offset. hint is where it may be.
func (p *partition) find(offset int64, hint int) (int, bool) {
	if hint < len(p.offsets) && p.offsets[hint] == offset {
		return hint, true
	}
	i := p.search(offset)
	return i, i < len(p.offsets) && p.offsets[i] == offset
}

// merge takes in what is not known yet. Of several values at an offset the
// first stays, and conflict is told of the others.
func (p *partition) merge(conflict func(offset int64, have, got Value)) {
	if len(p.extra) == 0 {
		return
	}
	slices.SortStableFunc(p.extra, func(a, b observation) int { return cmp.Compare(a.offset, b.offset) })
	old := *p
	n := len(old.offsets) + len(p.extra)
	p.offsets, p.values = make([]int64, 0, n), make([]Value, 0, n)
	p.sums, p.flags = make([]uint32, 0, n), make([]flag, 0, n)
	push := func(o observation) {
		p.offsets, p.values = append(p.offsets, o.offset), append(p.values, o.value)
		p.sums, p.flags = append(p.sums, o.sum), append(p.flags, o.flag)
	}
	i := 0
	for _, o := range p.extra {
		for ; i < len(old.offsets) && old.offsets[i] < o.offset; i++ {
			push(observation{old.offsets[i], old.values[i], old.sums[i], old.flags[i]})
		}
		if last := len(p.offsets) - 1; last >= 0 && p.offsets[last] == o.offset {
			if p.values[last] != o.value {
				conflict(o.offset, p.values[last], o.value)
			} else {
				p.flags[last] |= o.flag
			}
			continue
		}
		push(o)
	}
	for ; i < len(old.offsets); i++ {
		push(observation{old.offsets[i], old.values[i], old.sums[i], old.flags[i]})
	}
	p.extra = nil
}

// excused tells whether something else may have been at an offset once, or
// something where nothing is now.
func (p *partition) excused(offset int64) bool { return offset >= p.cut }

// gone tells whether the log should have the record and has not.
func (p *partition) gone(i int) bool {
	o := p.offsets[i]
	return p.loaded && p.flags[i]&inLog == 0 && o >= p.start && !p.compacted && !p.excused(o)
}

// lasting tells whether a reader that passes the record must get it: it is in
// the log, or was before the log's beginning was deleted.
func (p *partition) lasting(i int) bool {
	switch {
	case p.flags[i]&sendFailed != 0:
		return false
	case !p.loaded || p.flags[i]&inLog != 0:
		return true
	default:
		return p.offsets[i] < p.start && !p.compacted && !p.excused(p.offsets[i])
	}
}

func newPartition(at place) *partition { return &partition{place: at, cut: math.MaxInt64} }

func (p *partition) load(l Log) {
	p.loaded, p.compacted, p.start, p.end = true, l.Compacted, l.Start, l.End
	for _, r := range l.Records {
		f := inLog
		if r.Aborted {
			f |= aborted
		}
		p.extra = append(p.extra, observation{r.Offset, r.Value, r.Sum, f})
	}
}
