package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// Offsets implements record.Source. It waits for partitions without a leader
// for as long as ctx allows.
func (s *source) Offsets(ctx context.Context, topic string, at record.Point) (map[int32]int64, error) {
	var all map[int32]int64
	err := s.retry(ctx, "looking up offsets", topic, func(t *topicInfo) error {
		if !t.complete() {
			return sarama.ErrLeaderNotAvailable
		}
		var err error
		all, err = s.points(ctx, t, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// points asks the leaders of all partitions once.
func (s *source) points(ctx context.Context, t *topicInfo, at record.Point) (map[int32]int64, error) {
	if at < 0 {
		return s.askAll(ctx, t, int64(at))
	}
	// The end comes first: what is written before the second answer, and is not
	// found by it, is behind this end.
	ends, err := s.askAll(ctx, t, sarama.OffsetNewest)
	if err != nil {
		return nil, err
	}
	all, err := s.askAll(ctx, t, int64(at))
	if err != nil {
		return nil, err
	}
	for id, offset := range all {
		if offset < 0 {
			all[id] = ends[id]
		}
	}
	return all, nil
}

// look is one kind of offset of all partitions of a topic, which is being looked up.
type look struct {
	done chan struct{} // closed when everything below is known
	all  map[int32]int64
	err  error
}

// lookKey tells which look-ups ask for the same.
type lookKey struct {
	topic *topicInfo
	time  int64
}

// askAll asks the leaders for one kind of offset, once. All who ask before a leader is
// asked share the answer: a thousand sessions may come back at once.
func (s *source) askAll(ctx context.Context, t *topicInfo, time int64) (map[int32]int64, error) {
	key := lookKey{t, time}
	s.looksMu.Lock()
	l := s.looks[key]
	if l == nil {
		l = &look{done: make(chan struct{}), all: make(map[int32]int64, len(t.partitions))}
		s.looks[key] = l
		s.looksMu.Unlock()
		s.lookUp(key, l)
	} else {
		s.looksMu.Unlock()
	}
	select {
	case <-l.done:
		return maps.Clone(l.all), l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.c.ctx.Done():
		return nil, s.c.ctx.Err()
	}
}

// lookUp asks the leaders.
func (s *source) lookUp(key lookKey, l *look) {
	// Who comes from then on may know of records that are not in the answer.
	taken := sync.OnceFunc(func() {
		s.looksMu.Lock()
		delete(s.looks, key)
		s.looksMu.Unlock()
	})
	var mu sync.Mutex
	left := len(key.topic.partitions)
	answered := func(partition int32, f found, err error) {
		mu.Lock()
		defer mu.Unlock()
		l.all[partition] = f.offset
		l.err = errors.Join(l.err, refusal(key.topic.name, err))
		if left--; left == 0 {
			close(l.done)
		}
	}
	byLeader := map[int32][]*offsetQuery{}
	for _, p := range key.topic.partitions {
		byLeader[p.leader] = append(byLeader[p.leader], &offsetQuery{
			topic: key.topic.name, partition: p.id, time: key.time, committed: s.committed && key.time != sarama.OffsetOldest,
			taken: taken,
			done:  func(f found, err error) { answered(p.id, f, err) },
		})
	}
	for leader, queries := range byLeader {
		s.c.offsets.ask(leader, queries)
	}
}

// refusal makes an error for the caller of one that trying again does not mend.
func refusal(topic string, err error) error {
	switch {
	case errors.Is(err, sarama.ErrUnsupportedForMessageFormat):
		return fmt.Errorf("looking up a time in topic %q: its records are stored without timestamps: %w", topic, record.ErrRefused)
	case errors.Is(err, sarama.ErrTopicAuthorizationFailed), errors.Is(err, sarama.ErrClusterAuthorizationFailed):
		return fmt.Errorf("looking up offsets of topic %q: the gateway has no right to it (DESCRIBE): %w", topic, record.ErrRefused)
	}
	return err
}

// offset asks a leader for one offset of a partition.
func (s *source) offset(ctx context.Context, pl place, time int64, committed bool) (found, error) {
	type answer struct {
		found found
		err   error
	}
	answers := make(chan answer, 1)
	s.c.offsets.ask(pl.leader, []*offsetQuery{{
		topic: pl.topic, partition: pl.id, time: time, committed: committed,
		done: func(f found, err error) { answers <- answer{f, err} },
	}})
	select {
	case a := <-answers:
		return a.found, a.err
	case <-ctx.Done():
		return found{}, ctx.Err()
	case <-s.c.ctx.Done():
		return found{}, s.c.ctx.Err()
	}
}
