package gateway

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// tail holds the newest records of a topic in one encoding, as finished frames
// in a ring of segments. Its stream of bytes is numbered from 0 when the tail is
// made; a session's place in it is such a number.
//
// The topic's worker appends, under the topic's lock. Readers of frames need no
// lock: the head is stored after the bytes before it were written, and a view,
// once published, does not change.
type tail struct {
	topic    *topic
	encoding *Encoding
	deflater *deflater

	head atomic.Uint64
	view atomic.Pointer[[]*segment]

	// imu guards the indexes of all segments; next, the next offset of each
	// partition at the head; and first, the one at which it began. index is the
	// one that is being filled; there is one before there is a segment.
	imu         sync.RWMutex
	next, first offsets
	index       *index
	// epochs are the leader epochs of what is before next, by partition, -1
	// where they are not known.
	epochs []int32
	// sealed tells that what comes next goes into a new segment, and floor is the
	// place before which records are of logs that have been cut since.
	sealed bool
	floor  uint64
	// notices are what sessions that talk are to be told at places of the
	// stream, and noticed is how many there have been.
	notices []notice
	noticed atomic.Uint64

	// held is how many bytes the segments take, begun when the last of them was,
	// and appended when something was last put into it. The topic's lock guards
	// them.
	held            int64
	begun, appended time.Time

	followers followers
}

// newTail makes a tail that begins behind the offsets that the topic has come to.
func newTail(t *topic, e *Encoding) *tail {
	tl := &tail{topic: t, encoding: e, deflater: newDeflater(e.Deflate), next: offsetsOf(t.next)}
	tl.first, tl.index = slices.Clone(tl.next), &index{start: slices.Clone(tl.next)}
	tl.view.Store(new([]*segment))
	tl.followers.init(t.hub)
	return tl
}

// read returns the frames from pos on that stand contiguously; none where pos is
// the head. It reports false where the tail no longer holds pos.
func (t *tail) read(pos uint64) (stretch, bool) {
	// The head is loaded first: a view that is loaded later holds all bytes
	// before it that have not been trimmed.
	head := t.head.Load()
	if pos == head {
		return stretch{}, true
	}
	segments := *t.view.Load()
	i := sort.Search(len(segments), func(i int) bool { return segments[i].base > pos }) - 1
	if i < 0 {
		return stretch{}, false
	}
	end := head
	if i+1 < len(segments) {
		end = min(end, segments[i+1].base)
	}
	seg := segments[i]
	return stretch{bytes: seg.data[pos-seg.base : end-seg.base], tail: t, index: seg.index, pos: pos}, true
}

// oldest returns the first place that the tail still holds.
func (t *tail) oldest() uint64 {
	if segments := *t.view.Load(); len(segments) > 0 {
		return segments[0].base
	}
	return t.head.Load()
}

// append encodes records of a partition and makes them visible; next is the
// offset behind them and behind those that are not shown, and epoch the leader
// epoch of the last of them. The topic's lock is held.
func (t *tail) append(partition int32, c *chained, next int64, epoch int32) {
	records := c.records
	t.imu.Lock()
	head := t.head.Load()
	for i := range records {
		n, err := t.encode(head, &records[i])
		if err != nil {
			t.topic.hub.cfg.skipped(t.topic.name, err)
			continue
		}
		head += uint64(n)
		t.note(partition, records[i].Offset+1, head)
		t.index.sift(c.verdicts, i)
	}
	if next > t.next.at(partition) {
		t.note(partition, next, head)
	}
	for int(partition) >= len(t.epochs) {
		t.epochs = append(t.epochs, -1)
	}
	t.epochs[partition] = epoch
	moved := head != t.head.Load()
	t.head.Store(head)
	t.imu.Unlock()
	if !moved {
		return
	}
	t.appended = time.Now()
	if t.held > t.topic.hub.cfg.Buffer {
		t.trim(t.held - t.topic.hub.cfg.Buffer)
	}
	t.followers.wake()
}

// note notes that a partition has come to an offset at a place, which is the
// last. The lock of the indexes is held.
func (t *tail) note(partition int32, next int64, pos uint64) {
	x := t.index
	t.next.set(partition, next)
	full := len(x.entries) == cap(x.entries)
	x.note(entry{offset: next - 1, partition: partition, end: uint32(pos - x.base)})
	if seg := t.last(); full && seg != nil && seg.index == x {
		t.count(seg)
	}
}

// set has a partition go on at an offset that was not reached by reading: where
// it begins, or behind a gap. The lock of the indexes is held.
func (t *tail) set(partition int32, next int64) {
	if t.first.at(partition) == unknown {
		t.first.set(partition, next)
	}
	if int(partition) < len(t.epochs) {
		t.epochs[partition] = -1
	}
	t.note(partition, next, t.head.Load())
}

// seal has what comes next go into a new segment. The lock of the indexes is
// held.
func (t *tail) seal() { t.sealed = true }

// encode puts one record's frame at the end of the stream, which is at head, and
// returns the frame's length. It is not visible before the head is moved.
func (t *tail) encode(head uint64, r *record.Record) (int, error) {
	first := t.encoding.firstByte()
	seg := t.last()
	if seg == nil || t.sealed || len(seg.data)-seg.used < maxHeader || len(seg.index.entries) >= maxEntries {
		seg = t.grow(head, r.Size()+maxHeader)
	}
	// The payload is encoded in place behind a gap for the header. Where it
	// does not fit, append has moved it to memory of its own.
	room := seg.data[seg.used+guessedHeader : seg.used+guessedHeader : len(seg.data)]
	payload, err := t.encoding.append(room, r)
	if err != nil {
		return 0, err
	}
	first, payload = t.deflater.frame(first, payload)
	header := headerLen(len(payload))
	if len(seg.data)-seg.used < header+len(payload) {
		seg = t.grow(head, header+len(payload))
	}
	frame := seg.data[seg.used : seg.used+header+len(payload)]
	copy(frame[header:], payload) // onto itself where it was encoded in place
	putHeader(frame, first, len(payload))
	seg.used += len(frame)
	return len(frame), nil
}

func (t *tail) last() *segment {
	segments := *t.view.Load()
	if len(segments) == 0 {
		return nil
	}
	return segments[len(segments)-1]
}

// grow ends the last segment and adds one that begins at head and has room for
// need bytes.
func (t *tail) grow(head uint64, need int) *segment {
	old := *t.view.Load()
	now := time.Now()
	size := firstSegment
	if n := len(old); n > 0 {
		size = min(nextSize(len(old[n-1].data), now.Sub(t.begun)), t.topic.hub.segmentLimit())
		if old[n-1].used == 0 {
			// Nothing was put into it, so nobody can stand in it.
			t.hold(-old[n-1].held)
			old = old[:n-1]
		}
	}
	size = max(size, need)
	x := &index{base: head, start: slices.Clone(t.next), entries: make([]entry, 0, max(8, size/512))}
	for _, s := range t.sieves() {
		x.sifted = append(x.sifted, sifted{by: s})
	}
	t.sealed = false
	seg := &segment{base: head, data: make([]byte, size), index: x}
	t.index, t.begun = x, now
	t.count(seg)
	view := append(slices.Clip(old), seg)
	t.view.Store(&view)
	return seg
}

// count counts what a segment takes.
func (t *tail) count(seg *segment) {
	held := int64(len(seg.data) + entrySize*cap(seg.index.entries) + 8*len(seg.index.start))
	t.hold(held - seg.held)
	seg.held = held
}

// trim lets go of the oldest segments until that many bytes are free, or there
// is no other than the last. The topic's lock is held.
func (t *tail) trim(bytes int64) {
	segments := *t.view.Load()
	drop := 0
	for drop < len(segments)-1 && bytes > 0 {
		bytes -= segments[drop].held
		drop++
	}
	t.drop(drop)
}

// idle lets go of the last segment too, if there is no other and every follower
// has been served all of it. The topic's lock is held.
func (t *tail) idle() {
	if segments := *t.view.Load(); len(segments) == 1 && t.followers.allAt(t.head.Load()) {
		t.drop(1)
	}
}

// drop lets go of the first n segments. A session that has not been served them
// has to read them elsewhere, unless it is one of those that are closed then.
func (t *tail) drop(n int) {
	if n == 0 {
		return
	}
	segments := *t.view.Load()
	for _, seg := range segments[:n] {
		t.hold(-seg.held)
	}
	view := slices.Clone(segments[n:])
	t.view.Store(&view)
	oldest := t.oldest()
	t.followers.each(func(f *follower) {
		if f.session.pool.cfg.SlowClient == SlowDisconnect && !f.behind.Load() && f.pos.Load() < oldest {
			// The flusher would notice by itself, unless it is blocked.
			f.session.Close(CloseRecordsLost, reasonBehind)
		}
	})
}

func (t *tail) hold(n int64) {
	t.held += n
	t.topic.hub.held.Add(n)
}
