package dedupe_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/kafkaws/kafkaws/dedupe"
)

// TestWindowsNarrow has producers that all want the whole window and have room
// for a part of it: each keeps about as much as the others, and nothing of what
// is lost is fresh again.
func TestWindowsNarrow(t *testing.T) {
	const producers, entries = 50, 5000 // 100 for each, of which 8 are its own
	m := dedupe.New(dedupe.Config{Entries: entries})
	all := make([]*desk, producers)
	for i := range all {
		all[i] = &desk{t, m, "user", fmt.Sprint("tab-", i)}
	}
	// The first ones are alone, and get it.
	for i := range all {
		for s := range int64(500) {
			all[i].write(s)
			if used := m.Stats().Entries; used > entries {
				t.Fatalf("%d entries are in use", used)
			}
		}
		all[0].repeat(499-15, written(499-15)) // and is not idle, so never dropped
	}
	for i, d := range all {
		for s := range int64(500) {
			var answers int
			verdict, _ := m.Begin(d.owner, d.producer, s, printOf(1), func(dedupe.Answer) { answers++ })
			switch {
			case verdict == dedupe.Repeated && answers == 1:
			case verdict == dedupe.OutOfWindow && s < 500-16:
			default:
				t.Fatalf("producer %d, sequence %d: %v", i, s, verdict)
			}
		}
	}
	if s := m.Stats(); s.Producers != producers || s.Forgotten != 0 {
		t.Errorf("got %+v", s)
	}
	// What they have is 92 on the mean. No width is four times another's.
	for _, d := range all {
		d.begin(500-129, dedupe.OutOfWindow)
		d.repeat(500-32, written(500-32))
	}
}

// TestIdleAreForgotten has more producers than there is room for even where each
// has next to nothing: those that were idle for longest go first.
func TestIdleAreForgotten(t *testing.T) {
	m := dedupe.New(dedupe.Config{Entries: 10 * 12}) // eight for each, and four for its ring
	names := func(i int) *desk { return &desk{t, m, fmt.Sprint("user-", i), "tab"} }
	for i := range 10 {
		names(i).write(0)
	}
	names(0).repeat(0, written(0))
	names(10).write(0)
	if s := m.Stats(); s.Producers != 10 || s.Forgotten != 1 || s.Aged != 0 || s.Entries != 120 {
		t.Errorf("got %+v", s)
	}
	for _, i := range []int{0, 2, 3, 4, 5, 6, 7, 8, 9, 10} {
		names(i).repeat(0, written(0))
	}
	names(1).write(0)
	// A ring of sixteen is worth more than one that is idle.
	for s := range int64(16) {
		names(1).write(1 + s)
	}
	for s := range int64(16) {
		names(1).repeat(1+s, written(1+s))
	}
	names(1).begin(0, dedupe.OutOfWindow)
	if s := m.Stats(); s.Producers != 9 || s.Forgotten != 3 || s.Entries != 9*12+12 {
		t.Errorf("got %+v", s)
	}
}

func TestFullOfFlights(t *testing.T) {
	m := dedupe.New(dedupe.Config{Entries: 64})
	var tickets []dedupe.Ticket
	names := func(i int) *desk { return &desk{t, m, fmt.Sprint("user-", i), "tab"} }
	for i := range 5 {
		tickets = append(tickets, names(i).begin(0, dedupe.Fresh))
	}
	names(5).begin(0, dedupe.Full)
	// There is no room for more than eight in a row, either.
	for s := range int64(20) {
		names(0).write(1 + s)
	}
	names(0).repeat(20-7, written(20-7))
	names(0).begin(20-8, dedupe.OutOfWindow)
	names(5).begin(0, dedupe.Full)
	m.Finish(tickets[3], written(0))
	names(5).write(0)
	if s := m.Stats(); s.Producers != 5 || s.Forgotten != 1 {
		t.Errorf("got %+v", s)
	}
	m.Finish(tickets[0], written(0)) // out of the window by now
	names(0).begin(0, dedupe.OutOfWindow)
}

// TestNoRoomBelow has a sequence that comes late and lies below what there is
// room for.
func TestNoRoomBelow(t *testing.T) {
	m := dedupe.New(dedupe.Config{Entries: 64})
	d := &desk{t, m, "user", "tab"}
	d.write(100)
	d.write(70) // a ring of 32
	d.begin(60, dedupe.OutOfWindow)
	d.begin(68, dedupe.OutOfWindow)
	d.write(69)
	d.repeat(70, written(70))
	d.repeat(100, written(100))
}

func TestLongNamesCount(t *testing.T) {
	m := dedupe.New(dedupe.Config{Entries: 1000})
	d := &desk{t, m, string(make([]byte, 4000)), "tab"}
	d.write(0)
	if s := m.Stats(); s.Entries != 8+100+4 {
		t.Errorf("got %+v", s)
	}
	(&desk{t, m, string(make([]byte, 40_000)), "tab"}).begin(0, dedupe.Full)
}

// TestBytes holds the bound to the heap.
func TestBytes(t *testing.T) {
	const entries = 100_000
	for _, c := range []struct {
		name      string
		producers int
		sequences int64
	}{
		{"published once", 2 * entries / 12, 1},
		{"sixteen", 2 * entries / 24, 16},
		{"whole windows", 2 * entries / 1000, 1000},
	} {
		m := dedupe.New(dedupe.Config{Entries: entries})
		before := heap()
		for i := range c.producers {
			d := &desk{t, m, dedupe.NewSecret(), fmt.Sprint("tab-", i)}
			for s := range c.sequences {
				d.write(s)
			}
		}
		used := m.Stats()
		grown := heap() - before
		each := float64(grown) / entries
		t.Logf("%s: %d bytes, %.0f for each entry; %+v", c.name, grown, each, used)
		if each > 64 || used.Entries > entries || used.Entries < entries*3/4 {
			t.Errorf("%s: %.0f bytes for each entry, %+v", c.name, each, used)
		}
		runtime.KeepAlive(m)
	}
}

func heap() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}
