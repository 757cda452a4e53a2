package gateway

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// OnGap says what becomes of a subscription that is to get records which Kafka
// does not have any more.
type OnGap int

// What may become of it.
const (
	// GapDefault is GapEarliest for sessions that talk, which are told of it, and
	// GapClose for the others.
	GapDefault OnGap = iota
	// GapClose ends it: a session that talks is told of Failed, others are closed
	// with CloseRecordsLost.
	GapClose
	// GapEarliest has it go on with the first record that there is.
	GapEarliest
	// GapLatest has it go on at the end of the partition.
	GapLatest
)

// onGap returns what becomes of the session's subscriptions.
func (s *Session) onGap() OnGap {
	switch on := s.pool.cfg.OnGap; {
	case on != GapDefault:
		return on
	case s.talking != nil:
		return GapEarliest
	default:
		return GapClose
	}
}

// goneAfter is for how long brokers have to say that there is no topic which is being
// read before they are believed: one of them may just not know it yet.
const goneAfter = 2 * time.Second

// topicAge is how old what is known of a topic may be when positions are checked.
const topicAge = 5 * time.Second

// settle waits until it is known where the follower begins.
func (f *follower) settle(ctx context.Context, start record.Start) error {
	t := f.tail.topic
	select {
	case <-t.settled:
	case <-ctx.Done():
		return record.ErrUnavailable
	}
	t.mu.Lock()
	fresh := t.missing && !t.moved()
	crowded := t.stands() == topicCrowded
	if f.id == (record.TopicID{}) {
		f.id = t.topicID() // nobody knew it when the follower was made
	}
	t.mu.Unlock()
	if crowded {
		return ErrTooManyMissing
	}
	if fresh {
		return nil // all that will come is still to come
	}
	next, err := f.begin(ctx, start)
	for since := time.Now(); errors.Is(err, record.ErrUnknownTopic); next, err = f.begin(ctx, start) {
		if time.Since(since) >= goneAfter {
			return f.beginWithout(start)
		}
		select {
		case <-time.After(fetchPause):
		case <-ctx.Done():
			return err
		}
	}
	if err != nil || next == nil {
		return err
	}
	if err := t.reach(ctx, next); err != nil {
		return err
	}
	f.lag(offsetsOf(next))
	return nil
}

// reach waits until the reading has come to all of these partitions. One that was
// found just now, or has had no leader, is announced at a place of its own: a session
// that begins before that has to know it in order to read up to there.
func (t *topic) reach(ctx context.Context, partitions map[int32]int64) error {
	for {
		t.mu.Lock()
		known := true
		for p := range partitions {
			_, there := t.next[p]
			known = known && there
		}
		t.mu.Unlock()
		if known {
			return nil
		}
		select {
		case <-time.After(fetchPause / 10):
		case <-ctx.Done():
			return record.ErrUnavailable
		}
	}
}

// beginWithout has a follower of a topic that was deleted while it was read wait
// where the reading stands, for the topic to be made again. What its client has not
// got of it is lost.
func (f *follower) beginWithout(start record.Start) error {
	t := f.tail.topic
	at, named := start.Positions[t.name]
	if start.Kind != record.StartPositions || !named {
		return nil
	}
	came := &resumed{at: at}
	t.mu.Lock()
	for _, p := range slices.Sorted(maps.Keys(at.Offsets)) {
		if next, known := t.next[p]; known && at.Offsets[p] < next {
			came.gaps = append(came.gaps, record.Loss{Partition: p, From: at.Offsets[p], Next: next, Reason: record.LossExpired})
		}
	}
	t.mu.Unlock()
	return f.came(came)
}

// came notes what a client has come back with, and what it has lost, which ends its
// subscription where the site wants that.
func (f *follower) came(r *resumed) error {
	s := f.session
	if len(r.gaps) > 0 && s.onGap() == GapClose {
		if s.talking != nil {
			return record.ErrOffsetGone
		}
		s.Close(CloseRecordsLost, reasonGone)
	}
	if s.talking != nil {
		f.resumed = r
	}
	return nil
}

// begin returns the offsets at which a session begins that does not begin at the
// end.
func (f *follower) begin(ctx context.Context, start record.Start) (map[int32]int64, error) {
	t := f.tail.topic
	source := t.hub.cfg.Source
	switch start.Kind {
	case record.StartEarliest:
		return source.Offsets(ctx, t.name, record.PointEarliest)
	case record.StartAgo, record.StartTime:
		return source.Offsets(ctx, t.name, record.PointAt(start.Since(time.Now())))
	case record.StartNewest:
		first, err := source.Offsets(ctx, t.name, record.PointEarliest)
		if err != nil {
			return nil, err
		}
		last, err := source.Offsets(ctx, t.name, record.PointLatest)
		for p := range last {
			last[p] = max(last[p]-start.Newest, first[p])
		}
		return last, err
	case record.StartPositions:
		if at, ok := start.Positions[t.name]; ok {
			return f.resume(ctx, at)
		}
	case record.StartDefault, record.StartLatest:
	}
	return nil, nil
}

// resume checks the positions of a client against what Kafka has: the topic may
// be another one of that name, its log may have been cut, and records may have been
// deleted. Where that is so the session does what its site wants of gaps.
func (f *follower) resume(ctx context.Context, at record.TopicPosition) (map[int32]int64, error) {
	t := f.tail.topic
	source := t.hub.cfg.Source
	topic, err := source.Describe(ctx, t.name, topicAge)
	if err != nil {
		return nil, err
	}
	none := record.TopicID{}
	remade := at.TopicID != none && topic.ID != none && at.TopicID != topic.ID
	cuts := map[int32]int64{} // where the logs part from what the client has read
	for p, offset := range at.Offsets {
		cuts[p] = offset
		epoch, read := at.Epochs[p]
		if _, there := topic.Epochs[p]; !there || !read || remade {
			continue
		}
		if cuts[p], err = source.Verify(ctx, t.name, p, offset, epoch); err != nil {
			return nil, err
		}
	}
	// Asked for after that, which has found leaders that are not behind the client.
	first, err := source.Offsets(ctx, t.name, record.PointEarliest)
	if err != nil {
		return nil, err
	}
	last, err := source.Offsets(ctx, t.name, record.PointLatest)
	if err != nil {
		return nil, err
	}
	next := make(map[int32]int64, len(first))
	came := &resumed{at: at}
	gap := func(p int32, to int64, reason record.LossReason) {
		came.gaps = append(came.gaps, record.Loss{Partition: p, From: at.Offsets[p], Next: to, Reason: reason})
	}
	for _, p := range slices.Sorted(maps.Keys(at.Offsets)) {
		if _, there := first[p]; !there {
			gap(p, 0, record.LossRecreated) // the partition is gone
		}
	}
	on := f.session.onGap()
	for _, p := range slices.Sorted(maps.Keys(first)) {
		offset := at.Offsets[p] // a partition that is not named begins at 0
		elsewhere := first[p]
		if on == GapLatest {
			elsewhere = last[p]
		}
		switch _, named := at.Offsets[p]; {
		case remade:
			next[p] = elsewhere
			if named {
				gap(p, next[p], record.LossRecreated)
			}
		case offset < first[p]:
			next[p] = elsewhere
			if named {
				gap(p, next[p], record.LossExpired)
			}
		case cuts[p] < offset:
			next[p] = max(cuts[p], first[p])
			if on == GapLatest {
				next[p] = last[p]
			}
			gap(p, next[p], record.LossTruncated)
		case offset > last[p]:
			// Where the log was cut is not known.
			next[p] = elsewhere
			gap(p, next[p], record.LossTruncated)
		default:
			next[p] = offset
		}
	}
	return next, f.came(came)
}

// crossGap has a follower that catches up go on behind records of a partition
// that Kafka does not have, if its site wants that. It returns what sending
// returns, and why the offsets that there are could not be found out.
func (s *Session) crossGap(ctx context.Context, f *follower, partition int32) (err, lookup error) {
	point := record.PointEarliest
	switch s.onGap() {
	case GapLatest:
		point = record.PointLatest
	case GapEarliest:
	case GapClose, GapDefault:
		if s.talking != nil {
			return s.abandon(f, record.ErrOffsetGone), nil
		}
		s.Close(CloseRecordsLost, reasonGone)
		return nil, nil
	}
	t := f.tail.topic
	offsets, err := t.hub.cfg.Source.Offsets(ctx, t.name, point)
	if err != nil {
		return nil, err
	}
	before := f.catchUp.next.at(partition)
	offset, there := offsets[partition]
	switch {
	case there && offset > before:
		f.catchUp.next.set(partition, offset)
		return s.tellLoss(f, record.Loss{Partition: partition, From: before, Next: offset, Reason: record.LossExpired}), nil
	case s.talking != nil:
		// The log ends before: it was cut, or is another one. The topic's reading
		// is about to notice, and to tell where it goes on.
		s.pause()
	default:
		s.Close(CloseRecordsLost, reasonGone)
	}
	return nil, nil
}
