package main

import (
	"fmt"
	"strconv"
)

// A value is the marker, two digits of partition, eight of its number in the
// partition, sixteen of the time it was written at (microseconds since 1970),
// and padding. No character of it is escaped in JSON.
const (
	marker      = '~'
	partitionAt = 1
	numberAt    = partitionAt + 2
	timeAt      = numberAt + 8
	minValue    = timeAt + 16
)

// newValue makes a value of the size.
func newValue(size, partition, number int, micros int64) []byte {
	v := make([]byte, 0, max(size, minValue))
	v = fmt.Appendf(v, "%c%02d%08d%016d", marker, partition, number, micros)
	for len(v) < size {
		v = append(v, 'x')
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
func parseValue(v []byte) (partition, number int, micros int64, err error) {
	p, okPartition := digits(v[partitionAt:numberAt])
	n, okNumber := digits(v[numberAt:timeAt])
	t, okTime := digits(v[timeAt:minValue])
	if !okPartition || !okNumber || !okTime {
		return 0, 0, 0, fmt.Errorf("no value of ours: %s", strconv.Quote(string(v)))
	}
	return int(p), int(n), t, nil
}
