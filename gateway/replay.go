package gateway

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// fetchPatience is how long one fetch of a replay may take. While Kafka is away
// the replay goes on trying, so this only bounds how late a session notices that
// it has ended.
const fetchPatience = 5 * time.Second

// replay serves a session what Kafka holds of a topic before the session's place
// in the tail. The flusher reads it a piece at a time, as the client takes it,
// so a replay holds one piece and no more.
//
// The place in the tail and the target, which is where the tail stands in each
// partition at that place, are taken together. So when every partition has been
// read up to its target, the tail goes on with exactly the next records. A tail
// that has let go of the place meanwhile gives another one, with a later target.
type replay struct {
	next   map[int32]int64
	target map[int32]int64
	turn   int32

	deflater *deflater
	box      timebox
	payload  []byte
	frames   []byte
}

// newReplay makes the follower begin at the offsets of next instead of its place
// in the tail.
func newReplay(f *follower, next map[int32]int64) {
	f.replay = &replay{next: next, deflater: newDeflater(f.tail.encoding.Deflate)}
	f.replaying.Store(true)
	f.aim()
}

// aim moves the follower to the tail's head and makes that the replay's target.
func (f *follower) aim() {
	t := f.tail.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	f.pos.Store(f.tail.head.Load())
	f.replay.target = maps.Clone(t.next)
}

// land ends the replay if the tail still holds the follower's place.
func (f *follower) land() bool {
	t := f.tail.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.pos.Load() < f.tail.oldest() {
		return false
	}
	f.replay = nil
	f.replaying.Store(false)
	return true
}

// pick returns the next partition, in turn, that has not reached its target.
func (r *replay) pick() (int32, bool) {
	partitions := slices.Sorted(maps.Keys(r.target))
	start, _ := slices.BinarySearch(partitions, r.turn)
	for i := range partitions {
		p := partitions[(start+i)%len(partitions)]
		if r.next[p] < r.target[p] {
			r.turn = p + 1
			return p, true
		}
	}
	return 0, false
}

// replayNext goes on with the replay whose turn it is.
func (s *Session) replayNext() error {
	f := s.followers[s.turn]
	if f.replay == nil {
		return nil
	}
	if s.turn++; int(s.turn) == len(s.followers) {
		s.turn = 0
	}
	if s.isBroken() {
		return net.ErrClosed
	}
	return s.replayPiece(f)
}

// replayPiece reads and writes the next piece of a follower's replay.
func (s *Session) replayPiece(f *follower) error {
	r := f.replay
	partition, more := r.pick()
	if !more {
		if !f.land() {
			f.aim()
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(s.pool.ctx, fetchPatience)
	defer cancel()
	batch, err := s.pool.cfg.Hub.cfg.Source.Fetch(ctx, f.tail.topic.name, partition, r.next[partition])
	switch {
	case errors.Is(err, record.ErrOffsetGone):
		s.Close(CloseRecordsLost, reasonGone)
		return nil
	case errors.Is(err, record.ErrRefused), errors.Is(err, record.ErrUnknownTopic):
		s.Close(CloseTryLater, "the topic cannot be read")
		return nil
	case err != nil && s.pool.ctx.Err() != nil:
		return err
	case err != nil:
		return nil // and again
	}
	r.next[partition] = r.encode(f.tail, batch, r.target[partition])
	if err := s.write(r.frames); err != nil {
		return err
	}
	s.live()
	return nil
}

// encode makes frames of the records below the target and returns the offset to
// go on at.
func (r *replay) encode(t *tail, batch record.Batch, target int64) int64 {
	r.frames = r.frames[:0]
	begin := time.Now()
	for i := range batch.Records {
		own := batch.Records[i]
		if own.Offset >= target {
			break
		}
		if chain := t.encoding.Chain; chain != nil && i > 0 && time.Since(begin) >= chain.limit() {
			// The rest is read again. While records are transformed here, the
			// session's other topics and its pings wait.
			return own.Offset
		}
		keep, err := t.encoding.Chain.run(&r.box, &own)
		if !keep {
			if err != nil {
				t.topic.hub.cfg.skipped(t.topic.name, err)
			}
			continue
		}
		payload, err := t.encoding.append(r.payload[:0], &own)
		if err != nil {
			t.topic.hub.cfg.skipped(t.topic.name, err)
			continue
		}
		r.payload = payload
		first, payload := r.deflater.frame(t.encoding.firstByte(), payload)
		r.frames = appendFrame(r.frames, first, payload)
	}
	return batch.Next
}
