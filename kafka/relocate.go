package kafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// relocate finds out where reading goes on after the leader said that the next
// offset is not in the log. Below the log, retention was faster than we were:
// the first record that is left is next. Above it, the log was cut: it is read
// on from where it parts from what was read, or, where the brokers tell nothing
// to see that by, from its first record, because all of it may be new to us.
func (r *reading) relocate(p *partition, gen int) {
	r.settle(p, gen, "looking up where a partition goes on", func(ctx context.Context, pl place, next int64, read lineage) (int64, record.LossReason, error) {
		first, end, err := r.src.extent(ctx, pl, false)
		switch {
		case err != nil:
			return 0, 0, err
		case next < first:
			return first, record.LossExpired, nil
		case next <= end:
			// The log has caught up with the offset meanwhile: the leader was
			// behind when it answered.
			return next, 0, nil
		case !read.known():
			return first, record.LossTruncated, nil
		}
		at, err := r.src.search(ctx, pl, first, end, read.agrees)
		return at, record.LossTruncated, err
	})
}

// verify compares the log of a new leader with what was read from the old one
// (KIP-320), and goes on where they part. The caller holds the reading's lock.
func (r *reading) verify(p *partition) {
	r.src.detach(p)
	p.state, p.doubted, p.same = lost, false, true
	gen := p.gen
	r.c.spawn(func() {
		r.settle(p, gen, "comparing the log of a new leader", func(ctx context.Context, pl place, next int64, read lineage) (int64, record.LossReason, error) {
			at, err := r.src.diverges(ctx, pl, next, read.agrees)
			return at, record.LossTruncated, err
		})
	})
}

// settle asks until it is known where a partition goes on, and goes on there.
// Before that, new metadata has the chance to tell that the topic is another one.
func (r *reading) settle(p *partition, gen int, doing string, ask func(context.Context, place, int64, lineage) (int64, record.LossReason, error)) {
	attempt := func() (bool, error) {
		ctx, cancel := context.WithTimeout(r.ctx, lookTimeout)
		defer cancel()
		if _, err := r.c.meta.lookup(ctx, r.topic, 0); err != nil {
			return false, err
		}
		r.mu.Lock()
		void := r.stopped || p.gen != gen || p.state != lost
		pl, next, read := place{topicPartition{r.topic, p.id}, p.leader, p.epoch}, p.next, p.read.clone()
		r.mu.Unlock()
		switch {
		case void:
			return true, nil
		case pl.leader < 0:
			return false, sarama.ErrLeaderNotAvailable
		}
		at, why, err := ask(ctx, pl, next, read)
		if err != nil {
			return false, err
		}
		r.land(p, gen, at, why)
		return true, nil
	}
	for failures := 1; r.ctx.Err() == nil; failures++ {
		done, err := attempt()
		if done {
			return
		}
		level := zap.DebugLevel
		if failures > 20 && r.odd.allow() {
			level = zap.WarnLevel
		}
		r.c.log.Log(level, doing+" failed; the partition is not read on before it succeeds",
			zap.String("topic", r.topic), zap.Int32("partition", p.id), zap.Error(err))
		sleep(r.ctx, backoff(failures, 100*time.Millisecond, time.Second))
	}
}

// land has a partition go on where settle has found out.
func (r *reading) land(p *partition, gen int, at int64, why record.LossReason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || p.gen != gen || p.state != lost {
		return
	}
	p.state = active
	if at != p.next {
		r.moveTo(p, at, why)
	}
	if why != record.LossTruncated || p.leader < 0 {
		p.lookAgain()
		return
	}
	p.follow()
}

// moveTo has a partition read from another offset on, and tells the sink of what
// it misses thereby. The caller holds the reading's lock.
func (r *reading) moveTo(p *partition, next int64, why record.LossReason) {
	from := p.next
	p.gen++
	p.next, p.alone = next, false
	if next < from {
		p.read.cut(next)
	} else {
		// The epochs of what was left out are not known.
		p.read.reset(p.epoch)
	}
	r.c.log.Warn("records of a partition are lost to the gateway: "+why.String(),
		zap.String("topic", r.topic), zap.Int32("partition", p.id), zap.Int64("from", from), zap.Int64("next", next))
	r.sink.Lost(record.Loss{Partition: p.id, From: from, Next: next, Reason: why})
}

// skip finds the end of a record batch that cannot be read, and goes on there:
// one bad batch must not end a topic for ever.
func (r *reading) skip(p *partition, gen int) {
	r.mu.Lock()
	bad, leader, epoch := p.next, p.leader, p.epoch
	r.mu.Unlock()
	end, err := r.src.endOfBad(r.ctx, r.topic, p.id, bad, leader, epoch)
	if err != nil {
		r.c.log.Debug("looking for the end of a bad batch failed; trying again",
			zap.String("topic", r.topic), zap.Int32("partition", p.id), zap.Error(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || p.gen != gen || p.state != lost {
		return
	}
	p.state = active
	if err == nil && end > p.next {
		r.moveTo(p, end, record.LossUnreadable)
	} else {
		p.failures++ // not at once again
	}
	p.lookAgain()
}
