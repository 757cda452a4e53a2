package main

import (
	"fmt"
	"strconv"
)

// A value is the marker, four digits of the stream, eight of its number in the
// stream, sixteen of the time it was written at (microseconds since 1970), and
// padding. No character of it is escaped in JSON. What is written to Kafka has a
// stream for each partition of each topic; what clients publish, one for each of
// them.
const (
	marker     = '~'
	streamAt   = 1
	numberAt   = streamAt + 4
	timeAt     = numberAt + 8
	minValue   = timeAt + 16
	maxStreams = 10_000
)

// padding is a text, so that values compress about as well as others do.
const padding = "The quick brown fox jumps over the lazy dog while 17 ships with 4,820 containers wait outside of Rotterdam; " +
	"order 99-1043 was paid by card at 09:31, packed by Jo, and leaves on Tuesday. Temperature 21.5 C, humidity 40 %, wind NNW 6. "

// newValue makes a value of the size.
func newValue(size, stream, number int, micros int64) []byte {
	v := make([]byte, 0, max(size, minValue))
	v = fmt.Appendf(v, "%c%04d%08d%016d", marker, stream, number, micros)
	for at := number % len(padding); len(v) < size; at = 0 {
		v = append(v, padding[at:min(len(padding), at+size-len(v))]...)
	}
	return v
}

// digits reads a number of fixed width.
func digits(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// parseValue reads what newValue wrote.
func parseValue(v []byte) (stream int, number, micros int64, err error) {
	if len(v) < minValue || v[0] != marker {
		return 0, 0, 0, fmt.Errorf("no value of ours: %s", strconv.Quote(string(v)))
	}
	s, okStream := digits(v[streamAt:numberAt])
	n, okNumber := digits(v[numberAt:timeAt])
	t, okTime := digits(v[timeAt:minValue])
	if !okStream || !okNumber || !okTime {
		return 0, 0, 0, fmt.Errorf("no value of ours: %s", strconv.Quote(string(v)))
	}
	return int(s), n, t, nil
}
