package kafka

import (
	"time"
)

type laneState int8

const (
	// idle lanes have nothing to send.
	idle laneState = iota
	// listed lanes wait for their link to come round.
	listed
	// flying lanes have a batch on its way.
	flying
	// parked lanes are in trouble, and wait for what the brokers say next about
	// the topic.
	parked
)

// lane is what is on its way to one partition, batch by batch: the next one is
// sent when the fate of the one before is known, or was given up, so that order
// holds whatever happens. All of it is guarded by the mutex of its outbox.
type lane struct {
	o         *outbox
	partition int32
	state     laneState
	link      *link // the last one that it was listed at
	numbering       // of the next batch

	sending *batch // the one on its way, or the one to be sent again
	first   *batch // the ones behind it
	last    *batch

	failures int       // in a row
	since    time.Time // of the last failure
}

func (ln *lane) append(b *batch) {
	if ln.last != nil {
		ln.last.next = b
	} else {
		ln.first = b
	}
	ln.last = b
}

func (ln *lane) prepend(b *batch) {
	b.next = ln.first
	ln.first = b
	if ln.last == nil {
		ln.last = b
	}
}

// pop takes the first batch that was not sent yet.
func (ln *lane) pop() *batch {
	b := ln.first
	if b == nil {
		return nil
	}
	ln.first = b.next
	b.next = nil
	if ln.first == nil {
		ln.last = nil
	}
	return b
}

// list has the leader's link come for the lane, or parks it.
func (ln *lane) list() {
	id := ln.o.leader(ln.partition)
	if id < 0 {
		ln.park()
		return
	}
	if ln.link == nil || ln.link.id != id {
		ln.link = ln.o.p.link(id)
	}
	ln.state = listed
	ln.link.add(ln)
}

// park waits until the brokers have told about the topic again, which they are
// asked after a back-off.
func (ln *lane) park() {
	o := ln.o
	ln.state = parked
	ln.failures++
	ln.since = time.Now()
	if o.dead {
		return
	}
	if !o.watching {
		o.watching = true
		o.p.c.meta.watch(o.topic, o)
	}
	o.p.c.meta.refresh(o.topic, backoff(ln.failures, leastBackoff, mostBackoff))
}

const (
	leastBackoff = 100 * time.Millisecond
	mostBackoff  = time.Second
)

// depart returns the batch that l is to send next for the lane, if there is one.
func (ln *lane) depart(l *link) *batch {
	ln.o.mu.Lock()
	defer ln.o.mu.Unlock()
	ln.trim()
	switch {
	case ln.o.dead:
		return nil
	case ln.sending == nil && ln.first == nil:
		ln.state = idle // all of it has expired
		return nil
	case ln.o.leader(ln.partition) != l.id:
		ln.list()
		return nil
	}
	if b := ln.sending; b == nil || !b.numbered {
		if !ln.adopt() {
			ln.park()
			return nil
		}
		if b == nil {
			ln.sending = ln.pop()
		}
		ln.sending.number(ln.numbering, ln.o.p.codec)
	}
	ln.state = flying
	return ln.sending
}

// trim leaves out what has its outcome of the batch that is to be sent again. A
// batch that may have been written stays what it was, because only then does
// sending it again tell.
func (ln *lane) trim() {
	b := ln.sending
	switch {
	case b == nil || b.reported == 0:
	case b.reported == len(b.entries):
		ln.giveUp()
	case !b.open:
		n, size := b.reported, b.drop(b.reported)
		b.reported = 0
		b.renew()
		ln.o.leave(n, size)
	}
}

// adopt goes over to the producer's present id and epoch. The caller knows that
// no batch is numbered otherwise. It reports false if there is no id.
func (ln *lane) adopt() bool {
	if !ln.o.p.idempotent {
		return true
	}
	id, epoch, ok := ln.o.p.identity.current()
	if !ok {
		ln.o.p.identity.want()
		return false
	}
	if ln.id != id || ln.epoch != epoch {
		ln.numbering = numbering{id: id, epoch: epoch}
	}
	return true
}

// giveUp drops the batch that was sent or tried, all records of which have their
// outcome. If it may have been written, or may still be, the ones behind it
// cannot go on where it ended, nor where it began.
func (ln *lane) giveUp() {
	b := ln.sending
	if b.open {
		ln.o.p.identity.bump(ln.numbering)
	}
	ln.sending = nil
	ln.o.leave(len(b.entries), b.size)
}

// proceed goes on with the next batch.
func (ln *lane) proceed() {
	if ln.sending == nil && ln.first == nil {
		ln.state = idle
		return
	}
	ln.list()
}
