package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// identity is the id and the epoch that batches are numbered under, so that
// brokers find those they have already (KIP-98). Any broker gives out an id.
//
// A batch whose fate stays open leaves a hole in its partition's sequence. A new
// epoch then lets the sequence begin at 0 again, and keeps the old batch from
// being written after those that follow it (KIP-360). As in Java's client the
// epoch is counted up here: brokers compare epochs by partition, and give the id
// to nobody else. Partitions with a batch on its way keep the epoch of that.
type identity struct {
	p *Producer

	mu     sync.Mutex
	id     int64 // noID before the first, and when another is needed
	epoch  int16
	flight *idRequest
}

type idRequest struct {
	done chan struct{}
	err  error
}

// current returns what new batches are numbered under, if that is known.
func (i *identity) current() (id int64, epoch int16, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.id, i.epoch, i.id != noID
}

// bump begins a new epoch after n's, unless that has happened already.
func (i *identity) bump(n numbering) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case n.id == noID || i.id != n.id || i.epoch != n.epoch:
	case i.epoch == math.MaxInt16:
		i.id = noID
	default:
		i.epoch++
	}
}

// discard has another id asked for than n's, which some broker does not take
// any more, unless batches are numbered otherwise already.
func (i *identity) discard(n numbering) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.id == n.id && i.epoch == n.epoch {
		i.id = noID
	}
}

// want has an id asked for if there is none, without waiting for it.
func (i *identity) want() *idRequest {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.id != noID {
		return nil
	}
	if f := i.flight; f != nil {
		return f
	}
	f := &idRequest{done: make(chan struct{})}
	i.flight = f
	if !i.p.spawn(func() { i.fetch(f) }) {
		i.flight = nil
		f.err = fmt.Errorf("starting the producer: %w", record.ErrClosed)
		close(f.done)
	}
	return f
}

// get waits until there is an id.
func (i *identity) get(ctx context.Context) error {
	f := i.want()
	if f == nil {
		return nil
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("starting the producer: no broker answered in time: %w", record.ErrUnavailable)
	}
}

// fetch asks one broker after the other until one gives an id, or all have
// failed several times.
func (i *identity) fetch(f *idRequest) {
	var answer *sarama.InitProducerIDResponse
	var err error
	for failures := 1; ; failures++ {
		for _, addr := range i.p.c.meta.candidates() {
			if answer, err = i.ask(addr); err == nil || i.p.ctx.Err() != nil || refusedID(err) {
				break
			}
		}
		if err == nil || i.p.ctx.Err() != nil || refusedID(err) || failures == idAttempts {
			break
		}
		sleep(i.p.ctx, backoff(failures, 100*time.Millisecond, time.Second))
	}
	i.mu.Lock()
	if err == nil {
		i.id, i.epoch = answer.ProducerID, answer.ProducerEpoch
	}
	i.flight = nil
	i.mu.Unlock()
	if err != nil {
		if i.p.ctx.Err() == nil && i.p.odd.allow() {
			i.p.c.log.Warn("starting the kafka producer failed; the next record tries again (are the brokers up, and may the gateway write idempotently?)", zap.Error(err))
		}
		reason := record.ErrUnavailable
		if refusedID(err) {
			reason = record.ErrRefused
		}
		f.err = named(fmt.Errorf("starting the producer: %w", reason), err)
	}
	close(f.done)
}

// idAttempts bounds the rounds over the brokers, so that who waits learns that
// none of them answers.
const idAttempts = 5

func refusedID(err error) bool {
	return errors.Is(err, sarama.ErrClusterAuthorizationFailed) || errors.Is(err, sarama.ErrSASLAuthenticationFailed)
}

// ask asks one broker for a new id.
func (i *identity) ask(addr string) (*sarama.InitProducerIDResponse, error) {
	cn, err := open(i.p.ctx, addr, i.p.conf)
	if err != nil {
		return nil, err
	}
	defer cn.close()
	req := &sarama.InitProducerIDRequest{ProducerID: noID, ProducerEpoch: -1}
	for v, since := range []sarama.KafkaVersion{sarama.V0_11_0_0, sarama.V2_0_0_0, sarama.V2_4_0_0, sarama.V2_5_0_0, sarama.V2_7_0_0} {
		if i.p.c.version.IsAtLeast(since) {
			req.Version = int16(v)
		}
	}
	answer, err := cn.InitProducerID(req)
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking for a producer's id: %w", err)
	case answer.Err != sarama.ErrNoError:
		return nil, fmt.Errorf("asking for a producer's id: %w", answer.Err)
	}
	return answer, nil
}
