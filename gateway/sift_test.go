package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// aBlock returns a block of so many records and a tail whose sessions may read it.
func aBlock(t *testing.T, now func() time.Duration) (*block, *tail) {
	source := &longLog{gate: make(chan struct{})}
	close(source.gate)
	h := NewHub(HubConfig{Source: source, BufferTotal: 256 << 20})
	if now != nil {
		h.now = now
	}
	t.Cleanup(h.Close)
	b, err := h.blocks.get(t.Context(), "a", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return b, newTail(&topic{hub: h, name: "a"}, &Encoding{ID: "raw", Codec: rawCodec{}})
}

// passes returns the offsets of a piece that its filter lets pass.
func (p *piece) passes() (offsets []int64) {
	for i, e := range p.entries {
		if p.wanted.has(p.first + i) {
			offsets = append(offsets, e.offset)
		}
	}
	return offsets
}

// TestFiltersOfBlocksAreForgotten: a client that comes with ever new filters has no
// more remembered of them than is counted, and than others may have.
func TestFiltersOfBlocksAreForgotten(t *testing.T) {
	b, tl := aBlock(t, nil)
	h := tl.topic.hub
	b.piece(tl, 0, nil, nil)
	without, each := h.HeldBehind(), int64(0)
	for n := range 10 * maxFilters {
		// The same as everyNth(7), each by another name.
		p := b.piece(tl, 0, &sieve{Filter: named{everyNth(7), fmt.Sprintf("%0200d", n)}}, nil)
		if got := fmt.Sprint(p.passes()); got != "[0 7 14 21 28 35 42 49 56 63]" {
			t.Fatalf("filter %d: %s", n, got)
		}
		held := h.HeldBehind() - without
		if n == 0 {
			each = held
		}
		if want := each * int64(min(n+1, maxFilters)); held != want || each < 200 {
			t.Fatalf("after %d filters %d bytes are counted for them, want %d", n+1, held, want)
		}
	}
	if held := h.Held(); held != h.HeldBehind() {
		t.Errorf("%d bytes are held, %d of them for those who are behind", held, h.HeldBehind())
	}
	if n := len(tl.form(b).sifted); n != maxFilters {
		t.Errorf("%d filters are remembered", n)
	}
	h.blocks.forget("a")
	if held := h.Held(); held != 0 {
		t.Errorf("%d bytes are held of nothing", held)
	}
}

// TestFilterOutlivesItsTopic: a subscription that could not begin is undone when the
// hub has been closed.
func TestFilterOutlivesItsTopic(t *testing.T) {
	h := NewHub(HubConfig{Source: newFakeSource()})
	tp, err := h.open("t")
	if err != nil {
		t.Fatal(err)
	}
	f, err := tp.tailOf(&Encoding{ID: "raw", Codec: rawCodec{}}).follow(new(Session), everyNth(1))
	tp.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	f.leave()
	f.tail.followers.stop()
}

func (t *tail) form(b *block) *form { return b.form(t.encoding) }

// named is a filter by another name.
type named struct {
	Filter
	id string
}

func (n named) ID() string { return n.id }

// stuckFilter tells that it was asked, and waits to be let go on.
type stuckFilter struct{ asked, goOn chan struct{} }

func (stuckFilter) ID() string { return "stuck" }

func (f stuckFilter) Match(_ *record.Record, seen any) (bool, any, int) {
	f.asked <- struct{}{}
	<-f.goOn
	return true, seen, 1
}

// TestSlowFilterOfABlock: who has a filter that takes long holds up nobody who has
// none, and those of the same filter, or of others that wait for their turn, can end.
func TestSlowFilterOfABlock(t *testing.T) {
	b, tl := aBlock(t, nil)
	// As many as may look at blocks at a time, each with its own.
	stuck := stuckFilter{make(chan struct{}), make(chan struct{})}
	n := cap(tl.topic.hub.blocks.sifters.places)
	pieces := make(chan piece, n)
	for i := range n {
		go func() { pieces <- b.piece(tl, 0, &sieve{Filter: named{stuck, fmt.Sprint(i)}}, nil) }()
	}
	for range n {
		<-stuck.asked
	}
	if p := b.piece(tl, 0, nil, nil); p.next != longLogBatch || len(p.entries) != longLogBatch {
		t.Errorf("without a filter: up to %d", p.next)
	}
	ended := make(chan struct{})
	close(ended)
	for _, f := range []Filter{named{stuck, "0"}, everyNth(1)} {
		if p := b.piece(tl, 3, &sieve{Filter: f}, ended); p.next != 3 || len(p.passes()) != 0 {
			t.Errorf("a session that has ended is given %v, up to %d", p.passes(), p.next)
		}
	}
	go func() {
		for range stuck.asked { // as often as it is asked from now on
		}
	}()
	close(stuck.goOn)
	for range n {
		if p := <-pieces; p.next != longLogBatch || len(p.passes()) != longLogBatch {
			t.Errorf("got up to %d", p.next)
		}
	}
	close(stuck.asked)
	// Now that there is room, the other filter has its turn.
	if p := b.piece(tl, 3, &sieve{Filter: everyNth(16)}, nil); fmt.Sprint(p.passes()) != "[16 32 48]" {
		t.Errorf("the other filter lets pass %v", p.passes())
	}
}

// TestSlowFilterInSteps: a filter that takes long goes through a block in steps, from
// where its session is, and others of the same filter find what it has found.
func TestSlowFilterInSteps(t *testing.T) {
	var clock handClock
	b, tl := aBlock(t, clock.now)
	slow := newSlowFilter("slow", &clock, 3*time.Millisecond)
	var steps []string
	for offset := int64(40); offset < longLogBatch; {
		before := clock.now()
		p := b.piece(tl, offset, &sieve{Filter: slow}, nil)
		if took := clock.now() - before; took > siftLimit+slow.takes {
			t.Errorf("a step of %v", took)
		}
		steps = append(steps, fmt.Sprint(p.passes()))
		offset = p.next
	}
	if got, want := strings.Join(steps, ""), "[40 41 42 43][44 45 46 47][48 49 50 51][52 53 54 55][56 57 58 59][60 61 62 63]"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if p := b.piece(tl, 50, &sieve{Filter: slow}, nil); p.next != longLogBatch || len(p.passes()) != longLogBatch-50 {
		t.Errorf("another session is given %v", p.passes())
	}
	if n := slow.asked.Load(); n != longLogBatch-40 {
		t.Errorf("the filter was asked %d times", n)
	}
}
