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
	// applied is how many of the tail's notices have been heeded, for sessions
	// that talk.
	applied uint64
}

// lag has the follower catch up from these offsets on.
func (f *follower) lag(next offsets) {
	f.catchUp = &catchUp{next: next, applied: f.noticed}
	f.lagging = true
	f.fall()
}

// fall has the follower stand nowhere in the tail.
func (f *follower) fall() {
	f.catchUp.joined = false
	f.behind.Store(true)
	f.tail.topic.pacer.moved() // nobody waits for it any more
}

// fallenOff has a follower that the tail does not hold any more catch up from
// where it stands, or do what its site wants of slow clients.
func (s *Session) fallenOff(f *follower) error {
	t := f.tail
	if _, held := t.read(f.pos.Load()); held {
		return nil
	}
	switch s.pool.cfg.SlowClient {
	case SlowDisconnect:
		s.Close(CloseRecordsLost, reasonBehind)
	case SlowDropOldest:
		return s.skip(f)
	default:
		t.imu.RLock()
		next := f.index.at(f.pos.Load())
		t.imu.RUnlock()
		f.lag(next)
	}
	return nil
}

// skip moves the follower to the middle of what the tail holds: a client that is
// too slow for its topic loses some of it, and not so often.
func (s *Session) skip(f *follower) error {
	t := f.tail
	before, _ := f.place()
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
	if s.talking == nil {
		return nil
	}
	// What else has happened before that place is told with it.
	t.imu.RLock()
	for f.noticed < t.noticed.Load() {
		n, held := t.noticeAt(f.noticed)
		if held && n.pos > pos {
			break
		}
		if held && n.found != nil {
			f.id = n.id
		}
		f.noticed++
	}
	t.imu.RUnlock()
	after, _ := f.place()
	for p := range int32(len(after)) {
		if before.at(p) == after[p] || after[p] == unknown {
			continue
		}
		f.told.set(p, after[p])
		loss := record.Loss{Partition: p, From: max(before.at(p), 0), Next: after[p], Reason: record.LossSkipped}
		if err := s.tell(Gap{t.topic.name, loss}); err != nil {
			return err
		}
	}
	return nil
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
	if t.covers(t.next, c.next) {
		f.stand(t.head.Load(), t.index)
		return true
	}
	segments := f.joinable()
	// From the last segment at whose beginning nothing wanted had passed.
	i := len(segments) - 1
	for i >= 0 && !t.covers(segments[i].index.start, c.next) {
		i--
	}
	if i < 0 {
		return false
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

// joinable returns the segments of the tail that a follower may be placed in: those
// behind the last cut of a log, whose records its filter has seen. The lock of the
// indexes is held.
func (f *follower) joinable() []*segment {
	segments := *f.tail.view.Load()
	for i, seg := range segments {
		if seg.base >= f.tail.floor && seg.index.passedBy(f.filter) {
			return segments[i:]
		}
	}
	return nil
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
	if !c.joined {
		if s.talking != nil {
			if told, err := s.heed(f); told || err != nil {
				return err
			}
		}
		if !f.join() {
			return s.sendBlock(f)
		}
	}
	pos := f.pos.Load()
	frames, held := f.tail.read(pos)
	if f.dismissed() {
		return nil // that comes next
	}
	if held && s.talking != nil && f.due(&frames) {
		if told, err := s.tellDue(f); told || err != nil {
			return err
		}
	}
	switch {
	case !held:
		f.fall()
		return nil
	case len(frames.bytes) == 0:
		c.waiting = true
	default:
		f.index = frames.index
		sent, err := s.sendWanted(f, frames)
		if err != nil {
			return err
		}
		f.pos.Add(uint64(sent))
	}
	f.tail.topic.pacer.moved()
	if f.passed(f.index, pos, f.pos.Load()) && !f.noticeHere() {
		f.catchUp = nil
	}
	return nil
}

// sendWanted sends what the session wants of frames of the tail, and returns how
// many bytes of them are done with.
func (s *Session) sendWanted(f *follower, frames stretch) (int, error) {
	if f.alone() {
		g, buffer := s.gatherer()
		n := f.gather(g, frames)
		return n, s.sendGathered(g, buffer)
	}
	skip, take := f.wanted(frames)
	if take == 0 {
		return skip, nil
	}
	frames.bytes, frames.pos = frames.bytes[skip:skip+take], frames.pos+uint64(skip)
	n, err := s.writeFrames(frames)
	return skip + n, err
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
		crossed, lookup := s.crossGap(ctx, f, partition)
		if lookup == nil {
			return crossed
		}
		err = lookup
	}
	switch {
	case errors.Is(err, record.ErrRefused), errors.Is(err, record.ErrUnknownTopic):
		if s.talking != nil {
			return s.abandon(f, err)
		}
		s.Close(CloseTryLater, "the topic cannot be read")
		return nil
	case errors.Is(err, record.ErrClosed), err != nil && s.pool.ctx.Err() != nil:
		return err
	case err != nil: // and again, but not at once
		s.pause()
		return nil
	}
	if b.unreadable && s.talking != nil {
		c.next.set(partition, b.next)
		return s.tellLoss(f, record.Loss{Partition: partition, From: offset, Next: b.next, Reason: record.LossUnreadable})
	}
	piece := b.piece(t, offset, f.filter, s.gone())
	writers := t.topic.hub.blocks.writers
	began, _ := writers.take(nil)
	defer writers.end(began)
	switch {
	case f.alone():
		g, buffer := s.gatherer()
		piece.next = piece.gather(g, f)
		if err := s.sendGathered(g, buffer); err != nil {
			return err
		}
	case len(piece.bytes) > 0:
		sent, err := s.writeFrames(piece.stretch)
		if err != nil {
			return err
		}
		piece.next = piece.after(sent)
	default:
		f.passedOver(piece.next - offset)
	}
	c.next.set(partition, piece.next)
	return nil
}

// pause has a session that catches up try again a little later.
func (s *Session) pause() {
	select {
	case <-time.After(fetchPause):
	case <-s.pool.ctx.Done():
	}
}

// nextBehind returns the next partition, in turn, of which the tail does not hold
// what is wanted.
func (f *follower) nextBehind() (int32, bool) {
	t, c := f.tail, f.catchUp
	t.imu.RLock()
	defer t.imu.RUnlock()
	oldest := t.next
	if segments := f.joinable(); len(segments) > 0 {
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
