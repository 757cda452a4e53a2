package gateway

import (
	"sync"
	"sync/atomic"
)

// States of a crew.
const (
	crewIdle    int32 = iota // nobody goes through it
	crewRunning              // somebody does
	crewAgain                // somebody does, and must do it again
)

// crew is a part of a tail's followers. When there is something new, one
// goroutine goes from one to the next and writes to each socket what it takes
// without waiting: that is half the work of starting a goroutine for each, and
// they all read the same bytes while these are in the processor's cache. What a
// socket does not take at once is its session's own business, so nobody waits
// for anybody.
type crew struct {
	hub   *Hub
	state atomic.Int32
	// pushing is the push method, bound once: to start it allocates nothing.
	pushing func()

	mu      sync.Mutex
	members []*follower
}

func (c *crew) add(f *follower) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.crew, f.member = c, len(c.members)
	c.members = append(c.members, f)
}

func (c *crew) remove(f *follower) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.members) - 1
	c.members[f.member] = c.members[last]
	c.members[f.member].member = f.member
	c.members[last] = nil
	c.members = c.members[:last]
	// The one that was moved may have been moved past whoever goes through.
	c.state.CompareAndSwap(crewRunning, crewAgain)
}

// wake makes sure that somebody goes through the crew.
func (c *crew) wake() {
	c.mu.Lock()
	empty := len(c.members) == 0
	c.mu.Unlock()
	if empty {
		return
	}
	for {
		switch c.state.Load() {
		case crewIdle:
			if c.state.CompareAndSwap(crewIdle, crewRunning) {
				go c.pushing()
				return
			}
		case crewRunning:
			if c.state.CompareAndSwap(crewRunning, crewAgain) {
				return
			}
		default:
			return
		}
	}
}

// push goes through the crew until there is nothing new.
func (c *crew) push() {
	for {
		live := false
		// A few at a time, so that sessions can come and go meanwhile.
		var some [64]*follower
		for i := 0; ; i += len(some) {
			c.mu.Lock()
			n := 0
			if i < len(c.members) {
				n = copy(some[:], c.members[i:])
			}
			c.mu.Unlock()
			for _, f := range some[:n] {
				if !live && !f.behind.Load() && f.session.flusher.Load() != flushHeld {
					live = true
					c.hub.delivered()
				}
				f.session.push()
			}
			if n < len(some) {
				break
			}
		}
		if c.state.CompareAndSwap(crewRunning, crewIdle) {
			return
		}
		c.state.Store(crewRunning)
	}
}
