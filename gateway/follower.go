package gateway

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kafkaws/kafkaws/record"
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
	// filter, if set, is what records have to match.
	filter *sieve

	// What follows is for sessions that talk, and the flusher's own. noticed is
	// how many of the tail's notices are behind pos. lagging tells that the client
	// has been, or will be, told records from before the end, and not yet that it
	// has them all. told is what it was last told of each partition's position,
	// unseen counts the offsets that it was led past since it last heard of one,
	// and overdue tells that these are many. resumed is what the client came with,
	// until the subscription begins. id is that of the topic at pos, which may have
	// been made again since.
	noticed uint64
	lagging bool
	overdue bool
	unseen  int64
	told    offsets
	resumed *resumed
	id      record.TopicID
	// crew and member are the follower's place among the tail's followers.
	crew   *crew
	member int
}

// resumed is what a client has come back with: its positions, and the gaps between
// them and where its subscription begins.
type resumed struct {
	at   record.TopicPosition
	gaps []record.Loss
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

func (fs *followers) init(h *Hub) {
	fs.crews = make([]crew, runtime.GOMAXPROCS(0))
	for i := range fs.crews {
		fs.crews[i].hub, fs.crews[i].pushing = h, fs.crews[i].push
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

// hurry has retire called now, if it is to be called.
func (fs *followers) hurry() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.retire != nil {
		fs.retire.Reset(0)
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
func (t *tail) follow(s *Session, filter Filter) (*follower, error) {
	f := &follower{session: s, tail: t}
	if filter != nil {
		var err error
		if f.filter, err = t.chained().sift(filter, t.topic.hub.now()); err != nil {
			return nil, err
		}
	}
	t.imu.Lock()
	if filter != nil {
		t.seal()
	}
	f.index, f.noticed, f.id = t.index, t.noticed.Load(), t.topic.topicID()
	t.imu.Unlock()
	f.pos.Store(t.head.Load())
	t.followers.add(f)
	return f, nil
}

// dismissed reports whether the follower's filter was dismissed. It is asked after
// the frames that come next were looked for: then it knows of all of them.
func (f *follower) dismissed() bool { return f.filter != nil && f.filter.dismissed.Load() }

// leave takes a session off the tail, which is freed keep_reading later if no
// other comes; at once where there is nothing to read.
func (f *follower) leave() {
	t := f.tail
	if f.filter != nil {
		t.topic.mu.Lock()
		if c := t.chained(); c != nil { // else the topic was closed
			c.discard(f.filter, t.topic.hub.now())
		}
		t.topic.mu.Unlock()
	}
	t.followers.remove(f, t.topic.hub.cfg.KeepReading, func() { t.topic.drop(t) })
	t.topic.pacer.moved() // nobody waits for it any more
	// After that, so that it is noticed either here or by who finds out.
	if t.topic.fleeting() {
		t.followers.hurry()
	}
}
