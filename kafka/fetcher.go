package kafka

import (
	"cmp"
	"slices"
	"time"
)

// responseBytes bounds what a broker returns at a time, but for a first batch
// that is larger.
const responseBytes = 8 << 20

const (
	// crowd is how many partitions a loop may have before those that bring
	// records are read apart from the others.
	crowd = 100
	// perPartition is about the time that a broker and we need for each
	// partition that a request names.
	perPartition = 4 * time.Microsecond
)

// loop fetches, over and over, from one broker for one source: every partition
// that the broker leads and that a ready sink wants, in one request, but for
// those that the express reads.
//
// A loop and its express may ask for a partition at the same time. What both get
// is the same log, and who delivers second leaves out what the first delivered:
// a partition takes records at its next offset only.
type loop struct {
	src  *source
	id   int32
	wake chan struct{}

	// Guarded by src.mu.
	parts   map[*partition]struct{}
	polling bool // not waiting for something to fetch
	// ahead are the partitions that the express reads. In a crowd they stay
	// there until the time that is noted, which every record puts off;
	// otherwise, or without a time, until the loop's next request.
	ahead   map[*partition]time.Time
	hurries int // how often any was added to ahead because it must not wait
	express *express
}

// want is what was asked of one partition.
type want struct {
	p        *partition
	gen      int
	offset   int64
	epoch    int32
	maxBytes int32
}

type topicPartition struct {
	topic string
	id    int32
}

// ask is one request's content. Several readings may want the same partition,
// which can stand in a request only once, at the smallest of their offsets.
type ask map[topicPartition][]want

// foremost leaves of each partition's readings only those that are furthest on.
// It reports whether that left out any. A reading that has much to catch up on
// must not keep the others from the newest records: they get every other
// request.
func (a ask) foremost() bool {
	left := false
	for key, ws := range a {
		most := slices.MaxFunc(ws, func(x, y want) int { return cmp.Compare(x.offset, y.offset) }).offset
		a[key] = slices.DeleteFunc(ws, func(w want) bool { return w.offset < most })
		left = left || len(a[key]) < len(ws)
	}
	return left
}

func newLoop(s *source, id int32) *loop {
	return &loop{src: s, id: id, wake: make(chan struct{}, 1), parts: map[*partition]struct{}{}, ahead: map[*partition]time.Time{}}
}

// poke wakes the loop if it has nothing to fetch. The caller holds src.mu.
func (l *loop) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// hurry has a partition fetched without delay. The caller holds src.mu.
func (l *loop) hurry(p *partition) {
	l.poke()
	if !l.polling {
		return
	}
	l.hurries++
	if _, ok := l.ahead[p]; !ok {
		var until time.Time
		if len(l.ahead) < crowd {
			// Who begins to read often gets records soon, and a request for a
			// crowd is slow.
			until = time.Now().Add(l.src.c.timings.busy)
		}
		l.ahead[p] = until
	}
	l.drive()
}

// advance has the express read partitions that brought records, if there is a
// crowd.
func (l *loop) advance(busy []*partition) {
	if len(busy) == 0 {
		return
	}
	l.src.mu.Lock()
	defer l.src.mu.Unlock()
	if len(l.parts) <= crowd {
		return
	}
	until := time.Now().Add(l.src.c.timings.busy)
	for _, p := range busy {
		if p.loop == l {
			l.ahead[p] = until
		}
	}
	l.drive()
}

// drive starts or wakes the express. The caller holds src.mu.
func (l *loop) drive() {
	if l.express == nil {
		e := &express{loop: l, wake: make(chan struct{}, 1)}
		if !l.src.c.spawn(e.run) {
			return
		}
		l.express = e
	}
	l.express.poke()
}

// begin lists the partitions for the loop's next request; ok is false when the
// loop has none any more and ends.
func (l *loop) begin() (parts []*partition, crowded, ok bool) {
	s := l.src
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(l.parts) == 0 {
		delete(s.loops, l.id)
		if l.express != nil {
			l.express.poke()
		}
		return nil, false, false
	}
	crowded = len(l.parts) > crowd
	now := time.Now()
	for p, until := range l.ahead {
		if !crowded || now.After(until) {
			delete(l.ahead, p)
		}
	}
	parts = make([]*partition, 0, len(l.parts))
	for p := range l.parts {
		if _, ahead := l.ahead[p]; !ahead {
			parts = append(parts, p)
		}
	}
	l.polling = true
	return parts, crowded, true
}

// rest notes that there is nothing to fetch.
func (l *loop) rest() {
	l.src.mu.Lock()
	l.polling = false
	l.src.mu.Unlock()
}

// run is the loop's goroutine.
func (l *loop) run() {
	c := l.src.c
	ln := newLine(l)
	defer ln.close()
	for c.ctx.Err() == nil {
		parts, crowded, ok := l.begin()
		if !ok {
			return
		}
		asks, alone := gather(parts)
		if len(asks) == 0 {
			l.rest()
			select {
			case <-l.wake:
			case <-c.ctx.Done():
			}
			continue
		}
		if pause := ln.round(asks, alone, l.wait(alone, crowded)); pause > 0 {
			sleep(c.ctx, pause)
		}
	}
}

// wait returns how long the broker may wait for records to come.
func (l *loop) wait(alone, crowded bool) time.Duration {
	switch {
	case alone:
		return l.src.c.timings.shortPoll // partitions that were left out wait for it
	case crowded:
		return l.src.c.timings.crowdPoll
	}
	return l.src.c.timings.longPoll
}

// gather makes up a request for the partitions whose sinks have room; or for one
// that has to be asked for alone.
func gather(parts []*partition) (asks ask, alone bool) {
	asks = make(ask, len(parts))
	ready := make(map[*reading]bool, len(parts))
	for _, p := range parts {
		r := p.reading
		r.mu.Lock()
		if r.stopped || p.state != active || !p.announced {
			r.mu.Unlock()
			continue
		}
		ok, seen := ready[r]
		if !seen {
			ok = r.sink.Ready()
			ready[r] = ok
		}
		w := want{p: p, gen: p.gen, offset: p.next, epoch: p.epoch, maxBytes: p.maxBytes}
		only := p.alone
		r.mu.Unlock()
		if !ok {
			continue
		}
		key := topicPartition{r.topic, p.id}
		if only {
			return ask{key: {w}}, true
		}
		asks[key] = append(asks[key], w)
	}
	return asks, false
}
