package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// claimed takes note of the committed offset of a partition that the member got;
// below 0 there is none.
func (m *member) claimed(key topicPartition, committed int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.parts[key]
	switch {
	case h == nil || h.placed || h.placing:
		return
	case committed >= 0:
		h.committed = committed
		h.place(committed)
		return
	}
	h.placing = true
	start := m.spec.Start
	if m.later(key) {
		start = record.Start{Kind: record.StartEarliest}
	}
	m.work.Go(func() { m.begin(h, start) })
}

// begin finds out where a partition begins that the group has no offset of, and
// commits that, so that it begins there for its next owner as well: what was
// read of it and is not done would be lost to the group otherwise.
func (m *member) begin(h *held, start record.Start) {
	for failures := 1; ; failures++ {
		next, err := m.startOf(m.stay, h.key, start)
		if err == nil {
			m.mu.Lock()
			h.done = next
			m.mu.Unlock()
			err = m.secure(m.stay, map[*held]position{h: {h, next, h.log}})
		}
		m.mu.Lock()
		gone := h.gone
		if err == nil && !gone {
			h.place(next)
		}
		m.mu.Unlock()
		switch {
		case err == nil || gone:
			return
		case errors.Is(err, record.ErrRefused):
			m.fail(err)
			return
		}
		m.c.log.Debug("looking up where a partition begins failed; trying again",
			zap.String("group", m.spec.Group), zap.String("topic", h.key.topic), zap.Int32("partition", h.key.id), zap.Error(err))
		if !sleep(m.stay, backoff(failures, 100*time.Millisecond, time.Second)) {
			return
		}
	}
}

// startOf finds the offset at which a partition begins.
func (m *member) startOf(ctx context.Context, key topicPartition, start record.Start) (int64, error) {
	if start.Kind == record.StartPositions {
		if at, ok := start.Positions[key.topic]; ok {
			return m.position(ctx, key, at)
		}
		start = record.Start{}
	}
	var next int64
	err := m.src.retry(ctx, "looking up where a partition begins", key.topic, func(t *topicInfo) error {
		p, err := t.led(key.id)
		if err != nil {
			return err
		}
		next, err = m.lookUp(ctx, place{key, p.leader, p.epoch}, start)
		return refusal(key.topic, err)
	})
	return next, err
}

// lookUp asks the leader of a partition.
func (m *member) lookUp(ctx context.Context, pl place, start record.Start) (int64, error) {
	if start.Kind == record.StartEarliest {
		f, err := m.src.offset(ctx, pl, sarama.OffsetOldest, false)
		return f.offset, err
	}
	// The end comes first: what is written before the second answer, and is not
	// found by it, is behind this end.
	end, err := m.src.offset(ctx, pl, sarama.OffsetNewest, m.src.committed)
	if err != nil {
		return 0, err
	}
	switch start.Kind {
	case record.StartTime, record.StartAgo:
		at := int64(record.PointAt(start.Since(m.born)))
		f, err := m.src.offset(ctx, pl, at, m.src.committed)
		if err != nil || f.offset >= 0 {
			return f.offset, err
		}
	case record.StartNewest:
		first, err := m.src.offset(ctx, pl, sarama.OffsetOldest, false)
		return max(first.offset, end.offset-start.Newest), err
	default:
	}
	return end.offset, nil
}

// position finds where a partition begins that positions are given of.
func (m *member) position(ctx context.Context, key topicPartition, at record.TopicPosition) (int64, error) {
	next := at.Offsets[key.id]
	if !at.TopicID.IsZero() {
		t, err := m.src.Describe(ctx, key.topic, m.c.timings.positive)
		switch {
		case err != nil:
			return 0, err
		case !t.ID.IsZero() && t.ID != at.TopicID:
			return 0, nil // they are of a topic that was deleted since
		}
	}
	epoch, ok := at.Epochs[key.id]
	if !ok {
		return next, nil
	}
	return m.src.Verify(ctx, key.topic, key.id, next, epoch)
}
