package kafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// findStarts looks up the ends of the partitions whose start is not known, or
// where those begin that are late.
func (r *reading) findStarts() {
	byLeader := map[int32][]*offsetQuery{}
	for _, p := range r.parts {
		if p.state != starting || p.asking || p.leader < 0 {
			continue
		}
		p.asking = true
		gen := p.gen
		if p.late != nil {
			pl, after := place{topicPartition{r.topic, p.id}, p.leader, p.epoch}, *p.late
			r.c.spawn(func() {
				ctx, cancel := context.WithTimeout(r.ctx, lookTimeout)
				defer cancel()
				f, err := r.src.since(ctx, pl, after)
				r.startFound(p, gen, f, err)
			})
			continue
		}
		byLeader[p.leader] = append(byLeader[p.leader], &offsetQuery{
			topic: r.topic, partition: p.id, time: sarama.OffsetNewest, committed: r.src.committed,
			done: func(f found, err error) { r.startFound(p, gen, f, err) },
		})
	}
	for leader, queries := range byLeader {
		r.c.offsets.ask(leader, queries)
	}
}

// startFound takes the answer to findStarts.
func (r *reading) startFound(p *partition, gen int, at found, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || p.gen != gen || p.state != starting {
		return
	}
	p.asking = false
	if err != nil {
		p.failures++
		r.c.log.Debug("looking up the end of a partition failed; trying again",
			zap.String("topic", r.topic), zap.Int32("partition", p.id), zap.Error(err))
		r.c.meta.refresh(r.topic, backoff(p.failures, 100*time.Millisecond, time.Second))
		return
	}
	p.failures = 0
	p.state, p.next, p.late = active, at.offset, nil
	p.read.reset(at.epoch)
	r.begin()
	p.follow()
}

// begin tells the sink where the partitions begin that it does not know yet.
//
// The first time, that lets sessions in, and they are to get all that is written
// from then on. So it waits for the offsets of all partitions; but for those
// without a leader only for a while, because they must not keep the others from
// being read. Nothing is written to a partition that has no leader, and what is
// written once it has one is found by its epoch (see since). A partition whose
// leader does not answer is waited for without end: records may be written to it
// meanwhile, and nothing would tell them from what was there before.
func (r *reading) begin() {
	next := map[int32]int64{}
	var late []*partition
	for _, p := range r.parts {
		switch {
		case p.announced:
		case p.state != starting:
			next[p.id] = p.next
		case r.started:
		case p.leader < 0 && r.overdue:
			late = append(late, p)
		default:
			if r.grace == nil {
				r.grace = time.AfterFunc(r.c.timings.grace, r.graceOver)
			}
			return
		}
	}
	if len(next) == 0 && (!r.started || r.told == r.id) {
		return
	}
	for _, p := range late {
		// A leader that it had may still answer where it ends by then.
		p.gen, p.asking = p.gen+1, false
		p.late = &moment{epoch: p.epoch, at: time.Now()}
	}
	r.started, r.told = true, r.id
	r.sink.Started(record.Started{TopicID: record.TopicID(r.id), Next: next})
	for id := range next {
		r.parts[id].announced = true
		r.parts[id].follow()
	}
}

func (r *reading) graceOver() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || r.started {
		return
	}
	r.overdue = true
	r.begin()
}

// moment is when a partition had no leader: the epoch that it had then, or
// noEpoch, and the time.
type moment struct {
	epoch int32
	at    time.Time
}

// clockSkew is how far the clocks of those who write records may be behind ours.
const clockSkew = 10 * time.Second

// lookTimeout bounds one attempt at finding an offset that takes several
// requests.
const lookTimeout = 15 * time.Second

// since returns the offset at which those records of a partition begin that were
// written after a moment at which it had no leader. Every leader writes under an
// epoch of its own, so they are those of a later epoch. Where the brokers tell no
// epochs (before Kafka 2.1), it is the time of the records that counts; records
// that were made, by their writer's clock, longer than clockSkew before the
// moment are then taken for older than they are.
func (s *source) since(ctx context.Context, pl place, m moment) (found, error) {
	first, end, err := s.extent(ctx, pl, s.committed)
	if err != nil {
		return found{}, err
	}
	if m.epoch != noEpoch {
		offset, err := s.search(ctx, pl, first, end, func(_ int64, epoch int32) bool { return epoch <= m.epoch })
		return found{offset, m.epoch}, err
	}
	f, err := s.offset(ctx, pl, m.at.Add(-clockSkew).UnixMilli(), s.committed)
	if err != nil {
		return found{}, err
	}
	if f.offset < 0 || f.offset > end {
		f.offset = end
	}
	return found{f.offset, noEpoch}, nil
}
