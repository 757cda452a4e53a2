package gateway

// Segments start small, so that a quiet topic costs little, and double up to the
// size at which a longer contiguous range no longer makes a write cheaper.
const (
	firstSegment = 4 << 10
	maxSegment   = 256 << 10
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
}
