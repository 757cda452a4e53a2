package dialog

import (
	"errors"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/dedupe"
	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/record"
)

// keptBytes is up to which size the memory of a record is used again.
const keptBytes = 64 << 10

// flight is a record between its request and its answer.
type flight struct {
	dialog  *Dialog
	session *gateway.Session
	id      []byte
	record  record.Record
	bytes   []byte // of the record
	// numbered tells that the record has a number, and ticket, of one that is
	// fresh, whose it is.
	numbered bool
	ticket   dedupe.Ticket
	// landed and repeated are the methods, bound once.
	landed   func(record.Outcome)
	repeated func(dedupe.Answer)
}

// flight returns a flight for a request.
func (d *Dialog) flight(s *gateway.Session, q *codec.Request) *flight {
	f, _ := d.flights.Get().(*flight)
	if f == nil {
		f = new(flight)
		f.landed, f.repeated = f.land, f.repeat
	}
	f.dialog, f.session = d, s
	f.id = append(f.id[:0], q.ID...)
	f.record, f.bytes = q.Record.CopyTo(f.bytes[:0])
	return f
}

// done takes a flight back. A record that may still be on its way keeps its memory.
func (f *flight) done(again bool) {
	d := f.dialog
	if !again {
		f.bytes = nil
	}
	if cap(f.bytes) > keptBytes {
		f.bytes = nil
	}
	f.dialog, f.session, f.record, f.numbered, f.ticket = nil, nil, record.Record{}, false, dedupe.Ticket{}
	d.flights.Put(f)
}

// publish writes a record.
func (d *Dialog) publish(s *gateway.Session, q *codec.Request) {
	f := d.flight(s, q)
	if q.Producer != "" {
		d.numbers = true
		// A repeat waits like a record of its own.
		size := f.record.Size()
		if !s.Reserve(size) {
			f.answer(record.Outcome{Err: gateway.ErrEnding}, false)
			f.done(true)
			return
		}
		verdict, ticket := d.memory.Begin(d.owner, q.Producer, q.Sequence, d.memory.Fingerprint(&f.record), f.repeated)
		switch verdict {
		case dedupe.Repeated:
			return // answered, or about to be
		case dedupe.Fresh:
			s.Release(size) // Publish reserves for itself
			f.numbered, f.ticket = true, ticket
		case dedupe.OutOfWindow, dedupe.Conflict, dedupe.Full:
			s.Release(size)
			f.refuse(verdict)
			f.done(true)
			return
		}
	}
	s.Publish(&f.record, f.landed)
}

// land is the producer's answer.
func (f *flight) land(o record.Outcome) {
	if f.numbered {
		a := dedupe.AnswerTo(o, o.Timestamp)
		if errors.Is(o.Err, gateway.ErrDiscarded) {
			a = dedupe.Answer{Result: dedupe.Discarded}
		}
		f.dialog.memory.Finish(f.ticket, a)
	}
	f.answer(o, false)
	f.done(o.Err == nil)
}

// repeat answers for a record that an earlier request has had written.
func (f *flight) repeat(a dedupe.Answer) {
	s, size := f.session, f.record.Size()
	o := record.Outcome{Partition: a.Partition, Offset: a.Offset, Timestamp: a.Timestamp, Err: a.Err}
	switch a.Result {
	case dedupe.Discarded:
		o.Err = gateway.ErrDiscarded
	case dedupe.Unknown:
		o.Err = record.ErrUnknownOutcome
	case dedupe.Written, dedupe.Failed:
	}
	f.numbered = true
	f.answer(o, true)
	f.done(true)
	s.Release(size)
}

// answer tells the client what became of the record.
func (f *flight) answer(o record.Outcome, duplicate bool) {
	switch {
	case o.Err == nil:
		f.dialog.reply(f.session, &codec.Published{ID: f.id, Partition: o.Partition, Offset: o.Offset, Timestamp: o.Timestamp, Duplicate: duplicate})
	case errors.Is(o.Err, gateway.ErrDiscarded):
		f.dialog.reply(f.session, &codec.Discarded{ID: f.id})
	default:
		e := &codec.Failure{ID: f.id, Outcome: codec.OutcomeFailed}
		e.Code, e.Message = failure(o.Err)
		if e.Code == codec.CodeUnknownOutcome {
			// What is remembered of a number, nobody gets to know later.
			e.Outcome, e.Final = codec.OutcomeUnknown, f.numbered
		}
		e.KafkaError = kafkaError(o.Err)
		f.dialog.reply(f.session, e)
	}
}

// refuse answers for a record whose number is not as it should be.
func (f *flight) refuse(v dedupe.Verdict) {
	e := &codec.Failure{ID: f.id, Outcome: codec.OutcomeFailed}
	switch v {
	case dedupe.OutOfWindow:
		e.Code, e.Message, e.Outcome = codec.CodeOutOfWindow, "the sequence is too far behind the newest of its producer", codec.OutcomeUnknown
	case dedupe.Conflict:
		e.Code, e.Message = codec.CodeConflict, "the sequence is that of another record"
	case dedupe.Full, dedupe.Fresh, dedupe.Repeated:
		e.Code, e.Message = codec.CodeTooManyProducers, "there are too many producers"
	}
	f.dialog.reply(f.session, e)
}
