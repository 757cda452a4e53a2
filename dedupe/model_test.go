package dedupe_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kafkaws/kafkaws/dedupe"
	"github.com/kafkaws/kafkaws/record"
)

// TestAnyHistory has producers begin, finish, repeat, skip and wait in any order,
// in memories of any size, and holds each verdict to a model that never forgets
// by itself: of what the Memory may lose it is told by Stats how much, and knows
// what that must be.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"publish": m.publish,
			"series":  m.publishSeries,
			"finish":  m.finish,
			"wait": func(rt *rapid.T) {
				m.clock.advance(time.Duration(rapid.IntRange(0, 70).Draw(rt, "seconds")) * time.Second)
			},
			"": m.check,
		})
		for len(m.tickets) > 0 {
			m.finish(rt)
		}
		m.check(rt)
		m.end(rt)
	})
}

const modelAge = time.Minute

type model struct {
	memory *dedupe.Memory
	clock  *clock
	cfg    dedupe.Config
	// ample says that there is room for everything, so that the model knows
	// every verdict beforehand.
	ample   bool
	series  map[string]*modelled
	idle    []*modelled // the one that was used last is last
	tickets []*flight
	seen    dedupe.Stats
}

// modelled is a producer as the model knows it.
type modelled struct {
	owner, producer string
	newest          int64
	lost            int64 // the highest sequence that was there and then out of the window
	entries         map[int64]*flight
	flights         int
	holds           bool // something of it was remembered once
	used            time.Time
}

// flight is a sequence that was fresh.
type flight struct {
	of       *modelled
	sequence int64
	print    dedupe.Fingerprint
	ticket   dedupe.Ticket
	answer   dedupe.Answer // when it is finished
	waiting  int
	answered []dedupe.Answer
}

func newModel(rt *rapid.T) *model {
	m := &model{clock: newClock(), series: make(map[string]*modelled)}
	m.cfg = dedupe.Config{
		Window:    rapid.SampledFrom([]int{1, 3, 4, 7, 16, 40, 100}).Draw(rt, "window"),
		Entries:   rapid.SampledFrom([]int{64, 80, 128, 200, 10_000}).Draw(rt, "entries"),
		Producers: rapid.SampledFrom([]int{1, 2, 3, 10}).Draw(rt, "producers"),
		Age:       modelAge,
		Now:       m.clock.Now,
	}
	m.ample = m.cfg.Entries == 10_000
	m.memory = dedupe.New(m.cfg)
	return m
}

// publish publishes anything, most often near what was there before.
func (m *model) publish(rt *rapid.T) {
	owner, producer := m.pick(rt)
	f := printOf(byte(rapid.IntRange(1, 20).Draw(rt, "print")) / 20) // seldom another one
	sequence := int64(rapid.IntRange(0, 300).Draw(rt, "anywhere"))
	if p := m.series[owner+producer]; p != nil && rapid.IntRange(0, 9).Draw(rt, "near") > 0 {
		sequence = max(0, p.newest+int64(rapid.IntRange(-m.cfg.Window-2, 4).Draw(rt, "by")))
	}
	m.begin(rt, owner, producer, sequence, f)
}

// publishSeries publishes as most clients do, and has each record answered.
func (m *model) publishSeries(rt *rapid.T) {
	owner, producer := m.pick(rt)
	sequence := int64(0)
	if p := m.series[owner+producer]; p != nil {
		sequence = p.newest + 1
	}
	for i := range int64(rapid.IntRange(1, 60).Draw(rt, "records")) {
		before := len(m.tickets)
		m.begin(rt, owner, producer, sequence+i, printOf(0))
		if len(m.tickets) > before {
			m.land(rt, before, written(sequence+i))
		}
	}
}

func (m *model) pick(rt *rapid.T) (owner, producer string) {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "owner"),
		rapid.SampledFrom([]string{"v", "w", "x", "y"}).Draw(rt, "producer")
}

// begin begins a sequence and judges the verdict.
func (m *model) begin(rt *rapid.T, owner, producer string, sequence int64, f dedupe.Fingerprint) {
	key := owner + producer
	p := m.series[key]
	entry := &flight{sequence: sequence, print: f}
	var now []dedupe.Answer
	returned := false
	var old *flight
	if p != nil {
		old = p.entries[sequence]
	}
	verdict, ticket := m.memory.Begin(owner, producer, sequence, f, func(a dedupe.Answer) {
		if returned {
			old.answered = append(old.answered, a)
		} else {
			now = append(now, a)
		}
	})
	returned = true

	m.use(p)
	m.dropped(rt, p)
	if p == nil && verdict != dedupe.Full {
		p = &modelled{owner: owner, producer: producer, newest: sequence, lost: -1, entries: make(map[int64]*flight)}
		m.series[key] = p
		m.use(p)
	}
	want := m.verdict(p, sequence, f, owner)
	if verdict != want && !m.excused(p, sequence, verdict) {
		rt.Fatalf("%s-%s %d: %v, want %v", owner, producer, sequence, verdict, want)
	}
	switch verdict {
	case dedupe.Fresh:
		entry.of, entry.ticket = p, ticket
		p.entries[sequence] = entry
		p.flights++
		p.newest = max(p.newest, sequence)
		m.tickets = append(m.tickets, entry)
		m.use(p)
	case dedupe.OutOfWindow:
		if old != nil {
			p.lost = max(p.lost, sequence)
		}
	case dedupe.Repeated:
		if old.answer.Result == 0 {
			old.waiting++
		} else if len(now) != 1 || now[0] != old.answer {
			rt.Fatalf("%s-%s %d: %+v, want %+v", owner, producer, sequence, now, old.answer)
		}
	default:
	}
	if wantNow := verdict == dedupe.Repeated && old.answer.Result != 0; (len(now) > 0) != wantNow {
		rt.Fatalf("%s-%s %d: answered %+v", owner, producer, sequence, now)
	}
}

// verdict is what the model would say. Nil is a producer for which there was no
// room.
func (m *model) verdict(p *modelled, sequence int64, f dedupe.Fingerprint, owner string) dedupe.Verdict {
	if p == nil {
		of := 0
		for _, q := range m.series {
			if q.owner == owner {
				of++
			}
		}
		// As long as anything is idle there is room.
		if of >= m.cfg.Producers || !m.ample && len(m.idle) == 0 {
			return dedupe.Full
		}
		return dedupe.Fresh
	}
	switch e := p.entries[sequence]; {
	case sequence <= p.newest-int64(m.cfg.Window) || sequence <= p.lost:
		return dedupe.OutOfWindow
	case e == nil:
		return dedupe.Fresh
	case e.print != f:
		return dedupe.Conflict
	default:
		return dedupe.Repeated
	}
}

// excused reports whether a want of room explains the verdict. The newest four
// sequences are never out of the window, however little room there is.
func (m *model) excused(p *modelled, sequence int64, got dedupe.Verdict) bool {
	return !m.ample && p != nil && got == dedupe.OutOfWindow && sequence <= p.newest-4
}

// use puts a producer that has nothing in flight behind those that are idle.
func (m *model) use(p *modelled) {
	if p == nil {
		return
	}
	p.used = m.clock.Now()
	if i := slices.Index(m.idle, p); i >= 0 {
		m.idle = slices.Delete(m.idle, i, i+1)
	}
	if p.flights == 0 {
		m.idle = append(m.idle, p)
	}
}

// dropped lets the model forget what the Memory says that it has forgotten: those
// that were idle for longest, because of their age first.
func (m *model) dropped(rt *rapid.T, used *modelled) {
	s := m.memory.Stats()
	aged, forgotten := s.Aged-m.seen.Aged, s.Forgotten-m.seen.Forgotten
	m.seen = s
	if m.ample && forgotten > 0 {
		rt.Fatalf("%d were forgotten", forgotten)
	}
	for i := range aged + forgotten {
		if len(m.idle) == 0 || m.idle[0] == used {
			rt.Fatalf("%d too many were dropped", aged+forgotten-i)
		}
		p := m.idle[0]
		old := m.clock.Now().Sub(p.used) >= modelAge
		if i < aged && !old {
			rt.Fatalf("%s-%s was dropped before its time", p.owner, p.producer)
		}
		m.idle = m.idle[1:]
		delete(m.series, p.owner+p.producer)
	}
	if aged < 4 && len(m.idle) > 0 && m.clock.Now().Sub(m.idle[0].used) >= modelAge {
		rt.Fatalf("%s-%s was not dropped", m.idle[0].owner, m.idle[0].producer)
	}
}

func (m *model) finish(rt *rapid.T) {
	if len(m.tickets) == 0 {
		rt.Skip("nothing is in flight")
	}
	i := rapid.IntRange(0, len(m.tickets)-1).Draw(rt, "ticket")
	a := dedupe.Answer{Partition: -1, Offset: -1}
	switch a.Result = dedupe.Result(rapid.IntRange(1, 4).Draw(rt, "result")); a.Result {
	case dedupe.Written:
		a = written(int64(rapid.IntRange(0, 1000).Draw(rt, "offset")))
	case dedupe.Unknown:
		a.Err = record.ErrUnknownOutcome
	default:
	}
	m.land(rt, i, a)
}

// land finishes a sequence that is in flight.
func (m *model) land(rt *rapid.T, i int, a dedupe.Answer) {
	e := m.tickets[i]
	m.tickets = slices.Delete(m.tickets, i, i+1)
	m.memory.Finish(e.ticket, a)
	a.Duplicate = true
	if len(e.answered) != e.waiting {
		rt.Fatalf("%d were answered of %d", len(e.answered), e.waiting)
	}
	for _, got := range e.answered {
		if got != a {
			rt.Fatalf("got %+v, want %+v", got, a)
		}
	}
	e.answer = a
	if a.Result == dedupe.Failed {
		delete(e.of.entries, e.sequence)
	}
	e.of.flights--
	e.of.holds = e.of.holds || a.Result != dedupe.Failed
	m.use(e.of)
	if p := e.of; p.flights == 0 && !p.holds {
		m.idle = m.idle[:len(m.idle)-1] // it is the last
		delete(m.series, p.owner+p.producer)
	}
}

// check holds the Memory to its bounds.
func (m *model) check(rt *rapid.T) {
	s := m.memory.Stats()
	owners := make(map[string]int)
	for _, p := range m.series {
		owners[p.owner]++
		if owners[p.owner] > m.cfg.Producers {
			rt.Fatalf("%s has %d producers", p.owner, owners[p.owner])
		}
	}
	if s.Entries > m.cfg.Entries || s.Producers != len(m.series) || s.Owners != len(owners) {
		rt.Fatal(fmt.Sprintf("%+v, want %d producers of %d owners", s, len(m.series), len(owners)))
	}
}

// end lets everything grow old, and looks whether anything is left.
func (m *model) end(rt *rapid.T) {
	m.clock.advance(modelAge)
	for i := range 4 {
		verdict, ticket := m.memory.Begin("z", "z", int64(i), printOf(0), nil)
		if verdict != dedupe.Fresh {
			rt.Fatalf("in the end: %v", verdict)
		}
		m.memory.Finish(ticket, written(0))
	}
	if s := m.memory.Stats(); s.Producers != 1 || s.Owners != 1 || s.Entries != 8+min(4, m.cfg.Window) {
		rt.Fatalf("in the end: %+v", s)
	}
}
