package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestCorrectHistories has nothing to find.
func TestCorrectHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := generate(func(n int) int { return rapid.IntRange(0, max(0, n-1)).Draw(t, "choice") })
		// A generated reader may stop early, and then nobody gets the end.
		for _, a := range s.history().Check().Anomalies {
			if a.Kind != Unseen || a.Reader != "" {
				t.Fatalf("%v\n%s", a, s)
			}
		}
	})
}

// TestRandomBreaks takes one read away from, or adds one to, a reader that has
// all, and the checker has to notice.
func TestRandomBreaks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(n int) int { return rapid.IntRange(0, max(0, n-1)).Draw(t, "choice") }
		s := &script{}
		s.addPartition(draw, 0, 2+draw(30))
		r := &scriptReader{name: "r", ops: []op{{kind: started, positions: []Position{{topic, 0, 0}}}}}
		next := []int64{0}
		for s.deliver(r, next, 0) {
			if draw(5) == 0 {
				r.ops = append(r.ops, op{kind: resumed})
			}
		}
		r.ops = append(r.ops, op{kind: finished})
		s.readers = append(s.readers, r)
		var reads []int
		for i, o := range r.ops {
			if o.kind == isRead {
				reads = append(reads, i)
			}
		}
		if len(reads) < 2 {
			t.Skip("nothing to break")
		}
		k := draw(len(reads) - 1)
		i := reads[k]
		var want []Kind
		switch draw(3) {
		case 0:
			r.ops = slices.Delete(r.ops, i, i+1)
			want = []Kind{IntSkipped, ExtSkipped}
		case 1:
			r.ops = slices.Insert(r.ops, reads[k+1]+1, r.ops[i])
			want = []Kind{Duplicate}
		default:
			// Within a session it is out of order; across, one is missing as well.
			j := reads[k+1]
			r.ops[i], r.ops[j] = r.ops[j], r.ops[i]
			want = []Kind{IntNonmonotonic, ExtNonmonotonic}
		}
		report := s.history().Check()
		if !slices.ContainsFunc(report.Anomalies, func(a Anomaly) bool { return slices.Contains(want, a.Kind) }) {
			t.Fatalf("want one of %v, got %s", want, report)
		}
	})
}

// String shows a script that failed.
func (s *script) String() string {
	var b strings.Builder
	for _, x := range s.sends {
		fmt.Fprintf(&b, "send %+v\n", x)
	}
	for _, l := range s.logs {
		fmt.Fprintf(&b, "log %+v\n", l)
	}
	for _, r := range s.readers {
		fmt.Fprintf(&b, "%s %+v\n", r.name, r.options)
		for _, o := range r.ops {
			fmt.Fprintf(&b, "  %+v\n", o)
		}
	}
	return b.String()
}

// base is a correct history in which everything is read: records 0 to 9 of one
// partition, of which 5 is of an aborted transaction. One reader goes through it
// in two sessions, one in one, one has a filter; a group acknowledges as it goes.
func base() *script {
	s := &script{}
	l := Log{Topic: topic, End: 10}
	for i := range int64(10) {
		v := ID(1, uint32(i))
		s.sends = append(s.sends, scriptSend{value: v, offset: i, told: i, outcome: succeeded, inTx: i == 5, tx: failed})
		l.Records = append(l.Records, LogRecord{Offset: i, Value: v, Sum: sumOf(v), Aborted: i == 5})
	}
	s.sends = append(s.sends,
		scriptSend{value: ID(9, 1), told: -1, outcome: failed},
		scriptSend{value: ID(9, 2), told: -1, outcome: unknown})
	s.logs = []Log{l}
	begin := op{kind: started, positions: []Position{{topic, -1, 0}}}
	for _, r := range []*scriptReader{
		{name: "plain"},
		{name: "resuming"},
		{name: "filtered", options: ReaderOptions{Wants: func(r Record) bool { return r.Offset != 2 }}},
		{name: "member", options: ReaderOptions{Mode: AtLeastOnce}},
	} {
		r.ops = append(r.ops, begin)
		next := []int64{0}
		for s.deliver(r, next, 0) {
			if r.name == "resuming" && next[0] == 4 {
				r.ops = append(r.ops, op{kind: ended}, op{kind: resumed, positions: []Position{{topic, 0, 4}}})
			}
			if r.name == "member" && next[0] == 4 {
				r.ops = append(r.ops, op{kind: acked, to: 3})
			}
		}
		r.ops = append(r.ops, op{kind: finished})
		s.readers = append(s.readers, r)
	}
	return s
}

// at picks the read of an offset.
func (r *scriptReader) at(offset int64) int {
	return slices.IndexFunc(r.ops, func(o op) bool { return o.kind == isRead && o.from == offset })
}

func (s *script) reader(name string) *scriptReader {
	return s.readers[slices.IndexFunc(s.readers, func(r *scriptReader) bool { return r.name == name })]
}

// without takes reads of an offset away.
func (s *script) without(reader string, offset int64) {
	s.edit(reader, func(o *op) bool { return o.from != offset })
}

// unlogged takes a record out of the log.
func (s *script) unlogged(offset int64) {
	s.logs[0].Records = slices.DeleteFunc(s.logs[0].Records, func(l LogRecord) bool { return l.Offset == offset })
}

func insert(r *scriptReader, at int, ops ...op) { r.ops = slices.Insert(r.ops, at, ops...) }

func readOf(offset int64, v Value) op { return op{kind: isRead, from: offset, value: v, sum: sumOf(v)} }

// TestEachAnomaly breaks a correct history in one way each.
func TestEachAnomaly(t *testing.T) {
	for name, c := range map[string]struct {
		want    Kind
		reader  string
		offset  int64
		n       int // of the kind; 0 is 1
		breakIt func(s *script)
	}{
		"acknowledged and not in the log": {want: LostWrite, offset: 3, breakIt: func(s *script) {
			s.unlogged(3)
			s.without("", 3)
		}},
		"acknowledged without an offset and nowhere": {want: LostWrite, offset: -1, breakIt: func(s *script) {
			s.sends[3].told = -1
			s.unlogged(3)
			s.without("", 3)
		}},
		"acknowledged, read, and gone": {want: LostWrite, offset: 3, breakIt: func(s *script) { s.unlogged(3) }},
		"acknowledged beyond the log's end": {want: LostWrite, offset: 20, breakIt: func(s *script) {
			s.sends[11] = scriptSend{value: ID(9, 2), told: 20, outcome: succeeded}
		}},
		"committed and aborted in the log": {want: LostWrite, offset: 5, breakIt: func(s *script) { s.sends[5].tx = succeeded }},
		"passed by all, without a log": {want: LostWrite, reader: "plain", offset: 3, breakIt: func(s *script) {
			s.logs = nil
			s.without("", 3)
		}},
		"one value at two offsets": {want: Duplicate, offset: 3, breakIt: func(s *script) {
			double := s.sends[3].value
			s.sends[7].outcome = unknown
			s.logs[0].Records[7].Value, s.logs[0].Records[7].Sum = double, sumOf(double)
			s.edit("", func(o *op) bool {
				if o.from == 7 {
					o.value, o.sum = double, sumOf(double)
				}
				return true
			})
		}},
		"one record twice": {want: Duplicate, reader: "plain", offset: 3, breakIt: func(s *script) {
			r := s.reader("plain")
			insert(r, r.at(6), r.ops[r.at(3)])
		}},
		"one record again after a resume": {want: Duplicate, reader: "resuming", offset: 3, breakIt: func(s *script) {
			r := s.reader("resuming")
			insert(r, r.at(4), r.ops[r.at(3)])
		}},
		"two values at one offset": {want: InconsistentOffsets, reader: "plain", offset: 3, breakIt: func(s *script) {
			r := s.reader("plain")
			r.ops[r.at(3)] = readOf(3, ID(9, 2))
		}},
		"acknowledged at an offset of another": {want: InconsistentOffsets, offset: 4, breakIt: func(s *script) { s.sends[3].told = 4 }},
		"acknowledged where nothing is":        {want: InconsistentOffsets, offset: 30, breakIt: func(s *script) { s.sends[3].told = 30 }},
		"out of order": {want: IntNonmonotonic, reader: "plain", offset: 3, breakIt: func(s *script) {
			r := s.reader("plain")
			i, j := r.at(3), r.at(4)
			r.ops[i], r.ops[j] = r.ops[j], r.ops[i]
		}},
		"a position that goes back": {want: IntNonmonotonic, reader: "plain", offset: 2, breakIt: func(s *script) {
			r := s.reader("plain")
			insert(r, r.at(7), op{kind: progressed, to: 2})
		}},
		"a group's member sent back within a session": {want: IntNonmonotonic, reader: "member", offset: 4, breakIt: func(s *script) {
			r := s.reader("member")
			insert(r, r.at(7)+1, r.ops[r.at(4)])
			// and goes on from there
			insert(r, r.at(7)+2, readOf(6, ID(1, 6)), readOf(7, ID(1, 7)))
		}},
		"resumed too early": {want: ExtNonmonotonic, reader: "resuming", offset: 1, breakIt: func(s *script) {
			r := s.reader("resuming")
			// It was told that it does not get 1, and then gets it.
			insert(r, r.at(1), op{kind: gap, from: 1, to: 2})
			read := r.ops[r.at(1)]
			r.ops = slices.Delete(r.ops, r.at(1), r.at(1)+1)
			insert(r, r.at(4), read)
			insert(r, r.at(4), op{kind: sought, to: 4})
		}},
		"skipped":       {want: IntSkipped, reader: "plain", offset: 3, breakIt: func(s *script) { s.without("plain", 3) }},
		"skipped first": {want: IntSkipped, reader: "plain", offset: 0, breakIt: func(s *script) { s.without("plain", 0) }},
		"skipped and told of another range": {want: IntSkipped, reader: "plain", offset: 3, breakIt: func(s *script) {
			s.without("plain", 3)
			s.without("plain", 4)
			r := s.reader("plain")
			insert(r, r.at(2)+1, op{kind: gap, from: 4, to: 5})
		}},
		"skipped by a position": {want: IntSkipped, reader: "plain", offset: 9, breakIt: func(s *script) {
			r := s.reader("plain")
			r.ops[r.at(9)] = op{kind: progressed, to: 10}
		}},
		"skipped in a group":  {want: IntSkipped, reader: "member", offset: 6, breakIt: func(s *script) { s.without("member", 6) }},
		"skipped by a resume": {want: ExtSkipped, reader: "resuming", offset: 4, breakIt: func(s *script) { s.without("resuming", 4) }},
		"skipped by a resume that asked for it": {want: ExtSkipped, reader: "resuming", offset: 4, breakIt: func(s *script) {
			s.without("resuming", 4)
			r := s.reader("resuming")
			i := slices.IndexFunc(r.ops, func(o op) bool { return o.kind == resumed })
			r.ops[i].positions = []Position{{topic, 0, 6}}
		}},
		"an aborted transaction": {want: AbortedRead, reader: "plain", offset: 5, breakIt: func(s *script) {
			r := s.reader("plain")
			insert(r, r.at(6), readOf(5, ID(1, 5)))
		}},
		"an open transaction": {want: AbortedRead, reader: "plain", offset: 5, breakIt: func(s *script) {
			s.sends[5].tx = unknown
			r := s.reader("plain")
			insert(r, r.at(6), readOf(5, ID(1, 5)))
		}},
		"an aborted transaction, without a log": {want: AbortedRead, reader: "plain", offset: 5, breakIt: func(s *script) {
			s.logs = nil
			r := s.reader("plain")
			insert(r, r.at(6), readOf(5, ID(1, 5)))
		}},
		"a failed send in the log": {want: AbortedRead, offset: 3, breakIt: func(s *script) { s.sends[3].outcome = failed }},
		"never came at the end":    {want: Unseen, reader: "plain", offset: 9, breakIt: func(s *script) { s.without("plain", 9) }},
		"never came to a group":    {want: Unseen, reader: "member", offset: 9, breakIt: func(s *script) { s.without("member", 9) }},
		"a partition never came": {want: Unseen, n: 4, offset: 0, reader: "filtered", breakIt: func(s *script) {
			v := ID(2, 0)
			s.sends = append(s.sends, scriptSend{value: v, partition: 1, told: 0, outcome: succeeded})
			s.logs = append(s.logs, Log{Topic: topic, Partition: 1, End: 1, Records: []LogRecord{{Value: v, Sum: sumOf(v)}}})
		}},
		"nobody got the end": {want: Unseen, offset: 9, breakIt: func(s *script) {
			s.without("", 9)
			for _, r := range s.readers {
				r.ops = r.ops[:len(r.ops)-1] // not finished
			}
		}},
		"other content": {want: WrongContent, reader: "plain", offset: 3, breakIt: func(s *script) {
			r := s.reader("plain")
			r.ops[r.at(3)].sum++
		}},
		"other content, without a log": {want: WrongContent, reader: "plain", offset: 3, breakIt: func(s *script) {
			s.logs = nil
			r := s.reader("plain")
			r.ops[r.at(3)].sum++
		}},
		"other content in the log": {want: WrongContent, offset: 3, breakIt: func(s *script) {
			s.logs[0].Records[3].Sum++
			s.edit("", func(o *op) bool {
				if o.from == 3 {
					o.sum++
				}
				return true
			})
		}},
		"in another partition": {want: WrongContent, offset: 3, breakIt: func(s *script) {
			s.sends[3].outcome, s.sends[3].partition = unknown, 1
		}},
		"nobody sent it": {want: Phantom, offset: 12, breakIt: func(s *script) {
			r := s.reader("plain")
			insert(r, r.at(9)+1, readOf(12, ID(7, 7)))
		}},
		"read where the log has nothing": {want: Vanished, offset: 12, breakIt: func(s *script) {
			r := s.reader("plain")
			insert(r, r.at(9)+1, readOf(12, ID(9, 2)))
		}},
		"against the filter": {want: Unwanted, reader: "filtered", offset: 2, breakIt: func(s *script) {
			r := s.reader("filtered")
			insert(r, r.at(3), readOf(2, ID(1, 2)))
		}},
		"acknowledged and again": {want: AckedAgain, reader: "member", offset: 2, breakIt: func(s *script) {
			r := s.reader("member")
			insert(r, r.at(4), op{kind: resumed}, readOf(2, ID(1, 2)), readOf(3, ID(1, 3)))
		}},
		"acknowledged and to another member": {want: AckedAgain, reader: "other", offset: 2, breakIt: func(s *script) {
			m := s.reader("member")
			m.options.Group = "g"
			// It joins when the other is done.
			other := &scriptReader{name: "other", options: m.options}
			for range len(m.ops) {
				other.ops = append(other.ops, op{kind: ended})
			}
			other.ops = append(other.ops, op{kind: started}, op{kind: sought, to: 2}, readOf(2, ID(1, 2)), readOf(3, ID(1, 3)))
			s.readers = append(s.readers, other)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := base()
			c.breakIt(s)
			report := s.history().Check()
			if len(report.Anomalies) != max(c.n, 1) {
				t.Fatalf("want %d %s: %s", max(c.n, 1), c.want, report)
			}
			if a := report.Anomalies[0]; a.Kind != c.want || a.Reader != c.reader || a.Offset != c.offset {
				t.Errorf("want %s at %d by %q, got %v", c.want, c.offset, c.reader, a)
			}
		})
	}
}

// TestAllowed has what looks wrong and is not.
func TestAllowed(t *testing.T) {
	for name, change := range map[string]func(s *script) *History{
		"nothing": func(s *script) *History { return s.history() },
		"a gap that was told": func(s *script) *History {
			s.without("plain", 3)
			r := s.reader("plain")
			insert(r, r.at(2)+1, op{kind: gap, from: 3, to: 4})
			return s.history()
		},
		"a gap that is told ahead": func(s *script) *History {
			s.without("plain", 3)
			r := s.reader("plain")
			insert(r, r.at(1), op{kind: gap, from: 3, to: 4})
			return s.history()
		},
		"records sent back by a nack": func(s *script) *History {
			r := s.reader("plain")
			insert(r, r.at(4), op{kind: sought, to: 2}, readOf(2, ID(1, 2)), readOf(3, ID(1, 3)))
			return s.history()
		},
		"unacknowledged records again": func(s *script) *History {
			r := s.reader("member")
			insert(r, r.at(7), op{kind: resumed}, readOf(4, ID(1, 4)), readOf(6, ID(1, 6)))
			return s.history()
		},
		"a value that was sent again": func(s *script) *History {
			s.sends[6].outcome = unknown
			again := scriptSend{value: ID(1, 6), told: 10, outcome: succeeded}
			s.sends = append(s.sends, again)
			s.logs[0].End = 11
			s.logs[0].Records = append(s.logs[0].Records, LogRecord{Offset: 10, Value: ID(1, 6), Sum: sumOf(ID(1, 6))})
			for _, r := range s.readers {
				insert(r, r.at(9)+1, readOf(10, ID(1, 6)))
			}
			return s.history()
		},
		"records that retention deleted": func(s *script) *History {
			s.logs[0].Start, s.logs[0].Records = 4, s.logs[0].Records[4:]
			return s.history()
		},
		"records that compaction took": func(s *script) *History {
			s.logs[0].Compacted = true
			s.unlogged(3)
			s.without("plain", 3)
			return s.history()
		},
		"an aborted transaction, read uncommitted": func(s *script) *History {
			r := s.reader("plain")
			r.options.Uncommitted = true
			insert(r, r.at(6), readOf(5, ID(1, 5)))
			return s.history()
		},
		"a log that was cut, and a reader that was told": func(s *script) *History {
			// 8 and 9 are gone, and another record is at 8 now.
			s.logs[0].Records[8] = LogRecord{Offset: 8, Value: ID(9, 2), Sum: sumOf(ID(9, 2))}
			s.logs[0].Records, s.logs[0].End = s.logs[0].Records[:9], 9
			for _, r := range s.readers {
				insert(r, r.at(9)+1, op{kind: sought, to: 8}, readOf(8, ID(9, 2)))
			}
			h := s.history()
			h.Truncated(topic, 0, 8)
			return h
		},
	} {
		t.Run(name, func(t *testing.T) {
			if report := change(base()).Check(); !report.OK() || report.Reads == 0 {
				t.Error(report)
			}
		})
	}
}

// A log that was cut excuses the log, not the reader who is not told.
func TestTruncatedIsNotTold(t *testing.T) {
	s := base()
	s.logs[0].Records[8] = LogRecord{Offset: 8, Value: ID(9, 2), Sum: sumOf(ID(9, 2))}
	s.logs[0].Records, s.logs[0].End = s.logs[0].Records[:9], 9
	s.readers = s.readers[:1]
	r := s.reader("plain")
	insert(r, r.at(9)+1, readOf(8, ID(9, 2)))
	h := s.history()
	h.Truncated(topic, 0, 8)
	if report := h.Check(); len(report.Anomalies) != 1 || report.Count(IntNonmonotonic) != 1 {
		t.Error(report)
	}
}

// A reader that goes on behind a cut as if nothing had been lacks what was written
// in the place of what it has got.
func TestTruncatedIsPassedOver(t *testing.T) {
	for name, c := range map[string]struct {
		then []int64 // what the reader gets of the new log
		told bool
		want Kind
	}{
		"it goes on":  {[]int64{10}, false, IntSkipped},
		"it ends":     {nil, false, Unseen},
		"it was told": {[]int64{8, 9, 10}, true, kinds},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{logs: []Log{{Topic: topic, End: 11}}}
			r := &scriptReader{name: "r", ops: []op{{kind: started, positions: []Position{{topic, 0, 0}}}}}
			for o := range int64(11) {
				v := ID(1, uint32(o))
				if o < 10 {
					r.ops = append(r.ops, readOf(o, v))
				}
				if o >= 8 {
					v = ID(2, uint32(o))
				}
				s.logs[0].Records = append(s.logs[0].Records, LogRecord{Offset: o, Value: v, Sum: sumOf(v)})
			}
			if c.told {
				r.ops = append(r.ops, op{kind: sought, to: 8})
			}
			for _, o := range c.then {
				r.ops = append(r.ops, readOf(o, ID(2, uint32(o))))
			}
			r.ops = append(r.ops, op{kind: finished})
			s.readers = append(s.readers, r)
			h := s.history()
			h.Truncated(topic, 0, 8)
			report := h.Check()
			if ok := c.want == kinds; report.OK() != ok || !ok && (len(report.Anomalies) != 1 || report.Count(c.want) != 1) {
				t.Error(report)
			}
		})
	}
}

func TestReportIsBounded(t *testing.T) {
	h := New()
	h.Producer("p").Send(ID(1, 0), topic, 0, 0)
	r := h.Reader("r", ReaderOptions{})
	for i := range int64(5000) {
		r.Read(topic, 0, i, ID(2, uint32(i)), 0)
	}
	report := h.Check()
	if report.Count(Phantom) != 5000 || len(report.Anomalies) != maxKept {
		t.Fatalf("%d phantoms, %d kept", report.Count(Phantom), len(report.Anomalies))
	}
	out := report.String()
	if strings.Count(out, "\n") != maxPrinted+2 || !strings.Contains(out, "phantom: 4990 more") {
		t.Error(out)
	}
}

func TestValue(t *testing.T) {
	v := ID(3, 17)
	if got, ok := ParseValue([]byte(v.String() + " and more")); !ok || got != v {
		t.Errorf("%v became %v", v, got)
	}
	for _, bad := range []string{"", "3", "3.", "x.1", "3.99999999999"} {
		if _, ok := ParseValue([]byte(bad)); ok {
			t.Errorf("%q is a value", bad)
		}
	}
	if Sum(nil) == Sum([]byte{}) || Sum([]byte("ab")) == Sum([]byte("a"), []byte("b")) {
		t.Error("different parts have one sum")
	}
}

// TestManyGoroutines records from many at once, a large history, and checks it.
func TestManyGoroutines(t *testing.T) {
	const partitions, perProducer, readers = 8, 50_000, 8
	records := perProducer
	if testing.Short() || raceDetector {
		records /= 10
	}
	h := New()
	began := time.Now()
	var all sync.WaitGroup
	for p := range int32(partitions) {
		producer := h.Producer(fmt.Sprint("p", p))
		all.Go(func() {
			for i := range records {
				producer.Send(ID(uint32(p), uint32(i)), topic, p, 1).Acked(p, int64(i))
			}
		})
	}
	for n := range readers {
		r := h.Reader(fmt.Sprint("r", n), ReaderOptions{})
		all.Go(func() {
			r.Start(Position{topic, -1, 0})
			order := rand.New(rand.NewPCG(1, uint64(n)))
			var next [partitions]int
			for left := partitions * records; left > 0; {
				p := order.IntN(partitions)
				if next[p] == records {
					continue
				}
				r.Read(topic, int32(p), int64(next[p]), ID(uint32(p), uint32(next[p])), 1)
				next[p]++
				left--
			}
			r.Finish()
		})
	}
	all.Wait()
	recorded := time.Now()
	report := h.Verify(t)
	if report.Reads != readers*partitions*records || report.Acked != partitions*records {
		t.Error(report)
	}
	t.Logf("%d sends and %d reads recorded in %v, checked in %v", report.Sends, report.Reads,
		recorded.Sub(began).Round(time.Millisecond), time.Since(recorded).Round(time.Millisecond))
}
