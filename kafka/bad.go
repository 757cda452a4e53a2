package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// endOfBad returns the first offset after bad that can be read. Whether an
// offset is inside the bad batch shows in fetching from it; so the end is found
// by doubling steps, then by halving the range.
func (s *source) endOfBad(ctx context.Context, topic string, id int32, bad int64, leader, epoch int32) (int64, error) {
	addr := s.c.meta.broker(leader)
	if addr == "" {
		return 0, sarama.ErrBrokerNotFound
	}
	cn, err := open(ctx, addr, fetchSettings(s.c.base))
	if err != nil {
		return 0, err
	}
	defer cn.close()
	// readable reports whether something can be read at an offset, and the
	// first offset that it found there.
	readable := func(offset int64) (bool, int64, error) {
		req := s.request(10 * time.Millisecond)
		req.AddBlock(topic, id, offset, fetchBytes, epoch)
		answer, err := cn.Fetch(req)
		switch {
		case err != nil && garbled(err):
			return false, 0, nil
		case err != nil:
			return false, 0, err
		}
		b := answer.GetBlock(topic, id)
		switch {
		case b == nil:
			return false, 0, sarama.ErrIncompleteResponse
		case b.Err == sarama.ErrOffsetOutOfRange:
			return true, offset, nil
		case b.Err != sarama.ErrNoError:
			return false, 0, b.Err
		}
		if len(b.RecordsSet) > 0 && b.RecordsSet[0].RecordBatch != nil {
			// The first batch always comes whole; see errCutShort.
			first := b.RecordsSet[0].RecordBatch
			return !first.PartialTrailingRecord, min(offset, first.FirstOffset), nil
		}
		return true, offset, nil
	}
	low, high := bad, int64(-1)
	for step := int64(1); high < 0; step *= 2 {
		if step > 1<<32 {
			return 0, fmt.Errorf("looking for the end of a bad batch: none within %d offsets", step)
		}
		ok, first, err := readable(bad + step)
		if err != nil {
			return 0, err
		}
		if ok {
			high = first
		} else {
			low = bad + step
		}
	}
	for low+1 < high {
		mid := low + (high-low)/2
		ok, first, err := readable(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			high = min(mid, max(first, low+1))
		} else {
			low = mid
		}
	}
	return high, nil
}
