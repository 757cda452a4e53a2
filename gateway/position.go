package gateway

import (
	"slices"

	"github.com/kafkaws/kafkaws/record"
)

// maxUnseen is how many offsets a session may be led past without a record that
// shows them, before it is told where it is.
const maxUnseen = 10_000

// position returns the follower's position in its topic: what the session was
// given is before it, and what it gets is behind. It is the flusher's.
func (f *follower) position() record.TopicPosition {
	next, epochs := f.place()
	at := record.TopicPosition{TopicID: f.id, Offsets: make(map[int32]int64, len(next))}
	for p, offset := range next {
		if offset == unknown {
			continue
		}
		at.Offsets[int32(p)] = offset
		if p < len(epochs) && epochs[p] >= 0 {
			if at.Epochs == nil {
				at.Epochs = make(map[int32]int32, len(next))
			}
			at.Epochs[int32(p)] = epochs[p]
		}
	}
	return at
}

// place returns the next offset of each partition, and the leader epochs of what
// is before them where they are known.
func (f *follower) place() (next offsets, epochs []int32) {
	t := f.tail
	t.imu.RLock()
	defer t.imu.RUnlock()
	pos := f.pos.Load()
	switch c := f.catchUp; {
	case c != nil:
		next = slices.Clone(c.next)
		if c.joined && pos == t.head.Load() && f.noticed == t.noticed.Load() {
			// Everything before the head is behind it, be it not shown.
			for p, offset := range t.next {
				next.set(int32(p), max(next.at(int32(p)), offset))
			}
		}
		return next, nil
	case pos == t.head.Load():
		return slices.Clone(t.next), slices.Clone(t.epochs)
	default:
		return f.index.at(pos), nil
	}
}

// opening returns the position at which a follower begins, all of which the
// client is about to know.
func (f *follower) opening() record.TopicPosition {
	f.skipNotices()
	at := f.position()
	for p, next := range at.Offsets {
		f.told.set(p, next)
		if f.resumed == nil || f.resumed.at.Offsets[p] != next {
			continue
		}
		if epoch, ok := f.resumed.at.Epochs[p]; ok {
			if at.Epochs == nil {
				at.Epochs = make(map[int32]int32)
			}
			at.Epochs[p] = epoch
		}
	}
	return at
}

// skipNotices passes by what has happened before a follower begins: that is in its
// position.
func (f *follower) skipNotices() {
	t := f.tail
	t.imu.RLock()
	defer t.imu.RUnlock()
	for f.catchUp == nil && f.noticed < t.noticed.Load() {
		n, held := t.noticeAt(f.noticed)
		if held && n.pos > f.pos.Load() {
			break
		}
		if held && n.found != nil {
			f.id = n.id
		}
		f.noticed++
	}
}

// tellProgress tells the client where it is in the partitions of a topic in which
// the last records that it got do not show it.
func (s *Session) tellProgress(f *follower) error {
	f.overdue, f.unseen = false, 0
	for told := !f.behind.Load(); told; {
		var err error
		if told, err = s.tellNotice(f); err != nil {
			return err
		}
		if s.follower(f.tail.topic.name) != f {
			return nil // that was the end of its subscription
		}
	}
	f.look()
	at := f.position()
	shown := f.shown()
	for p, next := range at.Offsets {
		if next == f.told.at(p) || int(p) < len(shown) && shown[p] {
			delete(at.Offsets, p)
			delete(at.Epochs, p)
			continue
		}
		f.told.set(p, next)
	}
	if len(at.Offsets) == 0 {
		return nil
	}
	return s.tell(Progress{record.Positions{f.tail.topic.name: at}})
}

// look has a follower that stands at the head see what came there without being
// shown, of which nobody is woken.
func (f *follower) look() {
	t := f.tail
	pos := f.pos.Load()
	if f.behind.Load() {
		return
	}
	t.imu.RLock()
	if pos == t.head.Load() {
		f.index = t.index
	}
	t.imu.RUnlock()
	if f.catchUp != nil && f.passed(f.index, pos, pos) && !f.noticeHere() {
		f.catchUp = nil
	}
}

// shown returns the partitions of which the last thing before the follower's place
// in the tail was a record that the session got.
func (f *follower) shown() []bool {
	if f.catchUp != nil {
		return nil
	}
	t, x := f.tail, f.index
	t.imu.RLock()
	defer t.imu.RUnlock()
	shown := make([]bool, len(t.next))
	seen := make([]bool, len(t.next))
	bits := x.bits(f.filter)
	for i := x.from(f.pos.Load()) - 1; i >= 0; i-- {
		if p := x.entries[i].partition; !seen[p] {
			seen[p] = true
			shown[p] = x.frame(i) && (f.filter == nil || bits.has(i))
		}
	}
	return shown
}

// passedOver counts offsets that the session was led past in silence.
func (f *follower) passedOver(n int64) {
	if f.session.talking == nil {
		return
	}
	if f.unseen += n; f.unseen >= maxUnseen {
		f.overdue = true
	}
}
