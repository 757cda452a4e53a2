package history

// bits is a set of small numbers that grows as it must.
type bits []uint64

func (b bits) has(i int) bool { return i>>6 < len(b) && b[i>>6]&(1<<(i&63)) != 0 }

func (b *bits) set(i int) {
	if need := i>>6 + 1; need > len(*b) {
		*b = append(*b, make([]uint64, need-len(*b))...)
	}
	(*b)[i>>6] |= 1 << (i & 63)
}

// clearFrom removes i and everything above.
func (b bits) clearFrom(i int) {
	if i>>6 >= len(b) {
		return
	}
	b[i>>6] &= 1<<(i&63) - 1
	clear(b[i>>6+1:])
}
