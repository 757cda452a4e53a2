package gateway

import (
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/kafkaws/kafkaws/record"
)

// TestDeliveriesAllocateNothing counts what is allocated while many records go to
// many sessions: a record is framed once and written from the tail, so what is
// left is shared by hundreds of deliveries.
func TestDeliveriesAllocateNothing(t *testing.T) {
	const sessions, batches, perBatch = 50, 40, 500
	r := newRig(t, nil)
	values := numbered(perBatch, 180)
	frames := 0 // bytes that each session gets
	for _, v := range values {
		frames += headerLen(len(v)) + len(v)
	}
	all := make([]record.Batch, batches)
	for i := range all {
		all[i] = record.Batch{Next: int64((i + 1) * perBatch)}
		for j, v := range values {
			all[i].Records = append(all[i].Records, record.Record{Topic: "a", Offset: int64(i*perBatch + j), Value: []byte(v)})
		}
	}
	buffers := make([][]byte, sessions)
	conns := make([]io.Reader, sessions)
	for i := range sessions {
		buffers[i], conns[i] = make([]byte, 64<<10), r.dial("a").NetConn()
	}
	drain := func() {
		var wg sync.WaitGroup
		for i := range sessions {
			wg.Go(func() {
				for left := batches * frames; left > 0; {
					n, err := conns[i].Read(buffers[i])
					if err != nil {
						t.Error(err)
						return
					}
					left -= n
				}
			})
		}
		for _, b := range all {
			r.source.sink("a").Deliver(b)
		}
		wg.Wait()
	}
	drain() // segments, buffers and goroutines are there after the first time
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	drain()
	runtime.ReadMemStats(&after)
	deliveries := float64(sessions * batches * perBatch)
	got := float64(after.Mallocs-before.Mallocs) / deliveries
	t.Logf("%.4f allocations a delivery", got)
	if got > 0.01 {
		t.Errorf("%.4f allocations a delivery, want next to none", got)
	}
}
