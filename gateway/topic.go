package gateway

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kafkaws/kafkaws/record"
)

// topic is one topic being read. It is the sink of its reading: batches are put
// into a queue, and a worker, a goroutine that exists only while the queue has
// something, encodes them into the tails.
type topic struct {
	hub  *Hub
	name string

	// settled is closed once it is known where the subscriptions begin: at
	// offsets that the source told, or, for a topic that does not exist yet,
	// at its first record.
	settled chan struct{}
	settle  sync.Once

	// mu guards the tails. It is held while a batch is put into them, so that
	// whoever holds it stands between two batches.
	mu    sync.Mutex
	tails map[encodingKey]*tail
	// chains are the same tails by the chain that their records pass.
	chains map[string]*chained
	// next is, by partition, the offset after the last one that was put into
	// the tails.
	next map[int32]int64
	// missing tells that the topic did not exist when it was first looked for.
	missing bool
	// standing is a standing, changed under the lock.
	standing atomic.Int32
	// id is the topic's id, nil where it is not known.
	id atomic.Pointer[record.TopicID]

	// qmu guards the queue, apart from mu so that Deliver never waits for the
	// encoding of a batch.
	qmu     sync.Mutex
	reading record.Reading
	queue   []arrival
	queued  int
	working bool
	paused  bool

	// pacer, and the number of puts, are the worker's.
	pacer pacer
	puts  uint64
}

// readTopic begins to read a topic.
func readTopic(h *Hub, name string) *topic {
	t := &topic{hub: h, name: name, settled: make(chan struct{}), tails: make(map[encodingKey]*tail), next: make(map[int32]int64), chains: make(map[string]*chained)}
	t.pacer.progress = make(chan struct{}, 1)
	h.standing[topicSought].Add(1)
	// The source may call back before Read returns.
	t.qmu.Lock()
	defer t.qmu.Unlock()
	t.reading = h.cfg.Source.Read(name, t)
	return t
}

func (t *topic) stop() {
	t.qmu.Lock()
	reading := t.reading
	t.qmu.Unlock()
	reading.Stop()
}

// started notes where partitions begin, and the topic's id.
func (t *topic) started(s record.Started) {
	next := s.Next
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.topicID()
	if s.TopicID != (record.TopicID{}) {
		t.id.Store(&s.TopicID)
	}
	maps.Copy(t.next, next)
	found := next
	remade := before != (record.TopicID{}) && before != t.topicID()
	if remade {
		// Each partition was said to be lost just now. Who knows that gets to
		// know whose positions these are.
		found = t.next
	}
	for _, tail := range t.tails {
		tail.imu.Lock()
		for partition, offset := range next {
			tail.set(partition, offset)
		}
		if len(found) > 0 {
			tail.notice(notice{found: maps.Clone(found), id: t.topicID(), remade: remade})
		}
		tail.imu.Unlock()
		tail.followers.wake()
	}
	t.settle.Do(func() { close(t.settled) })
}

// topicID returns the topic's id, the zero one where it is not known.
func (t *topic) topicID() record.TopicID {
	if id := t.id.Load(); id != nil {
		return *id
	}
	return record.TopicID{}
}

// moved reports whether anything was read yet of a topic that was missing. The
// lock is held.
func (t *topic) moved() bool {
	for _, next := range t.next {
		if next > 0 {
			return true
		}
	}
	return false
}

const reasonGone = "records lost: kafka no longer has them"

// lost has the sessions told that follow the topic, and closes those whose
// subprotocols have no way to say that records are missing; but where the records
// were deleted, not those whose site wants to go on behind them.
func (t *topic) lost(l record.Loss) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next[l.Partition] = l.Next
	for _, tail := range t.tails {
		tail.imu.Lock()
		tail.set(l.Partition, l.Next)
		tail.notice(notice{loss: l})
		tail.imu.Unlock()
		tail.followers.each(func(f *follower) {
			if s := f.session; s.talking == nil && (s.onGap() == GapClose || l.Reason != record.LossExpired) {
				s.Close(CloseRecordsLost, reasonGone)
			}
		})
		tail.followers.wake()
	}
}

// put transforms records and encodes them into every tail; next is the offset
// after them, and epoch the leader epoch of what is before it.
func (t *topic) put(partition int32, records []record.Record, next int64, epoch int32) {
	t.puts++
	t.mu.Lock()
	defer t.mu.Unlock()
	dismissed := false
	for c := t.behind(); c != nil; c = t.behind() {
		// Others wait for the lock while they hold the hub's, which sessions
		// of all topics need.
		sieves, changes := c.sieves, c.changes
		t.mu.Unlock()
		c.apply(t, records)
		c.judge(t.hub, sieves)
		t.mu.Lock()
		dismissed = c.dismiss(sieves) || dismissed
		if c.changes == changes {
			c.put = t.puts
		}
	}
	t.next[partition] = next
	for _, c := range t.chains {
		for _, tail := range c.tails {
			tail.append(partition, c, next, epoch)
			if dismissed {
				tail.followers.wake() // also where nothing was appended
			}
		}
		c.forget()
	}
}

// behind returns a chain that the records of this put have not passed yet. There
// may be new ones whenever the lock was free. The lock is held.
func (t *topic) behind() *chained {
	for _, c := range t.chains {
		if c.put != t.puts {
			return c
		}
	}
	return nil
}

// follow adds a session, with its filter, at the head of the tail of its encoding. The
// lock is held.
func (t *topic) follow(s *Session, filter Filter) (*follower, error) {
	before := t.tails[s.encoding.key()]
	tl := t.tailOf(s.encoding)
	f, err := tl.follow(s, filter)
	if err != nil && tl != before {
		t.remove(tl) // nobody follows it, and nobody would ever leave it
	}
	return f, err
}

// tailOf returns the tail of an encoding, made if there was none; it then begins
// with the next batch. The lock is held.
func (t *topic) tailOf(e *Encoding) *tail {
	tl := t.tails[e.key()]
	if tl == nil {
		tl = newTail(t, e)
		t.tails[e.key()] = tl
		t.hub.tails.Add(1)
		c := t.chains[e.Chain.id()]
		if c == nil {
			c = &chained{chain: e.Chain}
			t.chains[e.Chain.id()] = c
		}
		c.tails = append(c.tails, tl)
	}
	return tl
}

// chained returns what the tail's records become. The topic's lock is held.
func (t *tail) chained() *chained { return t.topic.chains[t.encoding.Chain.id()] }

// sieves returns the filters that the tail's records pass. The topic's lock is
// held.
func (t *tail) sieves() []*sieve {
	if c := t.chained(); c != nil {
		return c.sieves
	}
	return nil
}

// drop frees a tail that nobody has followed for keep_reading, or at all where the
// topic does not exist, and ends the reading of the topic with its last tail.
func (t *topic) drop(tl *tail) {
	h := t.hub
	h.mu.Lock()
	t.mu.Lock()
	last := false
	if tl.followers.none() && t.tails[tl.encoding.key()] == tl {
		t.remove(tl)
		tl.hold(-tl.held)
		if len(t.tails) == 0 && h.topics[t.name] == t {
			delete(h.topics, t.name)
			t.stand(topicGone)
			last = true
		}
	}
	t.mu.Unlock()
	h.mu.Unlock()
	if last {
		t.stop()
		// While nobody reads the topic, nobody notices that it is another one.
		h.blocks.forget(t.name)
	}
}

// remove takes a tail out. The lock is held.
func (t *topic) remove(tl *tail) {
	delete(t.tails, tl.encoding.key())
	t.hub.tails.Add(-1)
	id := tl.encoding.Chain.id()
	c := t.chains[id]
	c.tails = slices.DeleteFunc(c.tails, func(other *tail) bool { return other == tl })
	if len(c.tails) == 0 {
		delete(t.chains, id)
	}
}

// close ends the reading and frees the tails.
func (t *topic) close() {
	t.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tl := range t.tails {
		tl.followers.stop()
		tl.hold(-tl.held)
	}
	t.hub.tails.Add(-int64(len(t.tails)))
	clear(t.tails)
	clear(t.chains)
	t.stand(topicGone)
}
