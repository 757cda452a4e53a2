package dedupe

import (
	"strings"
	"time"
)

// Verdict is what is to be done with a record.
type Verdict uint8

// The verdicts of Begin.
const (
	// Fresh: the record is new. The caller goes on to publish it, and calls
	// Finish with the ticket, once, whatever becomes of it.
	Fresh Verdict = iota + 1
	// Repeated: the record was there before. The answer comes by itself.
	Repeated
	// OutOfWindow: nobody knows whether the record was written. It must not be.
	OutOfWindow
	// Conflict: another record has that sequence. It must not be written.
	Conflict
	// Full: there is no room to remember the record: the owner has as many
	// producers as it may, or the memory is in use for records in flight. It
	// must not be written as one that is numbered. It may succeed later.
	Full
)

// String returns the verdict in a word or two.
func (v Verdict) String() string {
	switch v {
	case Fresh:
		return "fresh"
	case Repeated:
		return "repeated"
	case OutOfWindow:
		return "out of window"
	case Conflict:
		return "conflict"
	case Full:
		return "full"
	}
	return "none"
}

// Ticket is for Finish: it stands for a sequence in flight.
type Ticket struct {
	of       *producer
	sequence int64
}

// Begin judges a record before it is published. The owner is whom the series
// belongs to. It must not be empty, nor one that clients share who do not trust
// each other: they would get each other's answers.
//
// Where the verdict is Repeated, done is called with the answer, once: before
// Begin returns if the answer is known, else by Finish, which may be long after
// the session that asks has ended. It is called without any lock held, and must
// not block. With every other verdict done is not called. How many wait for an
// answer is for the caller to bound.
func (m *Memory) Begin(owner, producer string, sequence int64, f Fingerprint, done func(Answer)) (Verdict, Ticket) {
	if sequence < 0 {
		return OutOfWindow, Ticket{}
	}
	now := m.now()
	m.mu.Lock()
	verdict, ticket, known := m.judge(name{owner, producer}, sequence, f, done, now)
	m.mu.Unlock()
	if known.Result != 0 {
		done(known)
	}
	return verdict, ticket
}

// judge is Begin with the lock held. The answer is that of a sequence that is
// finished.
func (m *Memory) judge(of name, sequence int64, f Fingerprint, done func(Answer), now time.Duration) (Verdict, Ticket, Answer) {
	p := m.producers[of]
	if p != nil {
		m.touch(p, now)
		m.sweep(now, sweepStep)
	} else {
		m.sweep(now, sweepStep)
		if p = m.admit(of, sequence, now); p == nil {
			return Full, Ticket{}, Answer{}
		}
	}
	if !m.cover(p, sequence) {
		return OutOfWindow, Ticket{}, Answer{}
	}
	switch e := p.ring.at(sequence); {
	case e.state == isFree:
		*e = entry{fingerprint: f, state: isInFlight}
		p.flights++
		p.idle.remove()
		return Fresh, Ticket{p, sequence}, Answer{}
	case e.fingerprint != f:
		return Conflict, Ticket{}, Answer{}
	case e.state == isInFlight:
		if p.waiting == nil {
			p.waiting = make(map[int64][]func(Answer))
		}
		p.waiting[sequence] = append(p.waiting[sequence], done)
		return Repeated, Ticket{}, Answer{}
	default:
		return Repeated, Ticket{}, e.answer()
	}
}

// cover sees to it that the sequence has an entry. It reports false where it is
// out of the window.
func (m *Memory) cover(p *producer, sequence int64) bool {
	window, r := int64(m.cfg.Window), &p.ring
	if sequence < r.floor {
		return false
	}
	if need := r.needs(window, sequence); need > int64(len(r.slots)) {
		m.widen(p, need)
	}
	if sequence > r.newest {
		r.advance(window, sequence)
		return true
	}
	return r.reach(sequence)
}

// admit makes a producer that begins with the sequence, nil where there is no
// room for it.
func (m *Memory) admit(of name, sequence int64, now time.Duration) *producer {
	if m.owners[of.owner] >= m.cfg.Producers {
		m.sweep(now, len(m.producers)) // some of them may be too old to count
		if m.owners[of.owner] >= m.cfg.Producers {
			return nil
		}
	}
	width := min(firstWidth, m.cfg.Window)
	if !m.makeRoom(of.cost()+width, 0, true, nil) {
		return nil
	}
	// The caller's names may be parts of a message.
	of = name{strings.Clone(of.owner), strings.Clone(of.producer)}
	p := &producer{name: of, ring: newRing(width, int64(m.cfg.Window), sequence), used: now}
	p.idle.of, p.width.of = p, p
	m.used += of.cost() + width
	m.producers[of] = p
	m.owners[of.owner]++
	m.widths[class(width)].push(&p.width)
	return p
}

// touch notes that the producer was used.
func (m *Memory) touch(p *producer, now time.Duration) {
	p.used = now
	if p.flights == 0 {
		p.idle.remove()
		m.idle.push(&p.idle)
	}
}
