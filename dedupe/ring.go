package dedupe

// ring holds the entries of one producer: that of a sequence stands at the
// sequence modulo the ring's width. It covers the newest sequence and those
// before it, as many as it is wide.
//
// What is not covered and not below the floor has never been there: no
// sequence that was begun leaves the ring without the floor being raised above
// it.
type ring struct {
	slots []entry
	// newest and oldest are the highest and the lowest sequence of those that
	// were begun and are covered.
	newest, oldest int64
	// floor is the lowest sequence that can be judged.
	floor int64
}

// newRing returns a ring for a producer that begins with a sequence.
func newRing(width int, window, sequence int64) ring {
	return ring{
		slots:  make([]entry, width),
		newest: sequence, oldest: sequence,
		floor: max(0, sequence-window+1),
	}
}

// covers reports whether the sequence has an entry.
func (r *ring) covers(sequence int64) bool {
	return sequence >= r.floor && sequence <= r.newest && r.newest-sequence < int64(len(r.slots))
}

// at returns the entry of a sequence that is covered.
func (r *ring) at(sequence int64) *entry {
	return &r.slots[sequence%int64(len(r.slots))]
}

// needs returns how wide the ring should be so that the sequence, which is not
// below the floor, is covered and nothing is lost that is in the window.
func (r *ring) needs(window, sequence int64) int64 {
	switch {
	case sequence <= r.newest:
		return r.newest - sequence + 1
	case sequence-r.newest >= window: // nothing of what is there stays in it
		return 1
	default:
		return min(window, sequence-r.oldest+1)
	}
}

// advance makes the sequence, which is above it, the newest. What falls out of
// the window, or out of the ring where it is narrower, is below the floor then.
func (r *ring) advance(window, sequence int64) {
	width := int64(len(r.slots))
	if by := sequence - r.newest; by >= width {
		clear(r.slots)
	} else {
		for i := range by {
			*r.at(r.newest + 1 + i) = entry{}
		}
	}
	if sequence-r.newest >= window {
		r.oldest = sequence
	}
	r.newest = sequence
	r.floor = max(r.floor, sequence-window+1)
	r.oldest = max(r.oldest, r.floor)
	r.cut(width)
}

// reach makes the sequence, which is not above the newest, the oldest one if it
// is older, and reports whether it is covered.
func (r *ring) reach(sequence int64) bool {
	if !r.covers(sequence) {
		return false
	}
	r.oldest = min(r.oldest, sequence)
	return true
}

// resize gives the ring another width.
func (r *ring) resize(width int) {
	r.cut(int64(width))
	old := *r
	r.slots = make([]entry, width)
	for i := range old.newest - old.oldest + 1 {
		*r.at(old.oldest + i) = *old.at(old.oldest + i)
	}
}

// cut raises the floor above what a ring of that width does not cover, if any of
// it was ever begun.
func (r *ring) cut(width int64) {
	if lowest := r.newest - width + 1; r.oldest < lowest {
		r.oldest, r.floor = lowest, lowest
	}
}
