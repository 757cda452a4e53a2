package gateway

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// follower is a session's place in a tail.
type follower struct {
	session *Session
	tail    *tail
	// pos is the place in the tail's stream up to which the session has been
	// served. The flusher moves it; others look whether it is still held.
	pos atomic.Uint64
	// index tells which records stand before pos; the flusher's own.
	index *index
	// catchUp is set while the session is not served from the tail as everybody
	// is; the flusher's own. behind tells others that it stands nowhere in it.
	catchUp *catchUp
	behind  atomic.Bool
	// crew and member are the follower's place among the tail's followers.
	crew   *crew
	member int
}

// followers are the followers of a tail, in as many crews as the machine has
// processors.
type followers struct {
	crews []crew

	// mu guards what follows; the topic's lock may be held when it is taken.
	mu     sync.Mutex
	count  int
	turn   int
	retire *time.Timer // runs while there is no follower
}

func (fs *followers) init() {
	fs.crews = make([]crew, runtime.GOMAXPROCS(0))
	for i := range fs.crews {
		fs.crews[i].pushing = fs.crews[i].push
	}
}

// add adds a follower.
func (fs *followers) add(f *follower) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.retire != nil {
		fs.retire.Stop()
		fs.retire = nil
	}
	fs.count++
	fs.turn = (fs.turn + 1) % len(fs.crews)
	fs.crews[fs.turn].add(f)
}

// remove takes a follower out. If it was the last, retire is called some time
// later unless another has come.
func (fs *followers) remove(f *follower, after time.Duration, retire func()) {
	f.crew.remove(f)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.count--; fs.count == 0 {
		fs.retire = time.AfterFunc(after, retire)
	}
}

// none reports whether there is no follower.
func (fs *followers) none() bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.count == 0
}

// stop ends the wait for another follower.
func (fs *followers) stop() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.retire != nil {
		fs.retire.Stop()
	}
}

// each calls f for every follower. It must not lead to a crew's lock.
func (fs *followers) each(do func(*follower)) {
	for i := range fs.crews {
		c := &fs.crews[i]
		c.mu.Lock()
		for _, f := range c.members {
			do(f)
		}
		c.mu.Unlock()
	}
}

// allAt reports whether every follower has been served up to a place.
func (fs *followers) allAt(pos uint64) bool {
	all := true
	fs.each(func(f *follower) { all = all && f.pos.Load() == pos && !f.behind.Load() })
	return all
}

// lag returns how many bytes before head the follower is that is least behind, or
// any number that is not above enough once one is found; 0 where there is none.
func (fs *followers) lag(head, enough uint64) (least uint64, found bool) {
	for i := range fs.crews {
		c := &fs.crews[i]
		c.mu.Lock()
		for _, f := range c.members {
			if f.behind.Load() {
				continue
			}
			if behind := head - f.pos.Load(); !found || behind < least {
				least, found = behind, true
			}
			if least <= enough {
				break
			}
		}
		c.mu.Unlock()
		if found && least <= enough {
			break
		}
	}
	return least, found
}

// wake has all followers look at what is new.
func (fs *followers) wake() {
	for i := range fs.crews {
		fs.crews[i].wake()
	}
}

// follow adds a session at the head of the tail. The topic's lock is held, so
// no record can come between the head and the session.
func (t *tail) follow(s *Session) *follower {
	f := &follower{session: s, tail: t, index: t.current()}
	f.pos.Store(t.head.Load())
	t.followers.add(f)
	return f
}

// leave takes a session off the tail, which is freed keep_reading later if no
// other comes.
func (f *follower) leave() {
	t := f.tail
	t.followers.remove(f, t.topic.hub.cfg.KeepReading, func() { t.topic.drop(t) })
}
