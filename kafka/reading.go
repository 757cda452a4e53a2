package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// reading is one topic being read into one sink. Its lock is held while the
// sink's methods run, which keeps them in order and lets Stop promise that they
// are over.
type reading struct {
	src    *source
	c      *Cluster
	topic  string
	sink   record.Sink
	ctx    context.Context
	cancel context.CancelFunc
	odd    seldom
	only   *only // nil: all partitions are read, from their end on

	mu      sync.Mutex
	stopped bool
	started bool
	waited  bool // the topic did not exist when the reading began
	gone    int  // answers in a row that there is no such topic
	metaAt  time.Time
	id      sarama.Uuid
	told    sarama.Uuid           // the id that the sink knows
	retired map[[16]byte]struct{} // ids of the topic's former lives
	parts   map[int32]*partition
	grace   *time.Timer
	overdue bool // partitions without a leader are not waited for any longer
}

// only is the one partition that a reading reads, and where it begins.
type only struct {
	partition int32
	next      int64
}

// Resume implements record.Reading.
func (r *reading) Resume() { r.src.resume(r) }

// Stop implements record.Reading. It waits for a method of the sink's that is
// running; so it must not be called from one, nor with a lock held that one takes.
func (r *reading) Stop() {
	r.mu.Lock()
	was := r.stopped
	r.stopped = true
	if r.grace != nil {
		r.grace.Stop()
	}
	r.mu.Unlock()
	if was {
		return
	}
	r.cancel()
	r.src.remove(r)
	r.c.meta.unwatch(r.topic, r)
}

// onMetadata implements watcher.
func (r *reading) onMetadata(t *topicInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || t.at.Before(r.metaAt) {
		return
	}
	r.metaAt = t.at
	switch {
	case t.unknown():
		r.vanished()
		return
	case t.refused():
		r.forbidden(t.err)
		return
	case t.err != sarama.ErrNoError || len(t.partitions) == 0:
		return // it exists, and is not ready; it is asked for again soon
	}
	if _, old := r.retired[t.id]; old {
		// A broker that lags behind still tells of the topic's former life.
		r.c.meta.suspect(r.topic, backoff(1, 200*time.Millisecond, time.Second))
		return
	}
	if r.remade(t) {
		r.restart(t)
	}
	r.gone = 0
	r.id = t.id
	r.place(t)
}

// vanished notes that the brokers know no such topic.
func (r *reading) vanished() {
	r.gone++
	if !r.started && !r.waited {
		r.waited = true
		r.sink.Missing()
	}
	// Asking the former leaders again would be of no use until it is back.
	for _, p := range r.parts {
		r.src.detach(p)
	}
	if len(r.parts) > 0 && r.gone == 1 {
		r.c.meta.suspect(r.topic, 0)
	}
}

// absent notes that there can be no such topic.
func (r *reading) absent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.vanished()
	}
}

// forbidden logs, once in a while, that the brokers refuse the topic to us.
func (r *reading) forbidden(err error) {
	if r.odd.allow() {
		r.c.log.Warn("kafka refuses the gateway a topic that is being read; trying again until its rights allow it (READ and DESCRIBE)",
			zap.String("topic", r.topic), zap.Error(err))
	}
}

// remade reports whether the topic is not the one that was read so far. Brokers
// that are too old to tell the topic's id must have denied it for a while.
func (r *reading) remade(t *topicInfo) bool {
	if len(r.parts) == 0 {
		return false
	}
	if t.id == (sarama.Uuid{}) || r.id == (sarama.Uuid{}) {
		return r.gone > 1
	}
	return t.id != r.id
}

// restart has every partition read from the first record of the new topic.
func (r *reading) restart(t *topicInfo) {
	if r.id != (sarama.Uuid{}) {
		r.retired[r.id] = struct{}{}
	}
	r.c.log.Info("topic was deleted and made again; reading it from its first record", zap.String("topic", r.topic))
	for _, p := range r.parts {
		r.src.detach(p)
		from := p.next
		p.state, p.next, p.gen = active, 0, p.gen+1
		p.leader, p.epoch = noBroker, noEpoch
		p.asking, p.alone, p.failures, p.poisoned, p.lagging = false, false, 0, 0, 0
		p.late, p.doubted, p.same = nil, false, false
		p.read.reset(noEpoch)
		switch {
		case p.announced:
			r.sink.Lost(record.Loss{Partition: p.id, From: from, Reason: record.LossRecreated})
		case !t.has(p.id):
			delete(r.parts, p.id) // it would be said to begin
		}
	}
	if !r.started {
		// Its records are all newer than the call to Read.
		r.waited = true
	}
}

// place brings the partitions in line with what the brokers said: new ones are
// begun, moved ones follow their leaders.
func (r *reading) place(t *topicInfo) {
	for _, pi := range t.partitions {
		if r.only != nil && r.only.partition != pi.id {
			continue
		}
		p := r.parts[pi.id]
		if p == nil {
			p = &partition{reading: r, id: pi.id, leader: noBroker, epoch: noEpoch, maxBytes: r.src.piece, read: lineage{base: noEpoch}}
			if r.started || r.waited {
				p.state = active
			}
			if r.only != nil {
				p.next, p.announced = r.only.next, true
			}
			r.parts[pi.id] = p
		}
		if pi.epoch >= 0 && pi.epoch < p.epoch && p.lagging < 20 {
			// A broker that lags behind; or, if it stays like this, a topic
			// that was made again in a cluster that tells no ids.
			p.lagging++
			r.c.meta.suspect(r.topic, backoff(1, 200*time.Millisecond, time.Second))
			continue
		}
		if p.epoch != noEpoch && pi.epoch != p.epoch {
			// A new leader may have less than was read from the old one.
			p.doubted = true
		}
		p.leader, p.epoch, p.lagging = pi.leader, pi.epoch, 0
	}
	r.findStarts()
	r.begin()
	for _, p := range r.parts {
		p.follow()
	}
}

// follow has the partition read from its leader, if it may be read. The caller
// holds the reading's lock.
func (p *partition) follow() {
	r := p.reading
	if p.state != active || !p.announced {
		return
	}
	if p.leader < 0 {
		r.src.detach(p)
		return
	}
	if p.doubted && p.next > 0 && p.read.known() {
		r.verify(p)
		return
	}
	p.doubted = false
	r.src.assign(p, p.leader)
}
