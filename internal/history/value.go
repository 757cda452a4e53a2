package history

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strconv"
)

// Value identifies what was sent. No two records carry the same one, unless a
// client sent one again.
type Value uint64

// ID makes the value of the n-th record of a producer.
func ID(producer, n uint32) Value { return Value(producer)<<32 | Value(n) }

// String is the producer and the number, as in "3.17".
func (v Value) String() string {
	return strconv.FormatUint(uint64(v>>32), 10) + "." + strconv.FormatUint(uint64(uint32(v)), 10)
}

// ParseValue reads what [Value.String] writes from the beginning of a record's
// text, up to a space or the end. ok tells whether there is a value.
func ParseValue(text []byte) (v Value, ok bool) {
	text, _, _ = bytes.Cut(text, []byte(" "))
	producer, n, found := bytes.Cut(text, []byte("."))
	p, errP := strconv.ParseUint(string(producer), 10, 32)
	i, errN := strconv.ParseUint(string(n), 10, 32)
	return ID(uint32(p), uint32(i)), found && errP == nil && errN == nil
}

// Sum is a checksum of a record's parts, for instance key and value, by which
// its content is compared. It is never 0, which stands for content that is not
// compared. A part that is nil differs from an empty one.
func Sum(parts ...[]byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var sum uint32
	var length [4]byte
	for _, p := range parts {
		n := uint32(len(p))
		if p == nil {
			n = 1<<32 - 1
		}
		binary.BigEndian.PutUint32(length[:], n)
		sum = crc32.Update(crc32.Update(sum, table, length[:]), table, p)
	}
	return max(sum, 1)
}
