package gateway

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// SlowClient says what becomes of a session that has fallen off the tail of a
// topic, because its client takes records more slowly than they come.
type SlowClient int

// What may become of it.
const (
	// SlowCatchUp has it read on, at its own pace, from what is buffered and
	// from Kafka, and join the tail again when it is fast enough.
	SlowCatchUp SlowClient = iota
	// SlowDisconnect closes it with CloseRecordsLost.
	SlowDisconnect
	// SlowDropOldest has it go on with what the tail still holds.
	SlowDropOldest
)

// fetchPatience is how long one fetch may take. While Kafka is away a session
// goes on trying, so this only bounds how late it notices that it has ended.
const fetchPatience = 5 * time.Second

// fetchPause is how long a session waits after a fetch that failed.
const fetchPause = 100 * time.Millisecond

// catchUp is how a session follows a topic while the tail does not hold what it
// is to get next: by the next offset of each partition.
//
// The whole topic catches up, until the tail holds everything from those offsets
// on. The session then joins it at the place of the first record that it wants,
// and leaves out those that it has had. When there are no more of these, it
// follows the tail like everybody else.
type catchUp struct {
	next offsets
	// joined tells that the follower stands in the tail, and waiting that it has
	// had all of it and more.
	joined  bool
	waiting bool
	turn    int32
}

// lag has the follower catch up from these offsets on.
func (f *follower) lag(next offsets) {
	f.catchUp = &catchUp{next: next}
	f.fall()
}

// fall has the follower stand nowhere in the tail.
func (f *follower) fall() {
	f.catchUp.joined = false
	f.behind.Store(true)
	f.tail.topic.pacer.moved() // nobody waits for it any more
}

// fallenOff has the follower catch up from where it stands, or do what its site
// wants of slow clients.
func (f *follower) fallenOff() {
	t := f.tail
	switch f.session.pool.cfg.SlowClient {
	case SlowDisconnect:
		f.session.Close(CloseRecordsLost, reasonBehind)
	case SlowDropOldest:
		f.skip()
	default:
		t.imu.RLock()
		next := f.index.at(f.pos.Load())
		t.imu.RUnlock()
		f.lag(next)
	}
}

// skip moves the follower to the middle of what the tail holds: a client that is
// too slow for its topic loses some of it, and not so often.
func (f *follower) skip() {
	t := f.tail
	head := t.head.Load()
	pos, x := head, t.current()
	for _, seg := range *t.view.Load() {
		pos, x = seg.base, seg.index
		if head-seg.base <= uint64(t.topic.hub.cfg.Buffer)/2 {
			break
		}
	}
	f.pos.Store(pos)
	f.index = x
	t.topic.pacer.moved()
}

const reasonBehind = "records lost: the client reads more slowly than records come"

// current returns the index that is being filled.
func (t *tail) current() *index {
	t.imu.RLock()
	defer t.imu.RUnlock()
	return t.index
}

// join looks for the place in the tail of the first record that is wanted. It
// reports false where the tail does not hold all of them.
func (f *follower) join() bool {
	t, c := f.tail, f.catchUp
	t.imu.RLock()
	defer t.imu.RUnlock()
	// Partitions that were found since are wanted from their beginning on.
	for p := range int32(len(t.first)) {
		if c.next.at(p) == unknown && t.first[p] != unknown {
			c.next.set(p, t.first[p])
		}
	}
	segments := *t.view.Load()
	// From the last segment at whose beginning nothing wanted had passed.
	i := len(segments) - 1
	for i >= 0 && !t.covers(segments[i].index.start, c.next) {
		i--
	}
	if i < 0 {
		if len(segments) > 0 || !t.covers(t.next, c.next) {
			return false
		}
		f.stand(t.head.Load(), t.index)
		return true
	}
	x := segments[i].index
	pos := t.head.Load()
	for j := range x.entries {
		if e := &x.entries[j]; x.frame(j) && e.offset >= c.next.at(e.partition) {
			pos = x.begin(j)
			break
		}
	}
	if i+1 < len(segments) {
		pos = min(pos, segments[i+1].base)
	}
	f.stand(pos, x)
	return true
}

// stand has the follower that catches up stand in the tail.
func (f *follower) stand(pos uint64, x *index) {
	f.index = x
	f.pos.Store(pos)
	f.catchUp.joined = true
	f.behind.Store(false)
}

// covers reports whether everything from the offsets of next on comes behind a
// place at which the partitions stand at these offsets. The lock of the indexes
// is held.
func (t *tail) covers(at, next offsets) bool {
	for p := range int32(len(next)) {
		if next[p] != unknown && t.startOf(at, p) > next[p] {
			return false
		}
	}
	return true
}

// startOf returns the offset of a partition at a place, or the one at which it
// began if that was later. The lock of the indexes is held.
func (t *tail) startOf(at offsets, partition int32) int64 {
	if offset := at.at(partition); offset != unknown {
		return offset
	}
	return t.first.at(partition)
}

// wanted returns how many bytes at the front of frames are not wanted, and how
// many behind them are. It notes the former.
func (f *follower) wanted(frames stretch) (skip, take int) {
	c, x, pos := f.catchUp, frames.index, frames.pos
	f.tail.imu.RLock()
	defer f.tail.imu.RUnlock()
	end := pos + uint64(len(frames.bytes))
	i := x.from(pos)
	// What is not shown has no bytes, so it may stand right at the place.
	for ; i < len(x.entries) && x.end(i) <= end; i++ {
		e := &x.entries[i]
		if x.frame(i) && e.offset >= c.next.at(e.partition) {
			break
		}
		c.pass(e)
		skip = int(x.end(i) - pos)
	}
	for ; i < len(x.entries) && x.end(i) <= end; i++ {
		e := &x.entries[i]
		if x.frame(i) && e.offset < c.next.at(e.partition) {
			break
		}
		take = int(x.end(i)-pos) - skip
	}
	return skip, take
}

// pass notes that an entry is behind the session.
func (c *catchUp) pass(e *entry) {
	if e.offset+1 > c.next.at(e.partition) {
		c.next.set(e.partition, e.offset+1)
	}
}

// passed notes that the session was given what stands between two places, and
// reports whether it now has everything before the second one, and nothing behind
// it.
func (f *follower) passed(x *index, from, to uint64) bool {
	t, c := f.tail, f.catchUp
	t.imu.RLock()
	defer t.imu.RUnlock()
	for i := x.from(from); i < len(x.entries) && x.end(i) <= to; i++ {
		c.pass(&x.entries[i])
	}
	at := x.at(to)
	for p := range int32(len(c.next)) {
		if c.next[p] > t.startOf(at, p) {
			return false
		}
	}
	return true
}

// sendBehind gives the session the next piece of a topic that it catches up with.
func (s *Session) sendBehind(f *follower) error {
	if s.isBroken() {
		return net.ErrClosed
	}
	c := f.catchUp
	if !c.joined && !f.join() {
		return s.sendBlock(f)
	}
	pos := f.pos.Load()
	frames, held := f.tail.read(pos)
	switch {
	case !held:
		f.fall()
		return nil
	case len(frames.bytes) == 0:
		c.waiting = true
	default:
		f.index = frames.index
		skip, take := f.wanted(frames)
		sent := skip
		if take > 0 {
			frames.bytes, frames.pos = frames.bytes[skip:skip+take], pos+uint64(skip)
			n, err := s.writeFrames(frames)
			if err != nil {
				return err
			}
			sent += n
		}
		f.pos.Add(uint64(sent))
	}
	f.tail.topic.pacer.moved()
	if f.passed(f.index, pos, f.pos.Load()) {
		f.catchUp = nil
	}
	return nil
}

// sendBlock gives the session the next piece of what the tail does not hold.
func (s *Session) sendBlock(f *follower) error {
	t, c := f.tail, f.catchUp
	partition, found := f.nextBehind()
	if !found {
		return nil // the tail moved meanwhile
	}
	offset := c.next.at(partition)
	ctx, cancel := context.WithTimeout(s.pool.ctx, fetchPatience)
	defer cancel()
	b, err := t.topic.hub.blocks.get(ctx, t.topic.name, partition, offset)
	switch {
	case errors.Is(err, record.ErrOffsetGone):
		err = f.crossGap(ctx, partition)
		if err == nil {
			return nil
		}
	}
	switch {
	case errors.Is(err, record.ErrRefused), errors.Is(err, record.ErrUnknownTopic):
		s.Close(CloseTryLater, "the topic cannot be read")
		return nil
	case errors.Is(err, record.ErrClosed), err != nil && s.pool.ctx.Err() != nil:
		return err
	case err != nil: // and again, but not at once
		select {
		case <-time.After(fetchPause):
		case <-s.pool.ctx.Done():
		}
		return nil
	}
	piece := b.piece(t, offset)
	if len(piece.bytes) > 0 {
		sent, err := s.writeFrames(piece.stretch)
		if err != nil {
			return err
		}
		piece.next = piece.after(sent)
	}
	c.next.set(partition, piece.next)
	return nil
}

// nextBehind returns the next partition, in turn, of which the tail does not hold
// what is wanted.
func (f *follower) nextBehind() (int32, bool) {
	t, c := f.tail, f.catchUp
	t.imu.RLock()
	defer t.imu.RUnlock()
	oldest := t.next
	if segments := *t.view.Load(); len(segments) > 0 {
		oldest = segments[0].index.start
	}
	n := int32(len(c.next))
	for i := range n {
		p := (c.turn + i) % n
		if c.next[p] != unknown && c.next[p] < t.startOf(oldest, p) {
			c.turn = p + 1
			return p, true
		}
	}
	return 0, false
}
