package gateway

import "time"

// Segments start small, so that a quiet topic costs little, and grow up to the
// size at which a longer contiguous range no longer makes a write cheaper.
const (
	firstSegment = 4 << 10
	maxSegment   = 256 << 10
	// A segment that was filled within quick is followed by one of twice its
	// size, and one that took longer than slow by one of half.
	quick = time.Second
	slow  = 30 * time.Second
	// maxEntries bounds the index of a segment whose records are not shown.
	maxEntries = 16 << 10
)

// segment is a run of whole frames that stand one behind the other in memory.
type segment struct {
	// base is the place of data[0] in the tail's stream of bytes.
	base uint64
	// data has its full length from the start. The worker fills it from the
	// front; readers look only at what is before the tail's head.
	data []byte
	// used is how much of data is filled. The worker's own.
	used int
	// index says which records the frames are.
	index *index
	// held is what was counted for the segment. The worker's own.
	held int64
}

// nextSize returns the size of the segment after one that was filled in that
// time.
func nextSize(size int, filled time.Duration) int {
	switch {
	case filled < quick:
		size *= 2
	case filled > slow:
		size /= 2
	}
	return min(max(size, firstSegment), maxSegment)
}
