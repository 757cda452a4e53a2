package gateway

import (
	"context"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// OnGap says what becomes of a session that is to get records which Kafka does
// not have any more.
type OnGap int

// What may become of it.
const (
	// GapClose closes it with CloseRecordsLost.
	GapClose OnGap = iota
	// GapEarliest has it go on with the first record that there is.
	GapEarliest
	// GapLatest has it go on at the end of the partition.
	GapLatest
)

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
	t.mu.Unlock()
	if fresh {
		return nil // all that will come is still to come
	}
	next, err := f.begin(ctx, start)
	if err != nil || next == nil {
		return err
	}
	t.mu.Lock()
	for p := range next {
		if _, known := t.next[p]; !known {
			delete(next, p) // it was found just now, and begins where it is announced
		}
	}
	t.mu.Unlock()
	f.lag(offsetsOf(next))
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
	first, err := source.Offsets(ctx, t.name, record.PointEarliest)
	if err != nil {
		return nil, err
	}
	last, err := source.Offsets(ctx, t.name, record.PointLatest)
	if err != nil {
		return nil, err
	}
	none := record.TopicID{}
	remade := at.TopicID != none && topic.ID != none && at.TopicID != topic.ID
	next := make(map[int32]int64, len(first))
	gap := false
	for p := range at.Offsets {
		_, there := first[p]
		gap = gap || !there // the partition is gone
	}
	for p := range first {
		offset := at.Offsets[p] // a partition that is not named begins at 0
		if epoch, ok := at.Epochs[p]; ok && !remade {
			cut, err := source.Verify(ctx, t.name, p, offset, epoch)
			if err != nil {
				return nil, err
			}
			gap = gap || cut < offset
			offset = min(offset, cut)
		}
		if remade || offset < first[p] || offset > last[p] {
			gap = true
			offset = first[p]
			if f.session.pool.cfg.OnGap == GapLatest {
				offset = last[p]
			}
		}
		next[p] = offset
	}
	if gap && f.session.pool.cfg.OnGap == GapClose {
		f.session.Close(CloseRecordsLost, reasonGone)
	}
	return next, nil
}

// crossGap has a follower that catches up go on behind records of a partition
// that Kafka does not have, if its site wants that.
func (f *follower) crossGap(ctx context.Context, partition int32) error {
	var point record.Point
	switch f.session.pool.cfg.OnGap {
	case GapEarliest:
		point = record.PointEarliest
	case GapLatest:
		point = record.PointLatest
	case GapClose:
		f.session.Close(CloseRecordsLost, reasonGone)
		return nil
	}
	t := f.tail.topic
	offsets, err := t.hub.cfg.Source.Offsets(ctx, t.name, point)
	if err != nil {
		return err
	}
	offset, there := offsets[partition]
	if !there || offset <= f.catchUp.next.at(partition) {
		// The log ends before: it was cut, or is another one.
		f.session.Close(CloseRecordsLost, reasonGone)
		return nil
	}
	f.catchUp.next.set(partition, offset)
	return nil
}
