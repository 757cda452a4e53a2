package gateway

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// handClock is a clock that somebody sets.
type handClock struct{ atomic.Int64 }

func (c *handClock) now() time.Duration       { return time.Duration(c.Load()) }
func (c *handClock) advance(by time.Duration) { c.Add(int64(by)) }

// slowFilter wants all records, and takes its time for each.
type slowFilter struct {
	id    string
	clock *handClock
	takes time.Duration
	asked *atomic.Int64
}

func newSlowFilter(id string, clock *handClock, takes time.Duration) slowFilter {
	return slowFilter{id, clock, takes, new(atomic.Int64)}
}

func (f slowFilter) ID() string { return f.id }

func (f slowFilter) Match(_ *record.Record, seen any) (bool, any, int) {
	f.asked.Add(1)
	f.clock.advance(f.takes)
	return true, seen, int(f.takes/filterUnit) + 1
}

// TestSlowFilterIsDismissed: a filter that takes too long ends the subscription that
// it is of, and nobody else's. Its session is given no record that it was not asked
// about, and is not led past any.
func TestSlowFilterIsDismissed(t *testing.T) {
	const records = 300
	r := newRig(t, nil)
	var clock handClock
	r.hub.now = clock.now
	slow, quick := newSlowFilter("slow", &clock, 10*time.Millisecond), newSlowFilter("quick", &clock, 100*time.Nanosecond)
	r.talk = commander{map[int64]Filter{1: slow, 2: quick, 3: newSlowFilter("another", &clock, 0)}}
	plain, filtered, victim := r.dial("t"), r.dial(), r.dial()
	hear(t, plain, noRecord(t), "Begun")
	request(t, filtered, command{Subscribe: []string{"t"}, Nth: 2})
	hear(t, filtered, noRecord(t), "Begun")
	request(t, victim, command{Subscribe: []string{"t"}, Nth: 1})
	hear(t, victim, noRecord(t), "Begun")

	values := numbered(records, 10)
	r.source.feed("t", 0, 0, values...)
	for _, v := range values {
		if got := read(t, plain); got != v {
			t.Fatalf("without a filter: got %q, want %q", got, v)
		}
		if got := read(t, filtered); got != v {
			t.Fatalf("with a quick filter: got %q, want %q", got, v)
		}
	}
	hear(t, victim, noRecord(t), "Failed: "+ErrSlowFilter.Error())
	if n := slow.asked.Load(); n > 20 {
		t.Errorf("the slow filter was asked about %d records", n)
	}
	// Nor may it come back before the time that it took is made up for; those that
	// are in use are open to everybody.
	request(t, victim, command{Subscribe: []string{"t"}, Nth: 1})
	hear(t, victim, noRecord(t), "Failed: "+ErrSlowFilters.Error())
	request(t, victim, command{Subscribe: []string{"t"}, Nth: 3})
	hear(t, victim, noRecord(t), "Failed: "+ErrSlowFilters.Error())
	request(t, victim, command{Subscribe: []string{"t"}, Nth: 2})
	hear(t, victim, noRecord(t), "Begun")
	clock.advance(time.Second)
	request(t, victim, command{Subscribe: []string{"t"}, Nth: 1})
	hear(t, victim, noRecord(t), "Begun")
	r.source.feed("t", 0, records, "last")
	if got := read(t, victim); got != "last" {
		t.Errorf("got %q", got)
	}
}

// TestSlowFilterBehind: so it is for a client that is behind, and comes to the tail.
func TestSlowFilterBehind(t *testing.T) {
	r := newRig(t, nil)
	var clock handClock
	r.hub.now = clock.now
	r.talk = commander{map[int64]Filter{1: newSlowFilter("slow", &clock, time.Second)}}
	r.source.stored = map[int32][]string{0: numbered(10, 10)}
	ws := r.dial()
	request(t, ws, command{Subscribe: []string{"t"}, Nth: 1, From: record.Positions{"t": {Offsets: map[int32]int64{0: 0}}}})
	hear(t, ws, noRecord(t), "Begun")
	var got []string
	hear(t, ws, func(v string) { got = append(got, v) }, "CaughtUp")
	if len(got) != 10 {
		t.Errorf("got %q, want all ten", got)
	}
	r.source.feed("t", 0, 10, "late")
	hear(t, ws, noRecord(t), "Failed: "+ErrSlowFilter.Error())
}

// judging is a chain with filters, and so many records to judge.
func judging(t *testing.T, records int, filters ...Filter) *chained {
	c := &chained{records: make([]record.Record, records)}
	for _, f := range filters {
		if _, err := c.sift(f, 0); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestSlowFiltersTogether: what as many filters as there may be take of the time is
// bounded, also where each is asked about one record only.
func TestSlowFiltersTogether(t *testing.T) {
	const takes, records = 5 * time.Millisecond, 600
	var clock handClock
	h := &Hub{now: clock.now}
	filters := make([]Filter, maxFilters)
	for i := range filters {
		filters[i] = newSlowFilter(fmt.Sprint(i), &clock, takes)
	}
	quick := newSlowFilter("quick", &clock, time.Microsecond)
	filters[maxFilters/2] = quick
	c := judging(t, records, filters...)
	c.judge(h, c.sieves)
	c.dismiss(c.sieves)
	// Each once, and then bursts of those that are left, which become fewer.
	if most := maxFilters*takes + 10*filterBurst; clock.now() > most {
		t.Errorf("the filters took %v, want no more than %v", clock.now(), most)
	}
	if len(c.sieves) != 1 || c.sieves[0].ID() != quick.ID() || quick.asked.Load() != records {
		t.Errorf("%d filters are left; the quick one was asked %d times", len(c.sieves), quick.asked.Load())
	}
	if _, err := c.sift(newSlowFilter("another", &clock, 0), clock.now()+time.Second); !errors.Is(err, ErrSlowFilters) {
		t.Errorf("another filter: %v", err)
	}
	if _, err := c.sift(newSlowFilter("another", &clock, 0), clock.now()*(1+filterShare)); err != nil {
		t.Errorf("another filter, later: %v", err)
	}
}

// TestQuickFiltersOnABusyTopic: as many filters as there may be stay, while their
// topic has a worker that is never done.
func TestQuickFiltersOnABusyTopic(t *testing.T) {
	var clock handClock
	h := &Hub{now: clock.now}
	filters := make([]Filter, maxFilters)
	for i := range filters {
		filters[i] = newSlowFilter(fmt.Sprint(i), &clock, 160*time.Nanosecond)
	}
	c := judging(t, 1000, filters...)
	for range 100 {
		c.judge(h, c.sieves)
		if c.dismiss(c.sieves) {
			t.Fatal("a filter was dismissed")
		}
	}
}

// TestSlowFilterOfAQuietTopic: a filter may take long for a record where there are
// few.
func TestSlowFilterOfAQuietTopic(t *testing.T) {
	var clock handClock
	h := &Hub{now: clock.now}
	c := judging(t, 1, newSlowFilter("slow", &clock, 5*time.Millisecond))
	for range 1000 {
		c.judge(h, c.sieves)
		clock.advance(20 * time.Millisecond)
		if c.dismiss(c.sieves) {
			t.Fatal("the filter was dismissed")
		}
	}
}

// TestStallsAreNotTheFilters: a filter that does little is not to blame for a moment
// in which the worker did not run.
func TestStallsAreNotTheFilters(t *testing.T) {
	var clock handClock
	h := &Hub{now: func() time.Duration {
		clock.advance(time.Hour)
		return clock.now()
	}}
	c := judging(t, 1000, newSlowFilter("quick", &clock, time.Microsecond))
	c.judge(h, c.sieves)
	if c.dismiss(c.sieves) {
		t.Error("the filter was dismissed")
	}
}

// TestLeavingIsNoWayOut: what a filter has taken is not forgotten when it goes before
// it is dismissed, not even in the midst of a judgement.
func TestLeavingIsNoWayOut(t *testing.T) {
	var clock handClock
	h := &Hub{now: clock.now}
	for _, meanwhile := range []bool{false, true} {
		c := judging(t, 9, newSlowFilter("slow", &clock, 10*time.Millisecond))
		c.budget.shut = clock.now()
		sieves := c.sieves
		if meanwhile {
			c.discard(sieves[0], clock.now())
		}
		c.judge(h, sieves)
		if c.dismiss(sieves) {
			t.Fatal("the filter was dismissed: the test tests nothing")
		}
		if !meanwhile {
			c.discard(sieves[0], clock.now())
		}
		another := newSlowFilter("another", &clock, 0)
		if _, err := c.sift(another, clock.now()+200*time.Millisecond); !errors.Is(err, ErrSlowFilters) {
			t.Errorf("another filter: %v", err)
		}
		if _, err := c.sift(another, clock.now()+time.Second); err != nil {
			t.Errorf("another filter, later: %v", err)
		}
	}
}
