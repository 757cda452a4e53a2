package gateway

import "github.com/kafkaws/kafkaws/record"

// encoder makes the frames of records that go to one session alone. Its memory is
// used again by the next call.
type encoder struct {
	session *Session
	filter  Filter
	box     timebox
	payload []byte
	frame   []byte
	out     []byte
	sent    []int64
}

// encode makes frames of records until there is enough for a write. It returns
// the frames, the offsets of the records that are among them, and how many of the
// records it has looked at.
func (e *encoder) encode(records []record.Record) (frames []byte, sent []int64, n int) {
	s := e.session
	var d *deflater
	if s.encoding.Deflate.On {
		idle := s.pool.deflatersFor(s.encoding.Deflate)
		d = idle.Get().(*deflater)
		defer idle.Put(d)
	}
	g := gatherer{batch: s.talking != nil && s.talking.batch, first: s.encoding.firstByte(), out: e.out[:0]}
	e.sent = e.sent[:0]
	for ; n < len(records) && !g.full(); n++ {
		r := records[n]
		offset := r.Offset
		if !e.add(&g, d, &r) {
			continue
		}
		e.sent = append(e.sent, offset)
	}
	frames = g.bytes()
	if e.out = g.out; cap(e.out) > 4*gatherRoom {
		e.out = nil // one record was large
	}
	return frames, e.sent, n
}

// add adds a record's frame, and reports whether there is one.
func (e *encoder) add(g *gatherer, d *deflater, r *record.Record) bool {
	s := e.session
	keep, err := s.encoding.Chain.run(&e.box, r)
	if err == nil && keep && e.filter != nil {
		keep, _, _ = e.filter.Match(r, nil)
	}
	if err == nil && keep {
		e.payload, err = s.encoding.append(e.payload[:0], r)
	}
	if err != nil {
		s.pool.cfg.Hub.cfg.skipped(r.Topic, err)
	}
	if err != nil || !keep {
		return false
	}
	first, payload := d.frame(s.encoding.firstByte(), e.payload)
	e.frame = appendFrame(e.frame[:0], first, payload)
	g.add(e.frame)
	return true
}
