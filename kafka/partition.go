package kafka

import (
	"errors"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

const (
	noEpoch = record.NoEpoch
	// fetchBytes is what is asked of one partition at a time. It grows, for a
	// partition whose next batch is larger, up to maxFetchBytes.
	fetchBytes    = 1 << 20
	maxFetchBytes = 64 << 20
)

// state is what a partition of a reading is waiting for.
type state int

const (
	// starting: the offset to begin at is not known yet.
	starting state = iota
	// active: it is read, or will be as soon as it has a leader.
	active
	// lost: its next offset is not in the log, or cannot be read, or the log may
	// be another one; somebody is finding out where reading goes on.
	lost
)

// partition is one partition of a reading. Its fields are guarded by the
// reading's lock, but for loop, which the source's lock guards.
type partition struct {
	reading *reading
	id      int32

	state     state
	announced bool // the sink knows where it begins
	next      int64
	leader    int32
	epoch     int32
	// gen counts the times that next was set to something other than the end
	// of what was delivered. An answer to an earlier question is void.
	gen int
	// read is what is known of the epochs of the log before next.
	read    lineage
	late    *moment // when the sink was told of the others, if this one had no leader
	doubted bool    // the log is to be compared with what was read
	same    bool    // it was, since the last delivery

	asking   bool // an offset is being looked up
	failures int  // in a row
	poisoned int  // answers in a row that made no sense
	lagging  int  // answers in a row about an earlier leader

	maxBytes int32
	// alone asks for a request of its own. A broker always returns the first
	// batch of a request whole, and an answer that makes no sense can be laid
	// at one partition's door only this way.
	alone bool

	loop *loop
}

// block takes the partition's part of an answer: it delivers the records, or
// decides what to do about their absence. It reports whether there was something
// in it from the wanted offset on.
func (p *partition) block(b *sarama.FetchResponseBlock, w want, alone bool) bool {
	r := p.reading
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || p.gen != w.gen || p.state != active {
		return false
	}
	if w.epoch != p.epoch {
		return false // what an earlier leader says need not be so any more
	}
	if b.Err != sarama.ErrNoError {
		if b.Err == sarama.ErrOffsetOutOfRange && p.next != w.offset {
			return false // the question was about another offset
		}
		p.fetchFailed(b.Err)
		return false
	}
	d := decodeBlock(b, r.topic, p.id, p.next, r.src.committed)
	if d.partial && alone && p.next == w.offset && p.maxBytes == maxFetchBytes {
		p.cannotRead(errCutShort)
		return false
	}
	if d.moved && !p.same && len(d.read.starts) > 0 && d.read.starts[0].epoch < p.read.last() {
		// Epochs only grow along a log. So this is not the one that was read.
		p.doubted = true
		p.lookAgain()
		return false
	}
	p.failures, p.poisoned = 0, 0
	if alone {
		p.alone = false
	}
	if d.moved {
		p.maxBytes, p.same = r.src.piece, false
		if d.batch.Next > p.next {
			p.next = d.batch.Next
			for _, start := range d.read.starts {
				p.read.add(start.offset, start.epoch)
			}
			r.sink.Deliver(d.batch)
		}
		return true
	}
	if p.next != w.offset {
		return false
	}
	if d.partial {
		p.alone = true
		p.maxBytes = min(p.maxBytes*2, maxFetchBytes)
	}
	return false
}

// fetchFailed decides what to do about an error that the leader returned for the
// partition. The caller holds the reading's lock.
func (p *partition) fetchFailed(err sarama.KError) {
	r := p.reading
	switch err {
	case sarama.ErrOffsetOutOfRange:
		r.src.detach(p)
		p.state = lost
		gen := p.gen
		r.c.spawn(func() { r.relocate(p, gen) })
		return
	case sarama.ErrTopicAuthorizationFailed, sarama.ErrClusterAuthorizationFailed:
		r.forbidden(err)
		r.src.detach(p)
		r.c.meta.refresh(r.topic, r.c.timings.forbidden)
		return
	case sarama.ErrNotLeaderForPartition, sarama.ErrUnknownLeaderEpoch, sarama.ErrFencedLeaderEpoch,
		sarama.ErrReplicaNotAvailable, sarama.ErrLeaderNotAvailable, sarama.ErrUnknownTopicOrPartition,
		sarama.ErrOffsetNotAvailable, sarama.ErrBrokerNotAvailable:
		// What happens when leaders move and topics go.
	default:
		if r.odd.allow() {
			r.c.log.Warn("kafka cannot serve a partition; trying again",
				zap.String("topic", r.topic), zap.Int32("partition", p.id), zap.Error(err))
		}
	}
	p.lookAgain()
}

// lookAgain has the partition assigned again after new metadata, which is asked
// for at once the first time, then less and less often. The caller holds the
// reading's lock.
func (p *partition) lookAgain() {
	r := p.reading
	r.src.detach(p)
	var delay time.Duration
	if p.failures > 0 {
		delay = backoff(p.failures, 100*time.Millisecond, time.Second)
	}
	p.failures++
	r.c.meta.refresh(r.topic, delay)
}

// unreadable notes that an answer of the leader, to a request for this partition
// alone, made no sense.
func (p *partition) unreadable(w want, err error) {
	r := p.reading
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || p.gen != w.gen || p.state != active || p.next != w.offset {
		return
	}
	p.cannotRead(err)
}

// errCutShort is how sarama shows a batch whose records end before their number
// says so. A batch that is only cut off, by the limit of the request, comes whole
// when it is the first.
var errCutShort = errors.New("its records end too soon")

// cannotRead has the batch at the next offset asked for again, and skipped after
// a few tries. The caller holds the reading's lock.
func (p *partition) cannotRead(err error) {
	r := p.reading
	if p.poisoned++; p.poisoned < 3 {
		p.lookAgain()
		return
	}
	p.poisoned, p.maxBytes = 0, r.src.piece
	reason := "it is corrupt, or made by something newer"
	if errors.Is(err, sarama.ErrDecompressedBatchTooLarge) {
		reason = "it is too large when decompressed"
	}
	r.c.log.Error("skipping a record batch that cannot be read: "+reason,
		zap.String("topic", r.topic), zap.Int32("partition", p.id), zap.Int64("offset", p.next), zap.Error(err))
	r.src.detach(p)
	p.state = lost
	gen := p.gen
	r.c.spawn(func() { r.skip(p, gen) })
}

// suspect has the partition fetched alone, because it was part of a request
// whose answer made no sense.
func (p *partition) suspect(w want) {
	p.reading.mu.Lock()
	defer p.reading.mu.Unlock()
	if p.gen == w.gen {
		p.alone = true
	}
}
