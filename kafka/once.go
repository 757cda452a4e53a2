package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// pieceBytes is what Fetch asks for first: whoever reads piece by piece holds
// one while its client takes it.
const pieceBytes = 256 << 10

// Fetch implements record.Source. The batch has about pieceBytes, or is a single
// batch of Kafka's that is larger. A partition that does not exist has no
// offset.
func (s *source) Fetch(ctx context.Context, topic string, partition int32, offset int64) (record.Batch, error) {
	var batch record.Batch
	bytes, alone, bad := int32(pieceBytes), false, 0
	err := s.retry(ctx, "reading records", topic, func(t *topicInfo) error {
		for {
			p, err := t.led(partition)
			if err != nil {
				return err
			}
			g, err := s.grabOne(ctx, &grab{
				ctx: ctx, key: topicPartition{topic, partition}, offset: offset, epoch: p.epoch, bytes: bytes, alone: alone,
			}, p.leader)
			var d decoded
			if err == nil && g.block.Err == sarama.ErrNoError {
				d = decodeBlock(g.block, topic, partition, offset, s.committed)
			}
			cutShort := d.partial && alone && bytes == maxFetchBytes
			if cutShort || err != nil && garbled(err) {
				if alone {
					bad++
				}
				alone = true
				if bad < 3 {
					continue
				}
				end, err := s.endOfBad(ctx, topic, partition, offset, p.leader, p.epoch)
				if err != nil {
					return err
				}
				s.c.log.Error("skipping a record batch that cannot be read", zap.String("topic", topic),
					zap.Int32("partition", partition), zap.Int64("offset", offset), zap.Int64("next", end))
				batch = record.Batch{Partition: partition, Next: end, Epoch: noEpoch, Unreadable: true}
				return nil
			}
			if err != nil {
				return err
			}
			b := g.block
			switch b.Err {
			case sarama.ErrNoError:
			case sarama.ErrOffsetOutOfRange:
				return fmt.Errorf("reading topic %q, partition %d: there is no offset %d: %w", topic, partition, offset, record.ErrOffsetGone)
			case sarama.ErrTopicAuthorizationFailed, sarama.ErrClusterAuthorizationFailed:
				return fmt.Errorf("reading topic %q: the gateway has no right to it (READ): %w", topic, record.ErrRefused)
			default:
				return b.Err
			}
			batch = d.batch
			if d.moved {
				return nil
			}
			end := b.HighWaterMarkOffset
			if s.committed && b.LastStableOffset >= 0 {
				end = min(end, b.LastStableOffset)
			}
			switch {
			case d.partial:
				if alone {
					bytes = min(2*bytes, maxFetchBytes)
				}
			case alone, offset >= end, g.throttled > 0:
				return nil
			}
			alone = true // others had filled the answer
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	})
	if err != nil {
		return record.Batch{}, err
	}
	return batch, nil
}

// grabOne asks a leader and waits for the reply.
func (s *source) grabOne(ctx context.Context, g *grab, leader int32) (grabbed, error) {
	g.reply = make(chan grabbed, 1)
	s.grab(leader, g)
	select {
	case r := <-g.reply:
		if r.err == nil && r.block == nil {
			r.err = sarama.ErrUnknown
		}
		return r, r.err
	case <-ctx.Done():
		return grabbed{}, ctx.Err()
	case <-s.c.ctx.Done():
		return grabbed{}, s.c.ctx.Err()
	}
}

// retry does something that needs a topic's metadata, until it succeeds, or
// fails with an error for the caller, or ctx is done. After the first failure it
// uses new metadata.
func (s *source) retry(ctx context.Context, doing, topic string, do func(*topicInfo) error) error {
	if !record.ValidTopic(topic) {
		return fmt.Errorf("%s of topic %q: it is no legal name: %w", doing, topic, record.ErrUnknownTopic)
	}
	age := s.c.timings.positive
	for failures := 1; ; failures++ {
		t, err := s.c.meta.lookup(ctx, topic, age)
		if err != nil {
			return err
		}
		if err := t.problem(); err != nil {
			return err
		}
		if err = do(t); err == nil || errors.Is(err, record.ErrOffsetGone) || errors.Is(err, record.ErrRefused) {
			return err
		}
		if s.c.ctx.Err() != nil {
			return fmt.Errorf("%s of topic %q: %w", doing, topic, record.ErrClosed)
		}
		s.c.log.Debug(doing+" failed; trying again", zap.String("topic", topic), zap.Error(err))
		age = 0
		if !sleep(ctx, backoff(failures, 50*time.Millisecond, time.Second)) {
			return fmt.Errorf("%s of topic %q: no leader answered in time: %w", doing, topic, record.ErrUnavailable)
		}
	}
}

// led returns what is known of a partition that has a leader.
func (t *topicInfo) led(id int32) (partitionInfo, error) {
	for _, p := range t.partitions {
		if p.id == id && p.leader >= 0 {
			return p, nil
		} else if p.id == id {
			return p, sarama.ErrLeaderNotAvailable
		}
	}
	if t.err == sarama.ErrNoError && len(t.partitions) > 0 {
		return partitionInfo{}, fmt.Errorf("reading topic %q: it has no partition %d: %w", t.name, id, record.ErrOffsetGone)
	}
	return partitionInfo{}, sarama.ErrLeaderNotAvailable
}
