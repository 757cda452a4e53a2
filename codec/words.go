package codec

import "math/bits"

// Eight bytes are looked at in one word, the first of them in its lowest byte.
// Of what the functions below return, the highest bit of each byte tells about
// that byte. A subtraction may borrow from the byte above one that was found, so
// that no more than the first find is to be relied on, and that there is none.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// controlBytes marks the bytes of w that are below 0x20.
func controlBytes(w uint64) uint64 { return (w - ones*0x20) &^ w & highs }

// equalBytes marks the bytes of w that are c.
func equalBytes(w uint64, c byte) uint64 {
	w ^= ones * uint64(c)
	return (w - ones) &^ w & highs
}

// firstByte returns which byte of the word is the first that is marked.
func firstByte(marks uint64) int { return bits.TrailingZeros64(marks) >> 3 }
