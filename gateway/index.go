package gateway

import "slices"

// unknown is the offset of a partition that nothing is known of yet: it begins
// where the topic's reading says so.
const unknown int64 = -1

// offsets are offsets by partition: Kafka numbers partitions from 0 without
// holes.
type offsets []int64

// at returns the offset of a partition, or unknown.
func (o offsets) at(partition int32) int64 {
	if int(partition) < len(o) {
		return o[partition]
	}
	return unknown
}

// set sets the offset of a partition.
func (o *offsets) set(partition int32, offset int64) {
	for int(partition) >= len(*o) {
		*o = append(*o, unknown)
	}
	(*o)[partition] = offset
}

func offsetsOf(m map[int32]int64) offsets {
	var o offsets
	for partition, offset := range m {
		o.set(partition, offset)
	}
	return o
}

// entry tells that everything of a partition up to and including an offset stands
// before some place in the tail: a frame, which ends there; or, where it ends
// where the one before it does, nothing that is shown to anybody.
type entry struct {
	offset    int64
	partition int32
	end       uint32 // from the index's base on
}

// entrySize is what an entry takes in memory.
const entrySize = 16

// index says which records the frames of a segment are. It outlives the segment's
// bytes for as long as somebody stands in it, so that a session that has fallen
// off the tail still knows which records it is to get next. The tail's lock of
// its indexes guards it.
type index struct {
	base    uint64
	start   offsets // the next offset of each partition at the base
	entries []entry
	sifted  []sifted // what the filters that were in use at the base let pass
}

// frame reports whether an entry is a frame.
func (x *index) frame(i int) bool {
	return i == 0 && x.entries[0].end > 0 || i > 0 && x.entries[i].end > x.entries[i-1].end
}

// end returns where an entry's frame ends.
func (x *index) end(i int) uint64 { return x.base + uint64(x.entries[i].end) }

// begin returns where an entry's frame begins.
func (x *index) begin(i int) uint64 {
	if i == 0 {
		return x.base
	}
	return x.end(i - 1)
}

// note adds an entry. One for what is not shown takes the place of an earlier one
// of the same partition that nothing was shown behind: there may be very many.
func (x *index) note(e entry) {
	for i := len(x.entries) - 1; i >= 0 && x.entries[i].end == e.end && !x.frame(i); i-- {
		if x.entries[i].partition == e.partition {
			x.entries[i].offset = e.offset
			return
		}
	}
	x.entries = append(x.entries, e)
}

// at returns the next offset of each partition at a place.
func (x *index) at(pos uint64) offsets {
	next := slices.Clone(x.start)
	for i := range x.entries {
		e := &x.entries[i]
		if x.base+uint64(e.end) > pos {
			break
		}
		next.set(e.partition, e.offset+1)
	}
	return next
}

// from returns the number of the first entry whose end is beyond a place.
func (x *index) from(pos uint64) int {
	i, _ := slices.BinarySearchFunc(x.entries, pos, func(e entry, pos uint64) int {
		if x.base+uint64(e.end) > pos {
			return 1
		}
		return -1
	})
	return i
}
