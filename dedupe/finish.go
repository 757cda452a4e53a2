package dedupe

// Finish says what became of the record that Begin gave the ticket for. It must
// be called once for every Fresh, with the result that is certain: Failed is
// for records that were not written and will not be, and everything in doubt is
// Unknown. It calls those who wait for the answer, without any lock held, and
// returns when they have. A producer all of whose records have Failed is forgotten
// with the last of them. A second call changes nothing as long as the sequence
// is remembered.
func (m *Memory) Finish(t Ticket, a Answer) {
	now := m.now()
	p := t.of
	m.mu.Lock()
	if p.ring.covers(t.sequence) {
		e := p.ring.at(t.sequence)
		if e.state != isInFlight {
			m.mu.Unlock()
			return
		}
		e.settle(a)
	}
	waiting := p.waiting[t.sequence]
	if waiting != nil {
		delete(p.waiting, t.sequence)
		if len(p.waiting) == 0 {
			p.waiting = nil
		}
	}
	p.flights--
	p.holds = p.holds || a.Result != Failed
	if p.flights == 0 && !p.holds {
		m.drop(p)
	} else {
		m.touch(p, now)
	}
	m.mu.Unlock()

	a.Duplicate = true
	for _, done := range waiting {
		done(a)
	}
}
