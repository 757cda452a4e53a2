package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
)

// probeBytes is what a look at a log asks for, which is mostly all that is
// needed of a batch: more of one is returned if it is asked for alone.
const probeBytes = 64 << 10

// place is a partition with its leader, as far as known.
type place struct {
	topicPartition
	leader, epoch int32
}

// mark is what a look at an offset finds: the first batch of the log that ends
// behind it.
type mark struct {
	first, last int64
	epoch       int32 // noEpoch: there is no such batch, or it does not tell
}

// errNotYet is the answer of a leader that does not yet know whether what it has
// at an offset is in the other replicas.
var errNotYet = errors.New("the leader cannot serve the offset yet")

// errOutdated is what comes of metadata that knows a leader of before the records
// that a client has read.
var errOutdated = errors.New("the metadata is older than the client's position")

// probe looks at the log at an offset. It fails with sarama.ErrOffsetOutOfRange
// for an offset that the log does not have.
func (s *source) probe(ctx context.Context, pl place, offset int64) (mark, error) {
	// A transaction that is open must not hide anything.
	s = s.c.source(false)
	for alone := false; ; alone = true {
		g, err := s.grabOne(ctx, &grab{ctx: ctx, key: pl.topicPartition, offset: offset, epoch: pl.epoch, bytes: probeBytes, alone: alone}, pl.leader)
		switch {
		case err != nil && garbled(err) && alone:
			return mark{offset, offset, noEpoch}, nil // a bad batch, which is dealt with elsewhere
		case err != nil && garbled(err):
			continue
		case err != nil:
			return mark{}, err
		case g.block.Err != sarama.ErrNoError:
			return mark{}, g.block.Err
		}
		if len(g.block.RecordsSet) > 0 {
			b := g.block.RecordsSet[0].RecordBatch
			if b == nil || b.PartialTrailingRecord && !alone {
				if b == nil { // a message set of before Kafka 0.11
					return mark{offset, offset, noEpoch}, nil
				}
				continue
			}
			return mark{b.FirstOffset, b.LastOffset(), b.PartitionLeaderEpoch}, nil
		}
		switch {
		case offset >= g.block.HighWaterMarkOffset:
			return mark{}, errNotYet
		case alone:
			// Compaction has left nothing of it, or batches without records,
			// which sarama leaves out.
			last := max(offset, afterEmpty(g.block)-1)
			return mark{offset, last, noEpoch}, nil
		}
	}
}

// diverges returns the first offset, below next, from which on the log is not
// the one that was read up to next, whose epochs agrees knows; or next, if it is
// the same.
func (s *source) diverges(ctx context.Context, pl place, next int64, agrees func(offset int64, epoch int32) bool) (int64, error) {
	m, err := s.probe(ctx, pl, next-1)
	switch {
	case err == nil && (m.epoch == noEpoch || m.first >= next || agrees(next-1, m.epoch)):
		return next, nil
	case err != nil && !errors.Is(err, sarama.ErrOffsetOutOfRange):
		return 0, err
	}
	first, end, err := s.extent(ctx, pl, false)
	switch {
	case err != nil:
		return 0, err
	case next <= first:
		return next, nil // the log does not have it any more
	}
	return s.search(ctx, pl, first, min(next, end), agrees)
}

// search returns the first offset from low on, and high at most, from which on
// the log does not agree.
func (s *source) search(ctx context.Context, pl place, low, high int64, agrees func(offset int64, epoch int32) bool) (int64, error) {
	for low < high {
		at := low + (high-low)/2
		m, err := s.probe(ctx, pl, at)
		if err != nil {
			return 0, err
		}
		switch here := max(at, m.first); {
		case here >= high:
			high = at // there is nothing between
		case m.epoch == noEpoch || agrees(here, m.epoch):
			low = max(m.last, here) + 1
		default:
			high = at
		}
	}
	return min(low, high), nil
}

// extent returns the first offset of a partition and the one after its last.
func (s *source) extent(ctx context.Context, pl place, committed bool) (first, end int64, err error) {
	f, err := s.offset(ctx, pl, sarama.OffsetOldest, false)
	if err != nil {
		return 0, 0, err
	}
	e, err := s.offset(ctx, pl, sarama.OffsetNewest, committed)
	return f.offset, e.offset, err
}

// Verify implements record.Source.
//
// A broker that was cut off from the others may think that it leads, and still
// tell so in its metadata; its log then ends before what the new leader has already
// handed out. Nothing is believed to be cut for as long as the leader's epoch is
// below the client's (KIP-320). Epochs begin again with a topic that is made again,
// so that this has an end.
func (s *source) Verify(ctx context.Context, topic string, partition int32, offset int64, epoch int32) (int64, error) {
	if offset <= 0 || epoch < 0 {
		return offset, nil
	}
	at, began := offset, time.Now()
	err := s.retry(ctx, "comparing positions", topic, func(t *topicInfo) error {
		p, err := t.led(partition)
		if err != nil {
			return err
		}
		pl := place{topicPartition{topic, partition}, p.leader, p.epoch}
		limit := epoch
		if m, err := s.probe(ctx, pl, offset-1); err == nil && m.epoch != noEpoch && m.first < offset && m.epoch < epoch {
			// What the reader had last is gone. What is certain is the log
			// before this epoch: the reader's may have left it anywhere since.
			limit = m.epoch - 1
		}
		at, err = s.diverges(ctx, pl, offset, func(_ int64, e int32) bool { return e <= limit })
		if err == nil && at < offset && p.epoch != noEpoch && p.epoch < epoch && time.Since(began) < s.c.timings.outdated {
			return errOutdated
		}
		return err
	})
	return at, err
}
