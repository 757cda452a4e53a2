package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kafkaws/kafkaws/record"
)

// TestManyTopicsOnASmallNode has records go round a thousand topics, far more in
// all than the node may hold. Sessions get all of it, and what is held stays
// within the limit, but for the one segment of each topic that was not served yet.
func TestManyTopicsOnASmallNode(t *testing.T) {
	const topics, rounds, total = 1000, 20, 8 << 20
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) { h.Buffer, h.BufferTotal = 1<<20, total })
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprint("topic", i)
	}
	ws := r.dial(names...)
	value := strings.Repeat("v", 1000)
	for round := range rounds {
		for _, name := range names {
			r.source.deliver(name, record.Batch{Next: int64(round + 1), Records: []record.Record{{Topic: name, Offset: int64(round), Value: []byte(value)}}})
			if held := r.hub.Held(); held > total+topics*firstSegment {
				t.Fatalf("%d bytes are held, %d may be", held, total)
			}
		}
		for range names {
			if got := read(t, ws); got != value {
				t.Fatalf("got %.20q", got)
			}
		}
	}
	if held := r.hub.Held(); held == 0 {
		t.Error("nothing is held")
	}
}

// TestQuietTopicsGiveWay has a busy topic follow a quiet one in a buffer that is
// too small for both: it is the quiet one's records that are let go of.
func TestQuietTopicsGiveWay(t *testing.T) {
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) { h.Buffer, h.BufferTotal = 1<<20, 1<<20 })
	ws := r.dial("quiet", "busy")
	fill := func(topic string, n int) {
		for i := range n {
			r.source.feed(topic, 0, int64(i), strings.Repeat("v", 1000))
			read(t, ws)
		}
	}
	held := func(topic string) (n int64) {
		r.hub.mu.Lock()
		t := r.hub.topics[topic]
		r.hub.mu.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, tl := range t.tails {
			n += tl.held
		}
		return n
	}
	fill("quiet", 500)
	before := held("quiet")
	fill("busy", 1000)
	if after := held("quiet"); after >= before/2 {
		t.Errorf("the quiet topic holds %d bytes of the %d that it held", after, before)
	}
	if n := held("busy"); n < 600_000 {
		t.Errorf("the busy topic holds %d bytes", n)
	}
}
