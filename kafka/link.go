package kafka

import (
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	// maxFlying is how many requests may be on their way to a broker at a time.
	// Few are enough to keep it busy, and few make big batches.
	maxFlying = 5
	// maxRequest is the size from which a request takes no further batch.
	maxRequest = 4 << 20
	// linkIdle is how long a connection without work is kept. Brokers, and what
	// is between them and us, close such ones after some minutes.
	linkIdle = time.Minute
)

// link writes to one broker, in a goroutine and over a connection that exist
// while there is work. A request takes a batch of every lane that has something
// for the broker and nothing on its way.
type link struct {
	p  *Producer
	id int32

	mu      sync.Mutex
	running bool
	ready   []*lane
	flying  int
	broken  *conn     // the connection that has failed
	until   time.Time // the broker wants no requests before (KIP-219)
	wake    chan struct{}

	// Used by the loop alone.
	conn *conn
	addr string
}

// flight is what one request carries.
type flight struct {
	lanes   []*lane
	batches []*batch
}

// add has the loop come for a lane.
func (l *link) add(ln *lane) {
	l.mu.Lock()
	l.ready = append(l.ready, ln)
	if !l.running {
		l.running = l.p.spawn(l.loop)
	}
	l.mu.Unlock()
	l.poke()
}

func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// loop sends until there was no work for a while.
func (l *link) loop() {
	timer := time.NewTimer(l.p.idle)
	defer timer.Stop()
	for l.await(timer) {
		if !l.connect() {
			continue
		}
		f, conn := l.gather(), l.conn
		if len(f.lanes) > 0 {
			l.send(conn, f)
		}
	}
}

// await waits until something can be sent. It reports false when the loop is to
// end.
func (l *link) await(timer *time.Timer) bool {
	begun := time.Now()
	for l.p.ctx.Err() == nil {
		l.mu.Lock()
		broken := l.broken
		l.broken = nil
		wait := l.p.idle - time.Since(begun)
		ready := len(l.ready) > 0 && l.flying < maxFlying
		if pause := time.Until(l.until); ready && pause > 0 {
			ready, wait = false, pause
		}
		if !ready && wait <= 0 {
			if len(l.ready) == 0 && l.flying == 0 {
				// Another loop may begin as soon as the mutex is free.
				cn := l.conn
				l.running, l.conn = false, nil
				l.mu.Unlock()
				if cn != nil {
					cn.close()
				}
				return false
			}
			wait = l.p.idle
		}
		l.mu.Unlock()
		if broken != nil {
			l.drop(broken)
		}
		if ready {
			return true
		}
		timer.Reset(wait)
		select {
		case <-l.wake:
		case <-timer.C:
		case <-l.p.ctx.Done():
		}
	}
	l.drop(l.conn)
	return false
}

// drop closes the connection, if it still is that one.
func (l *link) drop(cn *conn) {
	if cn != nil && cn == l.conn {
		l.conn.close()
		l.conn = nil
	}
}

// connect makes sure that there is a connection. Where that fails, the lanes that
// wait for it look for their leaders again.
func (l *link) connect() bool {
	addr := l.p.c.meta.broker(l.id)
	if l.conn != nil && (addr == "" || addr == l.addr || l.busy()) {
		return true
	}
	// Somebody may still answer at the address that the broker had before.
	l.drop(l.conn)
	if l.addr = addr; addr != "" {
		cn, err := open(l.p.ctx, addr, l.p.conf)
		if err == nil {
			l.conn = cn
			return true
		}
		if l.p.ctx.Err() == nil {
			l.p.c.health.failed(addr, false, err)
		}
	}
	l.mu.Lock()
	ready := l.ready
	l.ready = nil
	l.mu.Unlock()
	for _, ln := range ready {
		ln.o.mu.Lock()
		ln.park()
		ln.o.mu.Unlock()
	}
	return false
}

// busy reports whether a request is on its way.
func (l *link) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flying > 0
}

// gather takes a batch of each lane that waits, as far as a request has room.
func (l *link) gather() *flight {
	f := &flight{}
	size := 0
	l.mu.Lock()
	ready := l.ready
	l.ready = nil
	l.mu.Unlock()
	for i, ln := range ready {
		if size >= maxRequest {
			l.mu.Lock()
			l.ready = append(ready[i:len(ready):len(ready)], l.ready...)
			l.mu.Unlock()
			break
		}
		if b := ln.depart(l); b != nil {
			f.lanes, f.batches = append(f.lanes, ln), append(f.batches, b)
			size += b.size
		}
	}
	return f
}

// send sends a request. The flight belongs to whoever deals with the answer, as
// soon as it is sent.
func (l *link) send(cn *conn, f *flight) {
	req := l.p.request()
	for i, b := range f.batches {
		req.AddBatch(f.lanes[i].o.topic, f.lanes[i].partition, &b.wire)
	}
	l.mu.Lock()
	l.flying++
	l.mu.Unlock()
	err := cn.AsyncProduce(req, func(res *sarama.ProduceResponse, err error) { l.answered(cn, f, res, err) })
	switch {
	case err != nil:
		// A write that failed left a part of the request to be sent, at least.
		l.failed(cn, f, unsent, err)
	case req.RequiredAcks == sarama.NoResponse:
		l.landed(cn, 0, nil)
		l.p.c.health.usable(cn.Addr())
		for i, ln := range f.lanes {
			ln.land(f.batches[i], answer{verdict: written, offset: -1})
		}
	}
}

// answered deals with the answer to a request. sarama calls it where answers are
// read, so that it must not use the connection.
func (l *link) answered(cn *conn, f *flight, res *sarama.ProduceResponse, err error) {
	if err != nil {
		l.failed(cn, f, astray, err)
		return
	}
	l.landed(cn, res.ThrottleTime, nil)
	l.p.c.health.answered(cn.Addr())
	for i, ln := range f.lanes {
		ln.land(f.batches[i], newAnswer(res.GetBlock(ln.o.topic, ln.partition)))
	}
}

// failed deals with a request that has no answer.
func (l *link) failed(cn *conn, f *flight, v verdict, err error) {
	l.landed(cn, 0, err)
	if unsendable(err) {
		v = refused
	}
	for i, ln := range f.lanes {
		ln.land(f.batches[i], answer{verdict: v, err: err})
	}
}

// landed notes that a request is no longer on its way.
func (l *link) landed(cn *conn, throttle time.Duration, err error) {
	l.mu.Lock()
	l.flying--
	lost := err != nil && !unsendable(err)
	if lost {
		l.broken = cn
	}
	if throttle > 0 {
		// Not left to sarama, which would wait with the connection locked. It
		// waits itself if it is asked to send before the time has come.
		l.until = time.Now().Add(throttle + time.Millisecond)
	}
	l.mu.Unlock()
	l.poke()
	if lost && l.p.ctx.Err() == nil {
		l.p.c.health.failed(cn.Addr(), true, err)
	}
}

// unsendable reports whether err says that a request cannot be written at all.
func unsendable(err error) bool {
	var conf sarama.ConfigurationError
	var enc sarama.PacketEncodingError
	return errors.As(err, &conf) || errors.As(err, &enc) || errors.Is(err, sarama.ErrUnsupportedVersion)
}
