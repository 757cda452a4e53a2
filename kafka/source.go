package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// source reads topics with one isolation level: it has a fetch loop for every
// broker that leads a partition which is read.
type source struct {
	c         *Cluster
	committed bool
	piece     int32 // what is asked of one partition at a time, to begin with

	// mu guards the assignment of partitions to loops. Nothing of a sink's is
	// called while it is held, so that a sink may call Resume whenever it likes.
	mu       sync.Mutex
	stopped  bool
	loops    map[int32]*loop
	grabbers map[int32]*grabber
	readings map[*reading]map[*partition]struct{} // the partitions that a loop has

	looksMu sync.Mutex
	looks   map[lookKey]*look // that no leader was asked for yet
}

func newSource(c *Cluster, committed bool, piece int32) *source {
	return &source{c: c, committed: committed, piece: piece, loops: map[int32]*loop{}, grabbers: map[int32]*grabber{}, readings: map[*reading]map[*partition]struct{}{}, looks: map[lookKey]*look{}}
}

// Read implements record.Source.
func (s *source) Read(topic string, sink record.Sink) record.Reading {
	return s.start(s.newReading(topic, sink))
}

// readOne begins to read one partition, from an offset on. The sink is not told
// where it begins, and never that the topic is missing.
func (s *source) readOne(topic string, partition int32, next int64, sink record.Sink) *reading {
	r := s.newReading(topic, sink)
	r.started, r.only = true, &only{partition, next}
	return s.start(r)
}

func (s *source) newReading(topic string, sink record.Sink) *reading {
	ctx, cancel := context.WithCancel(s.c.ctx)
	return &reading{
		src: s, c: s.c, topic: topic, sink: sink, ctx: ctx, cancel: cancel,
		parts: map[int32]*partition{}, retired: map[[16]byte]struct{}{},
	}
}

func (s *source) start(r *reading) *reading {
	topic := r.topic
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		r.Stop()
		return r
	}
	s.readings[r] = map[*partition]struct{}{}
	s.mu.Unlock()
	// A name that Kafka would never take cannot come to exist, so there is
	// nothing to ask for.
	if record.ValidTopic(topic) {
		s.c.meta.watch(topic, r)
	} else {
		s.c.spawn(r.absent)
	}
	return r
}

// Unreachable implements record.Source. Both sources of a cluster say the same.
func (s *source) Unreachable() time.Time { return s.c.silence.unreachable() }

// Exists implements record.Source.
func (s *source) Exists(ctx context.Context, topic string) error {
	_, err := s.look(ctx, topic, s.c.timings.positive)
	return err
}

// look returns what the brokers say about a topic that exists.
func (s *source) look(ctx context.Context, topic string, maxAge time.Duration) (*topicInfo, error) {
	if !record.ValidTopic(topic) {
		return nil, fmt.Errorf("looking up topic %q: it is no legal name: %w", topic, record.ErrUnknownTopic)
	}
	t, err := s.c.meta.lookup(ctx, topic, maxAge)
	if err != nil {
		return nil, err
	}
	return t, t.problem()
}

// Describe implements record.Source.
func (s *source) Describe(ctx context.Context, topic string, maxAge time.Duration) (record.Topic, error) {
	for failures := 1; ; failures++ {
		t, err := s.look(ctx, topic, maxAge)
		switch {
		case err != nil:
			return record.Topic{}, err
		case t.err == sarama.ErrNoError && len(t.partitions) > 0:
			d := record.Topic{ID: record.TopicID(t.id), Epochs: make(map[int32]int32, len(t.partitions))}
			for _, p := range t.partitions {
				d.Epochs[p.id] = p.epoch
			}
			return d, nil
		}
		// It exists, and is not ready.
		maxAge = 0
		if !sleep(ctx, backoff(failures, 50*time.Millisecond, time.Second)) {
			return record.Topic{}, fmt.Errorf("describing topic %q: it was not ready in time: %w", topic, record.ErrUnavailable)
		}
	}
}

// assign gives a partition to the loop of a broker. The caller holds the
// reading's lock.
func (s *source) assign(p *partition, leader int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.readings[p.reading]
	if s.stopped || set == nil {
		return
	}
	if p.loop != nil {
		if p.loop.id == leader {
			return
		}
		s.drop(p)
	}
	l := s.loops[leader]
	if l == nil {
		l = newLoop(s, leader)
		if !s.c.spawn(l.run) {
			return
		}
		s.loops[leader] = l
	}
	p.loop = l
	l.parts[p] = struct{}{}
	set[p] = struct{}{}
	l.hurry(p)
}

// detach takes a partition from its loop.
func (s *source) detach(p *partition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(p)
}

// drop does the work of detach. The caller holds s.mu.
func (s *source) drop(p *partition) {
	if p.loop == nil {
		return
	}
	delete(p.loop.parts, p)
	delete(p.loop.ahead, p)
	delete(s.readings[p.reading], p)
	p.loop.poke()
	p.loop = nil
}

// resume has the loops look at a reading's partitions again, at once.
func (s *source) resume(r *reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.readings[r] {
		p.loop.hurry(p)
	}
}

// remove takes all partitions of a reading from their loops, for good.
func (s *source) remove(r *reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.readings[r] {
		s.drop(p)
	}
	delete(s.readings, r)
}

// stopAll stops every reading.
func (s *source) stopAll() {
	s.mu.Lock()
	s.stopped = true
	all := make([]*reading, 0, len(s.readings))
	for r := range s.readings {
		all = append(all, r)
	}
	s.mu.Unlock()
	for _, r := range all {
		r.Stop()
	}
}
