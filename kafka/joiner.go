package kafka

import "time"

// joiner is a second connection to a loop's broker, with short polls, for the
// partitions that would otherwise have to wait until the loop's long poll ends.
// The loop takes them over with its next request, and the joiner ends when it
// has had nothing to do for a while.
type joiner struct {
	loop *loop
	wake chan struct{}
}

func (j *joiner) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// begin lists the partitions to fetch.
func (j *joiner) begin() []*partition {
	s := j.loop.src
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := make([]*partition, 0, len(j.loop.joining))
	for p := range j.loop.joining {
		parts = append(parts, p)
	}
	return parts
}

// end ends the joiner unless there is something to do again.
func (j *joiner) end(force bool) bool {
	s := j.loop.src
	s.mu.Lock()
	defer s.mu.Unlock()
	if force {
		clear(j.loop.joining) // the loop reads them soon enough
	}
	if len(j.loop.joining) > 0 {
		return false
	}
	j.loop.joiner = nil
	return true
}

// over reports whether the loop has ended.
func (j *joiner) over() bool {
	s := j.loop.src
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loops[j.loop.id] != j.loop
}

// drop leaves partitions to the loop.
func (j *joiner) drop(parts []*partition) {
	s := j.loop.src
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		delete(j.loop.joining, p)
	}
}

func (j *joiner) run() {
	s := j.loop.src
	c := s.c
	conf := fetchSettings(c.base)
	var cn *conn
	defer func() {
		if cn != nil {
			cn.close()
		}
	}()
	idle := time.NewTimer(c.timings.idle)
	defer idle.Stop()
	for c.ctx.Err() == nil {
		parts := j.begin()
		asks, alone := gather(parts)
		if len(asks) == 0 {
			// A sink that is not ready calls Resume, which brings its
			// partitions back here.
			j.drop(parts)
			if j.over() && j.end(true) {
				return
			}
			select {
			case <-j.wake:
			case <-c.ctx.Done():
			case <-idle.C:
				if j.end(false) {
					return
				}
				idle.Reset(c.timings.idle)
			}
			continue
		}
		idle.Reset(c.timings.idle)
		if cn == nil {
			var err error
			if cn, err = j.loop.open(c.meta.broker(j.loop.id), conf); err != nil {
				j.end(true)
				return
			}
		}
		answer, err := cn.Fetch(s.fill(asks, c.timings.shortPoll))
		if err != nil {
			// Whatever it is, the loop will meet it too.
			j.end(true)
			return
		}
		if !deliver(answer, asks, alone) {
			j.end(true)
			return
		}
	}
}
