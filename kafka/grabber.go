package kafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"
)

// grabWait is how long a broker may hold a fetch that finds nothing: others are
// waiting for the connection.
const grabWait = 0

// grab is a wish for some records of a partition, once.
type grab struct {
	ctx    context.Context
	key    topicPartition
	offset int64
	epoch  int32
	bytes  int32
	alone  bool // by a request of its own
	reply  chan grabbed
}

type grabbed struct {
	block     *sarama.FetchResponseBlock
	throttled time.Duration
	err       error
}

// grabber fetches from one broker for whoever wants something once, on a
// connection of its own, which long polls never occupy: with one request at a
// time for all that is wanted by then.
type grabber struct {
	src   *source
	id    int32
	wake  chan struct{}
	queue []*grab // guarded by src.mu

	question question // used by run alone
}

// grab asks a broker. The reply does not come if the cluster is closed.
func (s *source) grab(leader int32, g *grab) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.grabbers[leader]
	if w == nil {
		w = &grabber{src: s, id: leader, wake: make(chan struct{}, 1)}
		if !s.c.spawn(w.run) {
			return
		}
		s.grabbers[leader] = w
	}
	w.queue = append(w.queue, g)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns what can stand in one request, and leaves the rest.
func (w *grabber) take() []*grab {
	w.src.mu.Lock()
	defer w.src.mu.Unlock()
	seen := map[topicPartition]bool{}
	var now, later []*grab
	bytes := int32(0)
	for i, g := range w.queue {
		switch {
		case g.ctx.Err() != nil: // nobody waits for it any more
		case g.alone && len(now) == 0:
			w.queue = append(later, w.queue[i+1:]...)
			return []*grab{g}
		case g.alone || seen[g.key] || bytes+g.bytes > responseBytes && len(now) > 0:
			later = append(later, g)
		default:
			seen[g.key] = true
			bytes += g.bytes
			now = append(now, g)
		}
	}
	w.queue = later
	return now
}

// run serves until there has been nothing to do for a while.
func (w *grabber) run() {
	c := w.src.c
	var cn *conn
	defer func() {
		if cn != nil {
			cn.close()
		}
	}()
	idle := time.NewTimer(c.timings.idle)
	defer idle.Stop()
	for {
		if now := w.take(); len(now) > 0 {
			var throttled time.Duration
			if cn, throttled = w.serve(cn, now); throttled > 0 {
				sleep(c.ctx, throttled) // see loop.deliver
			}
			idle.Reset(c.timings.idle)
			continue
		}
		select {
		case <-w.wake:
		case <-c.ctx.Done():
			return
		case <-idle.C:
			w.src.mu.Lock()
			if len(w.queue) == 0 {
				delete(w.src.grabbers, w.id)
				w.src.mu.Unlock()
				return
			}
			w.src.mu.Unlock()
		}
	}
}

// serve makes one request. It returns the connection to use next, and how long
// the broker wants not to hear from us. A connection that had been idle may have
// been closed by the broker, so it gets a second chance.
func (w *grabber) serve(cn *conn, gs []*grab) (*conn, time.Duration) {
	c := w.src.c
	for {
		used := cn != nil
		addr := c.meta.broker(w.id)
		var answer *sarama.FetchResponse
		var err error
		c.silence.ask(&w.question, grabWait)
		if !used {
			if addr == "" {
				err = sarama.ErrBrokerNotFound
			} else {
				cn, err = open(c.ctx, addr, fetchSettings(c.base))
			}
		}
		if err == nil {
			req := w.src.request(grabWait)
			for _, g := range gs {
				req.AddBlock(g.key.topic, g.key.id, g.offset, g.bytes, g.epoch)
				req.MaxBytes = max(req.MaxBytes, g.bytes)
			}
			answer, err = cn.Fetch(req)
		}
		c.silence.end(&w.question, err == nil || cn != nil && !lostConnection(err))
		if err == nil {
			c.health.answered(addr)
			for _, g := range gs {
				g.reply <- grabbed{block: answer.GetBlock(g.key.topic, g.key.id), throttled: answer.ThrottleTime}
			}
			return cn, answer.ThrottleTime
		}
		if cn != nil {
			cn.close()
			cn = nil
		}
		if used && lostConnection(err) && c.ctx.Err() == nil {
			continue
		}
		if addr != "" && !garbled(err) && c.ctx.Err() == nil {
			c.health.failed(addr, false, err)
		}
		for _, g := range gs {
			g.reply <- grabbed{err: err}
		}
		return nil, 0
	}
}
