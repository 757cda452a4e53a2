package dedupe_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/dedupe"
	"github.com/kafkaws/kafkaws/record"
)

// TestFingerprint has records that are all different, most of them such that
// they would be the same bytes if their parts stood one behind the other.
func TestFingerprint(t *testing.T) {
	h := func(pairs ...record.Header) []record.Header { return pairs }
	records := []record.Record{
		{},
		{Topic: "a"},
		{Topic: "a", Partition: record.AnyPartition},
		{Topic: "a", Partition: 1},
		{Topic: "a", Timestamp: time.UnixMilli(0)},
		{Topic: "a", Timestamp: time.UnixMilli(1)},
		{Topic: "a", Key: []byte{}},
		{Topic: "a", Value: []byte{}},
		{Topic: "a", Key: []byte{}, Value: []byte{}},
		{Topic: "a", Key: []byte("b")},
		{Topic: "a", Value: []byte("b")},
		{Topic: "ab"},
		{Topic: "a", Key: []byte("bc")},
		{Topic: "a", Key: []byte("b"), Value: []byte("c")},
		{Topic: "ab", Value: []byte("c")},
		{Topic: "a", Value: []byte("bc")},
		{Topic: "a", Headers: h(record.Header{})},
		{Topic: "a", Headers: h(record.Header{Value: []byte{}})},
		{Topic: "a", Headers: h(record.Header{}, record.Header{})},
		{Topic: "a", Headers: h(record.Header{Key: "k", Value: []byte("v")})},
		{Topic: "a", Headers: h(record.Header{Key: "kv"})},
		{Topic: "a", Headers: h(record.Header{Key: "kv", Value: []byte{}})},
		{Topic: "a", Headers: h(record.Header{Value: []byte("kv")})},
		{Topic: "a", Headers: h(record.Header{Key: "k"}, record.Header{Key: "v"})},
		{Topic: "a", Headers: h(record.Header{Key: "v"}, record.Header{Key: "k"})},
		{Topic: "a", Value: make([]byte, 1000)},
		{Topic: "a", Value: make([]byte, 1001)},
	}
	m := dedupe.New(dedupe.Config{})
	seen := make(map[dedupe.Fingerprint]int)
	for i, r := range records {
		f := m.Fingerprint(&r)
		if j, twice := seen[f]; twice {
			t.Errorf("%+v is the same as %+v", r, records[j])
		}
		seen[f] = i
		// What is no part of what the client sent: the offset, and where the
		// bytes stand.
		same := r.Clone()
		same.Offset = 7
		if m.Fingerprint(same) != f {
			t.Errorf("%+v is not the same a second time", r)
		}
	}
}

func BenchmarkFingerprint(b *testing.B) {
	m := dedupe.New(dedupe.Config{})
	for _, size := range []int{16, 200, 1024, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := record.Record{
				Topic: "clicks", Partition: record.AnyPartition, Key: []byte("user-7"), Value: make([]byte, size),
				Headers: []record.Header{{Key: "trace", Value: make([]byte, 16)}},
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				m.Fingerprint(&r)
			}
		})
	}
}
