package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// relocate finds out where reading goes on after the leader said that the next
// offset is not in the log. Below the log, retention was faster than we were:
// the first record that is left is next. Above it, the log was cut or is another
// one: everything that it holds may be new to us.
func (r *reading) relocate(p *partition, gen int) {
	for failures := 1; r.ctx.Err() == nil; failures++ {
		first, end, err := r.extent(p)
		if err == nil {
			r.land(p, gen, first, end)
			return
		}
		r.mu.Lock()
		void := p.gen != gen // the topic was made again
		r.mu.Unlock()
		if void {
			return
		}
		r.c.log.Debug("looking up the offsets of a partition failed; trying again",
			zap.String("topic", r.topic), zap.Int32("partition", p.id), zap.Error(err))
		sleep(r.ctx, backoff(failures, 100*time.Millisecond, time.Second))
	}
}

// land puts a partition whose next offset was out of range onto the log.
func (r *reading) land(p *partition, gen int, first, end int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || p.gen != gen || p.state != lost {
		return
	}
	p.state = active
	if p.next < first || p.next > end {
		r.moveTo(p, first)
	}
	// Otherwise the log has caught up with the offset meanwhile: the leader
	// was behind when it answered.
	p.lookAgain()
}

// moveTo has a partition read from another offset on, and tells the sink of what
// it misses thereby. The caller holds the reading's lock.
func (r *reading) moveTo(p *partition, next int64) {
	from := p.next
	p.gen++
	p.next, p.alone = next, false
	r.c.log.Warn("records of a partition are lost to the gateway",
		zap.String("topic", r.topic), zap.Int32("partition", p.id), zap.Int64("from", from), zap.Int64("next", next))
	r.sink.Lost(p.id, from, next)
}

// extent returns the first offset of a partition and the one after its last,
// after new metadata has had the chance to tell that the topic is another one.
func (r *reading) extent(p *partition) (first, end int64, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, readTimeout)
	defer cancel()
	if _, err = r.c.meta.lookup(ctx, r.topic, 0); err != nil {
		return 0, 0, err
	}
	r.mu.Lock()
	leader := p.leader
	r.mu.Unlock()
	if leader < 0 {
		return 0, 0, sarama.ErrLeaderNotAvailable
	}
	type answer struct {
		first  bool
		offset int64
		err    error
	}
	answers := make(chan answer, 2)
	query := func(first bool, time int64) *offsetQuery {
		return &offsetQuery{topic: r.topic, partition: p.id, time: time, done: func(offset int64, err error) {
			answers <- answer{first, offset, err}
		}}
	}
	r.c.offsets.ask(leader, []*offsetQuery{query(true, sarama.OffsetOldest), query(false, sarama.OffsetNewest)})
	for range 2 {
		select {
		case a := <-answers:
			if a.first {
				first = a.offset
			} else {
				end = a.offset
			}
			err = errors.Join(err, a.err)
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
	return first, end, err
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
		r.moveTo(p, end)
	} else {
		p.failures++ // not at once again
	}
	p.lookAgain()
}
