package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// pieceBytes is what Fetch asks for at a time: a session that is behind holds
// about as much until its client has taken it.
const pieceBytes = 256 << 10

// ranges are the connections that Fetch reads on: apart from those of the fetch
// loops, so that those who are behind do not delay those who are not.
type ranges struct {
	mu    sync.Mutex
	conns map[int32]*rangeConn
}

type rangeConn struct {
	ready chan struct{} // closed when the others are set
	conn  *conn
	err   error
}

// get returns the connection to a broker, opened by the first who wants it.
func (r *ranges) get(c *Cluster, leader int32) (*rangeConn, error) {
	r.mu.Lock()
	rc := r.conns[leader]
	if rc == nil {
		rc = &rangeConn{ready: make(chan struct{})}
		r.conns[leader] = rc
		r.mu.Unlock()
		addr := c.meta.broker(leader)
		if addr == "" {
			rc.err = sarama.ErrBrokerNotFound
		} else {
			rc.conn, rc.err = open(c.ctx, addr, fetchSettings(c.base))
		}
		close(rc.ready)
	} else {
		r.mu.Unlock()
		<-rc.ready
	}
	if rc.err != nil {
		r.drop(leader, rc)
	}
	return rc, rc.err
}

// drop lets the next who wants a connection open another.
func (r *ranges) drop(leader int32, rc *rangeConn) {
	r.mu.Lock()
	first := r.conns[leader] == rc
	if first {
		delete(r.conns, leader)
	}
	r.mu.Unlock()
	if first && rc.conn != nil {
		rc.conn.close()
	}
}

// closeAll closes the connections that are open.
func (r *ranges) closeAll() {
	r.mu.Lock()
	conns := r.conns
	r.conns = map[int32]*rangeConn{}
	r.mu.Unlock()
	for _, rc := range conns {
		<-rc.ready
		if rc.conn != nil {
			rc.conn.close()
		}
	}
}

// Earliest implements record.Source.
func (s *source) Earliest(ctx context.Context, topic string) (map[int32]int64, error) {
	var first map[int32]int64
	err := s.retry(ctx, topic, func(t *topicInfo) error {
		queries := make([]*offsetQuery, 0, len(t.partitions))
		type answer struct {
			partition int32
			offset    int64
			err       error
		}
		answers := make(chan answer, len(t.partitions))
		for _, p := range t.partitions {
			q := &offsetQuery{topic: topic, partition: p.id, time: sarama.OffsetOldest}
			q.done = func(offset int64, err error) { answers <- answer{p.id, offset, err} }
			queries = append(queries, q)
		}
		for i, q := range queries {
			s.c.offsets.ask(t.partitions[i].leader, []*offsetQuery{q})
		}
		first = make(map[int32]int64, len(queries))
		for range queries {
			select {
			case a := <-answers:
				if a.err != nil {
					return a.err
				}
				first[a.partition] = a.offset
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return first, err
}

// Fetch implements record.Source.
func (s *source) Fetch(ctx context.Context, topic string, partition int32, offset int64) (record.Batch, error) {
	var batch record.Batch
	maxBytes := int32(pieceBytes)
	err := s.retry(ctx, topic, func(t *topicInfo) error {
		if int(partition) >= len(t.partitions) {
			return sarama.ErrUnknownTopicOrPartition
		}
		var leader partitionInfo
		for _, p := range t.partitions {
			if p.id == partition {
				leader = p
			}
		}
		for {
			answer, err := s.fetchRange(leader, topic, offset, maxBytes)
			if err != nil {
				return err
			}
			b := answer.GetBlock(topic, partition)
			if b == nil {
				return sarama.ErrIncompleteResponse
			}
			if b.Err == sarama.ErrOffsetOutOfRange {
				return fmt.Errorf("fetching offset %d of %q, partition %d: %w", offset, topic, partition, record.ErrOffsetGone)
			}
			if b.Err != sarama.ErrNoError {
				return b.Err
			}
			d := decodeBlock(b, topic, partition, offset, s.committed)
			if d.partial && !d.moved && maxBytes < maxFetchBytes {
				maxBytes *= 2 // the next batch is larger than what was asked for
				continue
			}
			if !d.moved && answer.ThrottleTime == 0 {
				// A request for one partition that brings nothing from below
				// the end: compaction has left batches without any record.
				end := b.HighWaterMarkOffset
				if s.committed && b.LastStableOffset >= 0 {
					end = min(end, b.LastStableOffset)
				}
				d.advance(end)
			}
			batch = d.batch
			return nil
		}
	})
	return batch, err
}

// fetchRange makes one request for one partition.
func (s *source) fetchRange(leader partitionInfo, topic string, offset int64, maxBytes int32) (*sarama.FetchResponse, error) {
	rc, err := s.c.ranges.get(s.c, leader.leader)
	if err != nil {
		return nil, err
	}
	req := s.request(s.c.timings.shortPoll)
	req.MaxBytes = maxBytes
	req.AddBlock(topic, leader.id, offset, maxBytes, leader.epoch)
	answer, err := rc.conn.Fetch(req)
	if err != nil {
		s.c.ranges.drop(leader.leader, rc)
	}
	return answer, err
}

// retry does something about a topic, with newer metadata each time, until it
// succeeds, trying again cannot help, or ctx is done.
func (s *source) retry(ctx context.Context, topic string, do func(*topicInfo) error) error {
	maxAge := s.c.timings.positive
	for failures := 0; ; failures++ {
		t, err := s.c.meta.lookup(ctx, topic, maxAge)
		if err != nil {
			return err
		}
		if err = t.problem(); err != nil {
			return err
		}
		if !t.complete() {
			err = sarama.ErrLeaderNotAvailable
		} else if err = do(t); err == nil || errors.Is(err, record.ErrOffsetGone) {
			return err
		}
		switch {
		case errors.Is(err, sarama.ErrTopicAuthorizationFailed), errors.Is(err, sarama.ErrClusterAuthorizationFailed):
			return fmt.Errorf("reading topic %q: the gateway has no right to it: %w", topic, record.ErrRefused)
		case ctx.Err() != nil:
			return fmt.Errorf("reading topic %q: no broker answered in time: %w", topic, record.ErrUnavailable)
		}
		maxAge = 0
		sleep(ctx, backoff(failures+1, 50*time.Millisecond, time.Second))
	}
}
