package gateway

import "slices"

// stretch is whole frames that stand one behind the other, and where they end: in
// the index of a tail or in the entries of a block. To find the ends in the
// frames' own headers would take a look at each of them, which costs more than
// to write them.
type stretch struct {
	bytes []byte
	// tail and index, and the place of bytes in the tail's stream; or, where
	// there is no index, entries, and the place of bytes in the block's frames.
	tail    *tail
	index   *index
	entries []blockEntry
	pos     uint64
}

// until returns the stretch up to the end of a frame.
func (s stretch) until(end int) stretch {
	s.bytes = s.bytes[:end]
	return s
}

// cut returns where the last frame ends that does so by limit; where that is not
// behind after, the first frame's end that is.
func (s stretch) cut(after, limit int) int {
	if len(s.bytes) <= limit {
		return len(s.bytes)
	}
	if s.index == nil {
		i, found := slices.BinarySearchFunc(s.entries, int(s.pos)+limit, func(e blockEntry, end int) int { return e.end - end })
		if !found && i > 0 && s.entries[i-1].end > int(s.pos)+after {
			i--
		}
		return s.entries[i].end - int(s.pos)
	}
	s.tail.imu.RLock()
	defer s.tail.imu.RUnlock()
	i := s.index.from(s.pos + uint64(limit)) // the first that ends behind the limit
	if i > 0 && s.index.end(i-1) > s.pos+uint64(after) {
		i--
	}
	return int(s.index.end(i) - s.pos)
}
