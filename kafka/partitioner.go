package kafka

import "encoding/binary"

// partitionOf returns the partition, of n, that a key belongs to. It is the choice
// of Kafka's Java client, so that the keys of existing users stay where they are.
func partitionOf(key []byte, n int32) int32 {
	// The sign is masked, not negated: that is how the Java client does it.
	return int32(murmur2(key)&0x7fffffff) % n
}

// murmur2 is Austin Appleby's 32 bit MurmurHash2 with the seed that Kafka uses.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
	)
	h := seed ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		k = (k ^ k>>24) * m
		h = h*m ^ k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
