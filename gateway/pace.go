package gateway

import (
	"sync/atomic"
	"time"
)

// maxPace is how long a topic's worker lets its sessions set the pace before it
// goes on without them. It bounds how far behind the log's end a topic can be
// read: a new session expects to start at the end.
const maxPace = 10 * time.Second

// pacer keeps a topic's worker from running away from all of its sessions when a
// burst comes in faster than any socket takes it: as long as not even the
// fastest session has seen half of what the tail holds, waiting costs nobody
// anything, and not waiting would make all of them fall off. Nobody waits for
// slower sessions, nor for long.
type pacer struct {
	// since is when the sessions fell behind; zero while they are not.
	since time.Time
	// waiting tells flushers to signal progress.
	waiting  atomic.Bool
	progress chan struct{}
}

// pace waits for the fastest session of the topic, if that helps.
func (t *topic) pace() {
	p := &t.pacer
	for {
		p.waiting.Store(true)
		limit := uint64(t.hub.cfg.Buffer)
		behind := t.fastestLag(limit / 4)
		if behind <= limit/2 {
			p.waiting.Store(false)
			if behind <= limit/4 {
				p.since = time.Time{}
			}
			return
		}
		if p.since.IsZero() {
			p.since = time.Now()
		}
		left := maxPace - time.Since(p.since)
		if left <= 0 {
			p.waiting.Store(false)
			return
		}
		timeout := time.NewTimer(left)
		select {
		case <-p.progress:
		case <-timeout.C:
		}
		timeout.Stop()
	}
}

// moved is called by flushers when a session's place in a tail has moved.
func (p *pacer) moved() {
	if p.waiting.Load() {
		select {
		case p.progress <- struct{}{}:
		default:
		}
	}
}

// fastestLag returns how many bytes the session that is least behind has before
// it, exactly where that is more than enough; 0 where there is no session.
func (t *topic) fastestLag(enough uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	least := ^uint64(0)
	for _, tl := range t.tails {
		if lag, found := tl.followers.lag(tl.head.Load(), enough); found {
			least = min(least, lag)
		}
		if least <= enough {
			return least
		}
	}
	if least == ^uint64(0) {
		return 0
	}
	return least
}
