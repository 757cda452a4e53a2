package main

import "math/bits"

// A histogram counts durations in microseconds, to a thirty-second of their size.
const (
	subBits = 5
	sub     = 1 << subBits
	// The last bucket begins above half an hour.
	buckets = (32 - subBits) * sub
)

type histogram struct {
	counts [buckets]uint32
}

func (h *histogram) add(micros int64) {
	h.counts[bucket(micros)]++
}

func bucket(micros int64) int {
	v := uint64(max(micros, 0))
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return min((shift+1)*sub+int(v>>shift)-sub, buckets-1)
}

// value is the middle of a bucket.
func value(bucket int) float64 {
	if bucket < sub {
		return float64(bucket)
	}
	shift := bucket/sub - 1
	return (float64(bucket%sub+sub) + 0.5) * float64(uint64(1)<<shift)
}

// total counts what several histograms hold.
type total struct {
	counts [buckets]uint64
	n      uint64
}

func (t *total) add(h *histogram) {
	for i, n := range h.counts {
		t.counts[i] += uint64(n)
		t.n += uint64(n)
	}
}

// millis is the duration that a share of all does not exceed.
func (t *total) millis(share float64) float64 {
	rank, seen := uint64(share*float64(t.n)), uint64(0)
	for i, n := range t.counts {
		if seen += n; n > 0 && seen >= rank {
			return value(i) / 1000
		}
	}
	return 0
}
