package kafka

import "time"

// express is a second connection to a loop's broker, with short polls, for the
// partitions that must not be part of the loop's long poll:
//
//   - those that came while it was under way, until the loop's next one takes them;
//   - where the loop has a crowd of partitions, those that bring records, until
//     they have been quiet for a while. Every request costs the broker and us
//     time for each partition that it names, so that one busy partition must not
//     have thousands of idle ones asked for with each of its records.
//
// It ends when it has had nothing to do for a while.
type express struct {
	loop *loop
	wake chan struct{}
}

func (e *express) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// begin lists the partitions to fetch, and tells how often any had been
// hurried by then.
func (e *express) begin() (parts []*partition, hurries int) {
	l := e.loop
	l.src.mu.Lock()
	defer l.src.mu.Unlock()
	now := time.Now()
	for p, until := range l.ahead {
		parts = append(parts, p)
		if !until.IsZero() && now.After(until) {
			l.poke() // to take it back, should the loop have nothing to fetch
		}
	}
	return parts, l.hurries
}

// drop leaves partitions to the loop, unless any was hurried after begin.
func (e *express) drop(parts []*partition, hurries int) {
	l := e.loop
	l.src.mu.Lock()
	defer l.src.mu.Unlock()
	if l.hurries == hurries {
		for _, p := range parts {
			delete(l.ahead, p)
		}
	}
}

// over ends the express, if it has nothing to do; if its loop has ended, in any
// case.
func (e *express) over(idle bool) bool {
	l := e.loop
	l.src.mu.Lock()
	defer l.src.mu.Unlock()
	if l.src.loops[l.id] != l {
		clear(l.ahead)
	} else if !idle || len(l.ahead) > 0 {
		return false
	}
	l.express = nil
	return true
}

// run is the express's goroutine.
func (e *express) run() {
	c := e.loop.src.c
	ln := newLine(e.loop)
	defer ln.close()
	idle := time.NewTimer(c.timings.idle)
	defer idle.Stop()
	for c.ctx.Err() == nil {
		parts, hurries := e.begin()
		asks, alone := gather(parts)
		if len(asks) > 0 {
			if pause := ln.round(asks, alone, c.timings.shortPoll); pause > 0 {
				sleep(c.ctx, pause)
			}
			idle.Reset(c.timings.idle)
			continue
		}
		// A sink that is not ready calls Resume, which brings its partitions
		// back here.
		e.drop(parts, hurries)
		if e.over(false) {
			return
		}
		select {
		case <-e.wake:
		case <-c.ctx.Done():
		case <-idle.C:
			if e.over(true) {
				return
			}
			idle.Reset(c.timings.idle)
		}
	}
}
