package dedupe_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kafkaws/kafkaws/dedupe"
	"github.com/kafkaws/kafkaws/record"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// clock is a clock that only goes when it is told to.
type clock struct {
	now time.Time
}

func newClock() *clock { return &clock{time.UnixMilli(1716400000000)} }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

// desk is a client of a Memory, which publishes as one producer.
type desk struct {
	t               *testing.T
	m               *dedupe.Memory
	owner, producer string
}

// printOf is the fingerprint of a made-up record.
func printOf(n byte) (f dedupe.Fingerprint) {
	f[0] = n
	return f
}

// begin wants a verdict on a sequence whose record is always the same, and no
// answer yet.
func (d *desk) begin(sequence int64, want dedupe.Verdict) dedupe.Ticket {
	d.t.Helper()
	verdict, ticket := d.m.Begin(d.owner, d.producer, sequence, printOf(1), func(a dedupe.Answer) {
		d.t.Helper()
		d.t.Errorf("sequence %d was answered with %+v", sequence, a)
	})
	if verdict != want {
		d.t.Fatalf("sequence %d is %v, want %v", sequence, verdict, want)
	}
	return ticket
}

// write publishes a sequence that is fresh; its offset is the sequence.
func (d *desk) write(sequence int64) {
	d.t.Helper()
	d.m.Finish(d.begin(sequence, dedupe.Fresh), written(sequence))
}

// repeat wants an answer at once.
func (d *desk) repeat(sequence int64, want dedupe.Answer) {
	d.t.Helper()
	var got []dedupe.Answer
	verdict, _ := d.m.Begin(d.owner, d.producer, sequence, printOf(1), func(a dedupe.Answer) { got = append(got, a) })
	if verdict != dedupe.Repeated {
		d.t.Fatalf("sequence %d is %v, want a repeat", sequence, verdict)
	}
	want.Duplicate = true
	if len(got) != 1 || got[0] != want {
		d.t.Errorf("sequence %d was answered with %+v, want %+v", sequence, got, want)
	}
}

func written(offset int64) dedupe.Answer {
	return dedupe.Answer{Result: dedupe.Written, Partition: 3, Offset: offset, Timestamp: time.UnixMilli(1716400000123)}
}

func TestFinishedIsAnsweredAgain(t *testing.T) {
	failure := fmt.Errorf("writing: %w", record.ErrUnknownOutcome)
	for _, c := range []struct {
		name        string
		first, then dedupe.Answer
	}{
		{"written", written(18), written(18)},
		{"nowhere", dedupe.Answer{Result: dedupe.Written, Partition: -1, Offset: -1}, dedupe.Answer{Result: dedupe.Written, Partition: -1, Offset: -1}},
		{"before 1970", dedupe.Answer{Result: dedupe.Written, Timestamp: time.UnixMilli(-1)}, dedupe.Answer{Result: dedupe.Written, Timestamp: time.UnixMilli(-1)}},
		{"discarded", dedupe.Answer{Result: dedupe.Discarded}, dedupe.Answer{Result: dedupe.Discarded, Partition: -1, Offset: -1}},
		{"unknown", dedupe.Answer{Result: dedupe.Unknown, Err: failure}, dedupe.Answer{Result: dedupe.Unknown, Partition: -1, Offset: -1, Err: record.ErrUnknownOutcome}},
		{"no result", dedupe.Answer{}, dedupe.Answer{Result: dedupe.Unknown, Partition: -1, Offset: -1, Err: record.ErrUnknownOutcome}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &desk{t, dedupe.New(dedupe.Config{}), "user", "tab"}
			ticket := d.begin(7, dedupe.Fresh)
			d.m.Finish(ticket, c.first)
			d.repeat(7, c.then)
			d.m.Finish(ticket, dedupe.Answer{Result: dedupe.Failed}) // a second time: ignored
			d.repeat(7, c.then)
		})
	}
}

func TestFailedMayBeTriedAgain(t *testing.T) {
	d := &desk{t, dedupe.New(dedupe.Config{}), "user", "tab"}
	for range 3 {
		d.m.Finish(d.begin(0, dedupe.Fresh), dedupe.Answer{Result: dedupe.Failed, Err: record.ErrUnavailable})
	}
	// Nothing holds the number, so another record may have it.
	verdict, ticket := d.m.Begin("user", "tab", 0, printOf(2), nil)
	if verdict != dedupe.Fresh {
		t.Fatalf("got %v", verdict)
	}
	d.m.Finish(ticket, written(0))
	d.begin(0, dedupe.Conflict)
}

// TestFailuresAloneAreForgotten: a series of which nothing was ever remembered takes
// no room. Else whoever may not publish could fill the memory, and have the series
// of others forgotten.
func TestFailuresAloneAreForgotten(t *testing.T) {
	failed := dedupe.Answer{Result: dedupe.Failed, Err: record.ErrRefused}
	m := dedupe.New(dedupe.Config{Entries: 64, Window: 10})
	d := &desk{t, m, "user", "tab"}
	d.write(0)
	for i := range 1000 {
		other := &desk{t, m, fmt.Sprint("guest-", i), "tab"}
		other.m.Finish(other.begin(0, dedupe.Fresh), failed)
	}
	d.repeat(0, written(0))
	if s := m.Stats(); s != (dedupe.Stats{Owners: 1, Producers: 1, Entries: s.Entries}) || s.Entries > 20 {
		t.Errorf("%+v", s)
	}
	// Neither a failure among others makes a series be forgotten, ...
	d.m.Finish(d.begin(1, dedupe.Fresh), failed)
	d.repeat(0, written(0))
	// ... nor one while another record is in flight, ...
	two := &desk{t, m, "user", "two"}
	first, second := two.begin(0, dedupe.Fresh), two.begin(1, dedupe.Fresh)
	m.Finish(first, failed)
	two.begin(0, dedupe.Fresh)
	m.Finish(second, written(1))
	two.repeat(1, written(1))
	// ... nor one after others that are behind the window now: they were there.
	far := &desk{t, m, "user", "far"}
	far.write(0)
	far.m.Finish(far.begin(100, dedupe.Fresh), failed)
	far.begin(0, dedupe.OutOfWindow)
	// The same of one that was finished when it was behind the window already.
	late := &desk{t, m, "user", "late"}
	first = late.begin(0, dedupe.Fresh)
	second = late.begin(100, dedupe.Fresh)
	m.Finish(first, written(0))
	m.Finish(second, failed)
	late.begin(0, dedupe.OutOfWindow)
}

func TestRepeatOfOneInFlightWaits(t *testing.T) {
	for _, a := range []dedupe.Answer{
		written(4),
		{Result: dedupe.Discarded, Partition: -1, Offset: -1},
		{Result: dedupe.Failed, Err: record.ErrUnavailable},
		{Result: dedupe.Unknown, Err: record.ErrUnknownOutcome},
	} {
		m := dedupe.New(dedupe.Config{})
		d := &desk{t, m, "user", "tab"}
		ticket := d.begin(4, dedupe.Fresh)
		d.write(5) // its answer is nobody else's
		var got []dedupe.Answer
		for range 3 {
			verdict, _ := m.Begin("user", "tab", 4, printOf(1), func(a dedupe.Answer) {
				got = append(got, a)
				m.Stats() // no lock is held
			})
			if verdict != dedupe.Repeated || len(got) > 0 {
				t.Fatalf("got %v and %v", verdict, got)
			}
		}
		m.Finish(ticket, a)
		a.Duplicate = true
		if !slices.Equal(got, []dedupe.Answer{a, a, a}) {
			t.Errorf("got %+v, want %+v three times", got, a)
		}
	}
}

func TestOtherBytesAreAConflict(t *testing.T) {
	m := dedupe.New(dedupe.Config{})
	d := &desk{t, m, "user", "tab"}
	other := func() {
		t.Helper()
		if verdict, _ := m.Begin("user", "tab", 1, printOf(2), nil); verdict != dedupe.Conflict {
			t.Errorf("got %v", verdict)
		}
	}
	ticket := d.begin(1, dedupe.Fresh)
	other()
	m.Finish(ticket, dedupe.Answer{Result: dedupe.Unknown})
	other()
	d.write(1000)
	other() // 1 is the last in the window
	d.write(1001)
	if verdict, _ := m.Begin("user", "tab", 1, printOf(2), nil); verdict != dedupe.OutOfWindow {
		t.Errorf("got %v", verdict)
	}
}

func TestWindow(t *testing.T) {
	d := &desk{t, dedupe.New(dedupe.Config{Window: 10}), "user", "tab"}
	d.write(100) // a producer may begin anywhere
	d.begin(90, dedupe.OutOfWindow)
	d.write(91) // and in any order
	d.write(95)
	d.write(103)
	d.begin(93, dedupe.OutOfWindow)
	d.begin(91, dedupe.OutOfWindow)
	d.write(94)
	for _, s := range []int64{103, 100, 95, 94} {
		d.repeat(s, written(s))
	}
	d.write(1000) // far ahead: nothing of the above is in the window
	d.begin(103, dedupe.OutOfWindow)
	d.begin(990, dedupe.OutOfWindow)
	d.write(991)
	d.write(math.MaxInt64)
	d.write(math.MaxInt64 - 9)
	d.begin(math.MaxInt64-10, dedupe.OutOfWindow)
	d.repeat(math.MaxInt64, written(math.MaxInt64))
	d.begin(-1, dedupe.OutOfWindow)
}

// TestHoles has sequences come late that were skipped, while the ring is
// narrower than the window.
func TestHoles(t *testing.T) {
	d := &desk{t, dedupe.New(dedupe.Config{}), "user", "tab"}
	d.write(100)
	d.write(98)
	d.write(103)
	d.repeat(98, written(98))
	d.write(50)
	d.repeat(103, written(103))
	d.write(5000) // nothing of the above is in the window
	d.write(4990)
	d.write(4001)
	d.begin(4000, dedupe.OutOfWindow)
	for _, s := range []int64{4001, 4990, 5000} {
		d.repeat(s, written(s))
	}
}

func TestWindowsOfAnyLength(t *testing.T) {
	for _, window := range []int{1, 2, 3, 4, 5, 16, 17, 31, 1000, 1024} {
		d := &desk{t, dedupe.New(dedupe.Config{Window: window}), "user", "tab"}
		w := int64(window)
		for s := range 3 * w {
			d.write(s)
			d.repeat(max(0, s-w+1), written(max(0, s-w+1)))
			if s >= w {
				d.begin(s-w, dedupe.OutOfWindow)
			}
		}
	}
}

// TestFlightThatLeftTheWindow has a record land whose sequence cannot be judged
// any more: those who wait get the answer, and nobody else.
func TestFlightThatLeftTheWindow(t *testing.T) {
	m := dedupe.New(dedupe.Config{Window: 4})
	d := &desk{t, m, "user", "tab"}
	ticket := d.begin(0, dedupe.Fresh)
	var got []dedupe.Answer
	if verdict, _ := m.Begin("user", "tab", 0, printOf(1), func(a dedupe.Answer) { got = append(got, a) }); verdict != dedupe.Repeated {
		t.Fatal(verdict)
	}
	d.write(4) // in the place that 0 had
	d.begin(0, dedupe.OutOfWindow)
	m.Finish(ticket, dedupe.Answer{Result: dedupe.Failed})
	if len(got) != 1 || got[0].Result != dedupe.Failed {
		t.Errorf("got %+v", got)
	}
	d.begin(0, dedupe.OutOfWindow)
	d.repeat(4, written(4))
}

func TestSeriesAreApart(t *testing.T) {
	m := dedupe.New(dedupe.Config{})
	all := []*desk{{t, m, "a", "x"}, {t, m, "a", "y"}, {t, m, "b", "x"}, {t, m, "ax", ""}, {t, m, "", "ax"}}
	for i, d := range all {
		d.m.Finish(d.begin(0, dedupe.Fresh), written(int64(i)))
	}
	for i, d := range all {
		d.repeat(0, written(int64(i)))
	}
}

func TestAge(t *testing.T) {
	c := newClock()
	m := dedupe.New(dedupe.Config{Age: time.Minute, Now: c.Now})
	d, busy, other := &desk{t, m, "user", "tab"}, &desk{t, m, "user", "busy"}, &desk{t, m, "other", "tab"}
	d.write(0)
	ticket := busy.begin(0, dedupe.Fresh)
	c.advance(time.Minute - time.Millisecond)
	other.write(0)
	d.repeat(0, written(0)) // which is a use of it
	c.advance(time.Minute - time.Millisecond)
	other.write(1)
	if s := m.Stats(); s.Producers != 3 || s.Aged != 0 {
		t.Errorf("got %+v", s)
	}
	c.advance(time.Millisecond)
	other.write(2)
	if s := m.Stats(); s.Producers != 2 || s.Owners != 2 || s.Aged != 1 || s.Forgotten != 0 {
		t.Errorf("got %+v", s)
	}
	d.write(0) // as if it had never been: what the documentation warns of
	c.advance(time.Hour)
	// What is in flight is not forgotten, and from its end on the time counts.
	m.Finish(ticket, written(9))
	c.advance(time.Minute - 1)
	busy.repeat(0, written(9))
	if s := m.Stats(); s.Producers != 1 || s.Aged != 3 {
		t.Errorf("got %+v", s)
	}
}

func TestProducersOfAnOwner(t *testing.T) {
	c := newClock()
	m := dedupe.New(dedupe.Config{Producers: 10, Age: time.Minute, Now: c.Now})
	names := func(i int) *desk { return &desk{t, m, "user", fmt.Sprint("tab-", i)} }
	for i := range 10 {
		names(i).write(0)
	}
	names(10).begin(0, dedupe.Full)
	names(3).write(1)
	(&desk{t, m, "other", "tab-10"}).write(0)
	c.advance(time.Minute)
	names(3).write(2)
	for i := 10; i < 19; i++ {
		names(i).write(0)
	}
	names(19).begin(0, dedupe.Full)
	if s := m.Stats(); s.Producers != 10 || s.Owners != 1 {
		t.Errorf("got %+v", s)
	}
}

// TestFullOfOldProducers has an owner whose producers are all too old when it
// wants one more: no sweep came by, and still it gets it.
func TestFullOfOldProducers(t *testing.T) {
	c := newClock()
	m := dedupe.New(dedupe.Config{Producers: 10, Age: time.Minute, Now: c.Now})
	for i := range 10 {
		(&desk{t, m, "other", fmt.Sprint("tab-", i)}).write(0)
	}
	for i := range 10 {
		(&desk{t, m, "user", fmt.Sprint("tab-", i)}).write(0)
	}
	c.advance(time.Minute)
	(&desk{t, m, "user", "new"}).write(0)
	if s := m.Stats(); s.Producers != 1 || s.Owners != 1 || s.Aged != 20 {
		t.Errorf("got %+v", s)
	}
}

func TestAnswerTo(t *testing.T) {
	at := time.UnixMilli(1)
	refused := fmt.Errorf("writing: %w", record.ErrRefused)
	unknown := fmt.Errorf("writing: %w", record.ErrUnknownOutcome)
	for _, c := range []struct {
		outcome record.Outcome
		want    dedupe.Answer
	}{
		{record.Outcome{Partition: 2, Offset: 5}, dedupe.Answer{Result: dedupe.Written, Partition: 2, Offset: 5, Timestamp: at}},
		{record.Outcome{Partition: 2, Offset: -1, Err: refused}, dedupe.Answer{Result: dedupe.Failed, Partition: -1, Offset: -1, Err: refused}},
		{record.Outcome{Partition: 2, Offset: -1, Err: unknown}, dedupe.Answer{Result: dedupe.Unknown, Partition: -1, Offset: -1, Err: unknown}},
		{record.Outcome{Err: errors.Join(refused, unknown)}, dedupe.Answer{Result: dedupe.Unknown, Partition: -1, Offset: -1, Err: errors.Join(refused, unknown)}},
	} {
		got := dedupe.AnswerTo(c.outcome, at)
		if c.want.Err != nil && (got.Err == nil || got.Err.Error() != c.want.Err.Error()) {
			t.Errorf("got %v, want %v", got.Err, c.want.Err)
		}
		got.Err, c.want.Err = nil, nil
		if got != c.want {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}

func TestSecret(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		s := dedupe.NewSecret()
		if !dedupe.ValidSecret(s) || seen[s] {
			t.Fatalf("%q", s)
		}
		seen[s] = true
	}
	good := "AAECAwQFBgcICQoLDA0ODw"
	if !dedupe.ValidSecret(good) {
		t.Error("refused a good one")
	}
	for _, bad := range []string{"", "a", good[1:], good + "A", good[:21] + "x", good[:21] + "=", "+" + good[1:], good[:20] + "\r\n", "\n" + good, strings.Repeat("A", 1<<20)} {
		if dedupe.ValidSecret(bad) {
			t.Errorf("took %.40q", bad)
		}
	}
}
