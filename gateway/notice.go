package gateway

import (
	"slices"

	"github.com/kafkaws/kafkaws/record"
)

// maxNotices is how many notices a tail keeps. They are rare.
const maxNotices = 1000

// notice is something that sessions which talk are told when they come to its
// place in the tail: that there are new partitions, or that reading did not simply
// go on in one.
type notice struct {
	pos   uint64
	found map[int32]int64 // where the new partitions begin
	// id is the topic's, and remade tells that it is new, where found is set:
	// then all partitions are in found.
	id     record.TopicID
	remade bool
	loss   record.Loss // where found is nil
}

// cut tells that the log behind the notice is another one than before it.
func (n *notice) cut() bool {
	return n.found == nil && (n.loss.Reason == record.LossTruncated || n.loss.Reason == record.LossRecreated)
}

// notice adds a notice at the head. The lock of the indexes is held.
func (t *tail) notice(n notice) {
	n.pos = t.head.Load()
	if n.cut() {
		t.seal()
		t.floor = n.pos
	}
	if len(t.notices) == maxNotices {
		t.notices = slices.Delete(t.notices, 0, maxNotices/2)
	}
	t.notices = append(t.notices, n)
	t.noticed.Add(1)
}

// noticeAt returns a notice by its number, counted from the tail's first. It
// reports false where the tail does not have it any more. The lock of the indexes
// is held.
func (t *tail) noticeAt(number uint64) (*notice, bool) {
	first := t.noticed.Load() - uint64(len(t.notices))
	if number < first {
		return nil, false
	}
	return &t.notices[number-first], true
}

// copyNotice is noticeAt for those who do not hold the lock.
func (t *tail) copyNotice(number uint64) (n notice, held bool) {
	t.imu.RLock()
	defer t.imu.RUnlock()
	if at, held := t.noticeAt(number); held {
		return *at, true
	}
	return notice{}, false
}

// due reports whether there is something to tell before the frames. If there is
// something to tell between them, it leaves out those behind.
func (f *follower) due(frames *stretch) bool {
	t := f.tail
	if f.overdue {
		return true
	}
	if t.noticed.Load() == f.noticed {
		return f.lagging && len(frames.bytes) == 0
	}
	t.imu.RLock()
	defer t.imu.RUnlock()
	n, held := t.noticeAt(f.noticed)
	if !held || n.pos <= f.pos.Load() {
		return true
	}
	if before := n.pos - f.pos.Load(); before < uint64(len(frames.bytes)) {
		*frames = frames.until(int(before))
	}
	return false
}

// noticeHere reports whether the follower stands at a notice that it has not
// heeded.
func (f *follower) noticeHere() bool {
	t := f.tail
	if f.session.talking == nil || t.noticed.Load() == f.noticed {
		return false
	}
	t.imu.RLock()
	defer t.imu.RUnlock()
	n, held := t.noticeAt(f.noticed)
	return !held || n.pos <= f.pos.Load()
}

// tellDue tells the client what is due of a topic that it follows, or catches up
// with in the tail, and reports whether there was anything.
func (s *Session) tellDue(f *follower) (told bool, err error) {
	if told, err = s.tellNotice(f); told || err != nil {
		return told, err
	}
	t := f.tail
	switch {
	case f.overdue:
		return true, s.tellProgress(f)
	case f.lagging && f.catchUp == nil && f.pos.Load() == t.head.Load():
		f.lagging = false
		return true, s.tell(CaughtUp{t.topic.name})
	}
	return false, nil
}

// tellNotice tells the client of the next notice if the follower has come to its
// place in the tail.
func (s *Session) tellNotice(f *follower) (told bool, err error) {
	t := f.tail
	if t.noticed.Load() == f.noticed {
		return false, nil
	}
	here, held := t.copyNotice(f.noticed)
	switch {
	case !held:
		// More has happened than is kept.
		return true, s.abandon(f, record.ErrOffsetGone)
	case here.pos > f.pos.Load():
		return false, nil
	}
	number := f.noticed
	f.noticed++
	if c := f.catchUp; c == nil {
		if here.found != nil {
			f.id = here.id
			return true, s.tellFound(f, here.found)
		}
		return true, s.tellLoss(f, here.loss)
	} else if number < c.applied && (here.found != nil || here.cut()) {
		return true, nil // it was heeded
	}
	return true, s.apply(f, &here)
}

// apply has a follower that catches up by offsets heed a notice.
func (s *Session) apply(f *follower, n *notice) error {
	next := &f.catchUp.next
	if n.found != nil {
		news := make(map[int32]int64)
		for p, first := range n.found {
			if next.at(p) == unknown {
				next.set(p, first)
				news[p] = first
			}
		}
		if f.id = n.id; n.remade {
			news = f.position().Offsets
		}
		return s.tellFound(f, news)
	}
	loss := n.loss
	loss.From = next.at(loss.Partition)
	// A log that was cut behind what the session has got is no loss to it, and
	// neither are records that it has got.
	if loss.From == loss.Next || (loss.From < loss.Next) == n.cut() {
		return nil
	}
	next.set(loss.Partition, loss.Next)
	return s.tellLoss(f, loss)
}

// heed has a follower that stands nowhere in the tail heed the notices that it
// cannot pass by later: new partitions, and logs that are others now. It reports
// whether there were any.
func (s *Session) heed(f *follower) (told bool, err error) {
	t, c := f.tail, f.catchUp
	if f.overdue {
		return true, s.tellProgress(f)
	}
	if c.applied = max(c.applied, f.noticed); t.noticed.Load() == c.applied {
		return false, nil
	}
	here, held := t.copyNotice(c.applied)
	if !held {
		return true, s.abandon(f, record.ErrOffsetGone)
	}
	c.applied++
	if here.found == nil && !here.cut() {
		return true, nil // it is met where the records would be
	}
	return true, s.apply(f, &here)
}

// tellFound tells of new partitions, or of those of a topic that was made again.
func (s *Session) tellFound(f *follower, found map[int32]int64) error {
	if len(found) == 0 {
		return nil
	}
	at := record.TopicPosition{TopicID: f.id, Offsets: found}
	for p, next := range found {
		f.told.set(p, next)
	}
	return s.tell(Progress{record.Positions{f.tail.topic.name: at}})
}

// tellLoss tells of a loss, and does what the site wants of them.
func (s *Session) tellLoss(f *follower, loss record.Loss) error {
	if s.onGap() == GapClose {
		return s.abandon(f, record.ErrOffsetGone)
	}
	f.told.set(loss.Partition, loss.Next)
	return s.tell(Gap{f.tail.topic.name, loss})
}
