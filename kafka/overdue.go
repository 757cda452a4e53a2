package kafka

import (
	"fmt"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// due is a record that is not waited for any longer.
type due struct {
	done func(record.Outcome)
	// open says that it may have been written, or may still be.
	open bool
	// why is the broker's reason for not having written it, if it told one.
	why error
}

// report tells that the record failed for a reason, or that its outcome is unknown.
func (d due) report(reason error) {
	out := record.Outcome{Partition: record.AnyPartition, Offset: -1}
	if d.open {
		out.Err = fmt.Errorf("writing a record: no acknowledgement came in time: %w", record.ErrUnknownOutcome)
	} else {
		out.Err = named(fmt.Errorf("writing a record: it could not be written in time: %w", reason), d.why)
	}
	d.done(out)
}

// expire reports the records whose time is over by now: as of unknown outcome what
// may have been written, and as failed what never was on its way, or was turned
// away by a broker each time. It returns the next deadline, if there is one.
func (o *outbox) expire(now time.Duration) (next time.Duration, more bool) {
	o.mu.Lock()
	over := o.overdue(func(e *entry) bool {
		if e.deadline <= now {
			return true
		}
		if !more || e.deadline < next {
			next, more = e.deadline, true
		}
		return false
	})
	o.mu.Unlock()
	for _, d := range over {
		d.report(record.ErrUnavailable)
	}
	return next, more
}

// abandon reports everything that has no outcome yet, as expire does. Nothing is
// sent any more. It tells whether there was something, and whether any of it may
// have been written.
func (o *outbox) abandon() (left, open bool) {
	o.mu.Lock()
	o.dead = true
	if o.watching {
		o.watching = false
		o.p.c.meta.unwatch(o.topic, o)
	}
	// Before the lock is given back: a batch that lands later is dropped.
	over := o.overdue(func(*entry) bool { return true })
	o.mu.Unlock()
	for _, d := range over {
		left, open = true, open || d.open
		d.report(record.ErrClosed)
	}
	return left, open
}

// overdue takes the records out, of each lane the first ones, for which over says
// that they have waited long enough. The caller holds o.mu.
func (o *outbox) overdue(over func(*entry) bool) []due {
	if o.gate.records == 0 {
		return nil
	}
	var all []due
	for _, ln := range o.lanes {
		if b := ln.sending; b != nil {
			// An attempt without an answer leaves the fate open, be it the one
			// of this moment or an earlier one. What is reported as failed here
			// is left out when the batch is sent again: see trim.
			open := b.open || ln.state == flying
			for b.reported < len(b.entries) && over(&b.entries[b.reported]) {
				all = append(all, due{b.entries[b.reported].done, open, b.why})
				b.reported++
			}
			if b.reported == len(b.entries) && ln.state != flying {
				ln.giveUp()
			}
		}
		// Those behind it were not sent, or not written as parts of a batch that
		// was divided.
		for b := ln.first; b != nil && over(&b.entries[0]); b = ln.first {
			n := 1
			for n < len(b.entries) && over(&b.entries[n]) {
				n++
			}
			for i := range b.entries[:n] {
				all = append(all, due{b.entries[i].done, false, b.why})
			}
			o.leave(n, b.drop(n))
			if len(b.entries) > 0 {
				break
			}
			ln.pop()
		}
	}
	return all
}
