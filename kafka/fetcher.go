package kafka

import (
	"cmp"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// responseBytes bounds what a broker returns at a time, but for a first batch
// that is larger.
const responseBytes = 8 << 20

// loop fetches, over and over, from one broker for one source: every partition
// that the broker leads and that a ready sink wants, in one request. A partition
// that is added while a request waits at the broker for records is read by the
// joiner until the next request.
//
// A loop and its joiner may ask for a partition at the same time. What both get
// is the same log, and who delivers second leaves out what the first delivered:
// a partition takes records at its next offset only.
type loop struct {
	src  *source
	id   int32
	wake chan struct{}

	// Guarded by src.mu.
	parts   map[*partition]struct{}
	polling bool                    // a request is under way or being made
	joining map[*partition]struct{} // wanted at once, and not part of it
	joiner  *joiner
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
	return &loop{src: s, id: id, wake: make(chan struct{}, 1), parts: map[*partition]struct{}{}, joining: map[*partition]struct{}{}}
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
	l.joining[p] = struct{}{}
	if l.joiner == nil {
		j := &joiner{loop: l, wake: make(chan struct{}, 1)}
		if !l.src.c.spawn(j.run) {
			return
		}
		l.joiner = j
	}
	select {
	case l.joiner.wake <- struct{}{}:
	default:
	}
}

// begin lists the loop's partitions for the next request; nil ends the loop.
func (l *loop) begin() []*partition {
	s := l.src
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(l.parts) == 0 {
		delete(s.loops, l.id)
		if l.joiner != nil {
			l.joiner.poke()
		}
		return nil
	}
	parts := make([]*partition, 0, len(l.parts))
	for p := range l.parts {
		parts = append(parts, p)
	}
	clear(l.joining)
	l.polling = true
	return parts
}

// rest notes that no request is under way.
func (l *loop) rest() {
	l.src.mu.Lock()
	l.polling = false
	l.src.mu.Unlock()
}

// run is the loop's goroutine.
func (l *loop) run() {
	c := l.src.c
	conf := fetchSettings(c.base)
	var cn *conn
	var addr string
	failures := 0
	turn := 0
	defer func() {
		if cn != nil {
			cn.close()
		}
	}()
	for c.ctx.Err() == nil {
		parts := l.begin()
		if parts == nil {
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
		short := alone
		if turn++; turn%2 == 0 && asks.foremost() {
			short = true // somebody else's records are waiting
		}
		var err error
		if cn == nil {
			addr = c.meta.broker(l.id)
			cn, err = l.open(addr, conf)
		}
		var answer *sarama.FetchResponse
		if err == nil {
			answer, err = cn.Fetch(l.src.fill(asks, l.wait(short)))
		}
		if err == nil {
			failures = 0
			c.health.answered(addr)
			if !deliver(answer, asks, alone) {
				// Nothing that was asked for was answered.
				l.pause(100 * time.Millisecond)
			}
			continue
		}
		if c.ctx.Err() != nil {
			return
		}
		wasOpen := cn != nil
		if wasOpen {
			cn.close()
			cn = nil
		}
		if wasOpen && garbled(err) {
			blame(asks, alone, err)
			continue
		}
		failures++
		if addr != "" {
			c.health.failed(addr, wasOpen, err)
		}
		for _, p := range parts {
			c.meta.refresh(p.reading.topic, 0)
		}
		l.pause(backoff(failures, 100*time.Millisecond, time.Second))
	}
}

// pause waits. What is added meanwhile has to wait as well: the broker is not
// well.
func (l *loop) pause(d time.Duration) {
	l.rest()
	sleep(l.src.c.ctx, d)
}

func (l *loop) open(addr string, conf *sarama.Config) (*conn, error) {
	if addr == "" {
		return nil, sarama.ErrBrokerNotFound
	}
	return open(l.src.c.ctx, addr, conf)
}

// wait returns how long the broker may wait for records to come.
func (l *loop) wait(short bool) time.Duration {
	if short {
		return l.src.c.timings.shortPoll // partitions that were left out wait for it
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

// request returns an empty fetch request in the newest version that is allowed.
func (s *source) request(wait time.Duration) *sarama.FetchRequest {
	req := &sarama.FetchRequest{
		MaxWaitTime: int32(wait / time.Millisecond), MinBytes: 1, MaxBytes: responseBytes,
		// No fetch session: the partitions change too often for one to pay.
		SessionID: 0, SessionEpoch: -1,
	}
	if s.committed {
		req.Isolation = sarama.ReadCommitted
	}
	switch v := s.c.version; {
	case v.IsAtLeast(sarama.V2_7_0_0):
		req.Version = 12
	case v.IsAtLeast(sarama.V2_3_0_0):
		req.Version = 11
	case v.IsAtLeast(sarama.V2_1_0_0):
		req.Version = 10
	case v.IsAtLeast(sarama.V2_0_0_0):
		req.Version = 8
	case v.IsAtLeast(sarama.V1_1_0_0):
		req.Version = 7
	case v.IsAtLeast(sarama.V1_0_0_0):
		req.Version = 6
	default:
		req.Version = 5
	}
	return req
}

// fill writes down what is asked for.
func (s *source) fill(asks ask, wait time.Duration) *sarama.FetchRequest {
	req := s.request(wait)
	for key, ws := range asks {
		first := ws[0]
		for _, w := range ws[1:] {
			if w.offset < first.offset {
				first.offset = w.offset
			}
			first.epoch = max(first.epoch, w.epoch)
			first.maxBytes = max(first.maxBytes, w.maxBytes)
		}
		req.AddBlock(key.topic, key.id, first.offset, first.maxBytes, first.epoch)
		req.MaxBytes = max(req.MaxBytes, first.maxBytes)
	}
	return req
}

// deliver hands an answer to the partitions. It reports whether there was
// anything in it for them, or the broker asked us to slow down.
func deliver(answer *sarama.FetchResponse, asks ask, alone bool) bool {
	throttled := answer.ThrottleTime > 0
	found := false
	for key, ws := range asks {
		b := answer.GetBlock(key.topic, key.id)
		if b == nil {
			continue
		}
		found = true
		for _, w := range ws {
			w.p.block(b, w, alone, throttled)
		}
	}
	return found || throttled
}

// blame finds whose part of an answer made no sense: all of them are asked for
// one by one then.
func blame(asks ask, alone bool, err error) {
	for _, ws := range asks {
		for _, w := range ws {
			if alone {
				w.p.unreadable(w, err)
			} else {
				w.p.suspect(w)
			}
		}
	}
}
