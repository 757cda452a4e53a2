package kafka

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// metadataStale is the age from which a topic is asked for again while it is
// being written to; metadataOld the one from which that is waited for.
const (
	metadataStale = 5 * time.Second
	metadataOld   = 5 * time.Minute
)

// lastTime is the latest time that sarama can write.
var lastTime = time.Unix(0, math.MaxInt64)

// Producer writes records to a cluster. It is safe for concurrent use. It holds
// a connection to each leader that it writes to, whoever writes.
type Producer struct {
	c          *Cluster
	cfg        ProducerConfig
	conf       *sarama.Config // of connections
	codec      sarama.CompressionCodec
	idempotent bool
	birth      time.Time // the zero of deadlines
	idle       time.Duration
	creator    creator
	identity   identity
	expiry     expiry
	batches    sync.Pool
	odd        seldom
	ended      chan struct{} // closed when Close is through
	halt       context.CancelFunc
	ctx        context.Context

	mu       sync.RWMutex
	closed   bool
	halted   bool
	outboxes map[string]*outbox
	links    map[int32]*link
	work     sync.WaitGroup
}

// NewProducer returns a producer with settings that Validate takes. It dials
// nothing before the first record.
func (c *Cluster) NewProducer(cfg ProducerConfig) *Producer {
	p := &Producer{
		c: c, cfg: cfg.withDefaults(), conf: producerSettings(c.base), birth: time.Now(), idle: linkIdle,
		outboxes: map[string]*outbox{}, links: map[int32]*link{}, ended: make(chan struct{}),
	}
	p.codec = compressions[p.cfg.Compression]
	// A lost acknowledgement must not double or reorder records.
	p.idempotent = p.cfg.Acks != "leader" && p.cfg.Acks != "none"
	p.batches.New = func() any { return &batch{} }
	p.identity = identity{p: p, id: noID}
	p.expiry.birth, p.expiry.f = p.birth, p.expire
	p.creator.c = c
	// Not the cluster's context: its end would break the connections before
	// Close has had a chance.
	p.ctx, p.halt = context.WithCancel(context.Background())
	c.mu.Lock()
	c.producers[p] = struct{}{}
	if c.closed {
		p.closed, p.halted = true, true
		close(p.ended)
		p.halt()
	}
	c.mu.Unlock()
	return p
}

// Publish implements record.Producer. Until ctx is done, and no longer than the
// timeout, it also waits for room: at most 16384 records and 32 MiB of a topic
// are on their way at a time. The errors that it returns wrap ErrUnknownTopic,
// ErrRefused, ErrTooLarge, ErrUnavailable or ErrClosed.
func (p *Producer) Publish(ctx context.Context, r *record.Record, done func(record.Outcome)) error {
	size := recordSize(r)
	if size > p.cfg.MaxMessageBytes {
		return fmt.Errorf("writing to topic %q: the record takes %d bytes, and %d are allowed: %w", r.Topic, size, p.cfg.MaxMessageBytes, record.ErrTooLarge)
	}
	if !r.Timestamp.IsZero() && (r.Timestamp.Before(time.UnixMilli(0)) || r.Timestamp.After(lastTime)) {
		return fmt.Errorf("writing to topic %q: kafka has no way to write the time %v: %w", r.Topic, r.Timestamp, record.ErrRefused)
	}
	p.mu.RLock()
	o, closed := p.outboxes[r.Topic], p.closed
	p.mu.RUnlock()
	switch {
	case closed:
		return fmt.Errorf("writing to topic %q: %w", r.Topic, record.ErrClosed)
	case o != nil && o.try(r, size, done, time.Now()):
		return nil
	case o == nil && !record.ValidTopic(r.Topic):
		return fmt.Errorf("writing to topic %q: it is no legal name: %w", r.Topic, record.ErrUnknownTopic)
	}
	return p.publish(ctx, r, size, done)
}

// publish does all that may take time before a record can be sent.
func (p *Producer) publish(ctx context.Context, r *record.Record, size int, done func(record.Outcome)) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	if err := p.check(ctx, r); err != nil {
		return p.orClosed(r.Topic, err)
	}
	if p.idempotent {
		if err := p.identity.get(ctx); err != nil {
			return p.orClosed(r.Topic, err)
		}
	}
	o, err := p.outbox(ctx, r.Topic)
	if err != nil {
		return p.orClosed(r.Topic, err)
	}
	topic := r.Topic // r is not ours once it has entered
	return p.orClosed(topic, o.enter(ctx, r, size, done))
}

// orClosed says why an operation failed if that is because of Close.
func (p *Producer) orClosed(topic string, err error) error {
	if err != nil && p.ctx.Err() != nil {
		return fmt.Errorf("writing to topic %q: %w", topic, record.ErrClosed)
	}
	return err
}

// check makes sure that the topic exists before anything is kept for it, because
// the names of topics come from clients. While a topic is in use nobody waits for
// this.
func (p *Producer) check(ctx context.Context, r *record.Record) error {
	t := p.c.meta.cached(r.Topic)
	switch {
	case t == nil || !t.complete() || time.Since(t.at) > metadataOld:
		var err error
		if t, err = p.c.meta.lookup(ctx, r.Topic, p.c.timings.negative); err != nil {
			return err
		}
	case time.Since(t.at) > metadataStale:
		p.c.meta.prefetch(r.Topic)
	}
	if t.unknown() {
		if !p.cfg.CreateTopics {
			return fmt.Errorf("writing to topic %q: %w", r.Topic, record.ErrUnknownTopic)
		}
		if err := p.creator.create(ctx, r.Topic); err != nil {
			return err
		}
		t = p.c.meta.cached(r.Topic)
	}
	if t != nil && t.refused() {
		return named(fmt.Errorf("writing to topic %q: the gateway has no right to it: %w", r.Topic, record.ErrRefused), t.err)
	}
	if r.Partition == record.AnyPartition || t == nil || int(r.Partition) < len(t.partitions) && r.Partition >= 0 {
		return nil
	}
	// It may have grown.
	t, err := p.c.meta.lookup(ctx, r.Topic, time.Second)
	if err != nil {
		return err
	}
	if r.Partition < 0 || int(r.Partition) >= len(t.partitions) {
		return fmt.Errorf("writing to topic %q: it has %d partitions, and partition %d was asked for: %w", r.Topic, len(t.partitions), r.Partition, record.ErrRefused)
	}
	return nil
}

// outbox returns the outbox of a topic that exists, and makes it when the topic
// has partitions.
func (p *Producer) outbox(ctx context.Context, topic string) (*outbox, error) {
	p.mu.RLock()
	o := p.outboxes[topic]
	p.mu.RUnlock()
	if o != nil {
		return o, nil
	}
	t := p.c.meta.cached(topic)
	for t == nil || len(t.partitions) == 0 {
		var err error
		if t, err = p.c.meta.lookup(ctx, topic, 0); err != nil {
			return nil, err
		}
		if err = t.problem(); err != nil {
			return nil, err
		}
		if len(t.partitions) == 0 && !sleep(ctx, leastBackoff) {
			return nil, fmt.Errorf("writing to topic %q: it has no partitions yet: %w", topic, record.ErrUnavailable)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if o = p.outboxes[topic]; o == nil {
		o = &outbox{p: p, topic: topic, limit: p.cfg.MaxMessageBytes, closed: p.closed}
		o.adopt(t)
		p.outboxes[topic] = o
	}
	return o, nil
}

// link returns the link to a broker.
func (p *Producer) link(id int32) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.links[id]
	if l == nil {
		l = &link{p: p, id: id, wake: make(chan struct{}, 1)}
		p.links[id] = l
	}
	return l
}

// spawn runs f in a goroutine that Close waits for, unless the producer is being
// ended by force.
func (p *Producer) spawn(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.halted {
		return false
	}
	p.work.Go(f)
	return true
}

// request returns an empty request.
func (p *Producer) request() *sarama.ProduceRequest {
	req := &sarama.ProduceRequest{
		Version: 3, RequiredAcks: sarama.WaitForAll,
		// The leader's wait for its replicas must end before ours for the leader.
		Timeout: int32(bulkTimeout / 2 / time.Millisecond),
	}
	switch p.cfg.Acks {
	case "none":
		req.RequiredAcks = sarama.NoResponse
	case "leader":
		req.RequiredAcks = sarama.WaitForLocal
	}
	for i, since := range []sarama.KafkaVersion{sarama.V1_0_0_0, sarama.V2_0_0_0, sarama.V2_1_0_0, sarama.V2_4_0_0, sarama.V2_8_0_0, sarama.V3_7_0_0} {
		if p.c.version.IsAtLeast(since) {
			req.Version = int16(5 + i)
		}
	}
	return req
}

func (p *Producer) newBatch() *batch { return p.batches.Get().(*batch) }

// recycle takes a batch back that nothing refers to any more.
func (p *Producer) recycle(b *batch) {
	if !b.lent {
		b.reset()
		p.batches.Put(b)
	}
}

// expire reports the records whose time is over.
func (p *Producer) expire() {
	now := time.Since(p.birth)
	for _, o := range p.all() {
		if next, more := o.expire(now); more {
			p.expiry.arm(next)
		}
	}
}

func (p *Producer) all() []*outbox {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Collect(maps.Values(p.outboxes))
}

// Close ends the producer. Records that were accepted are written until ctx is
// done. What may have been written by then and has no answer is reported as of
// unknown outcome; the rest was not written, and fails with ErrClosed, with which
// records that come later are turned away. It returns nil if everything accepted
// had an answer, and else an error that wraps ErrUnknownOutcome where some of it
// may have been written, and ErrUnavailable where none of it was. The goroutines
// of the producer have ended shortly after. Further calls wait for the first.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.ended
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	defer close(p.ended)
	defer func() {
		p.c.mu.Lock()
		delete(p.c.producers, p)
		p.c.mu.Unlock()
	}()

	all := p.all() // there will be no more that take records
	for _, o := range all {
		select {
		case <-o.close():
		case <-ctx.Done():
		}
	}
	// From here on nothing is waited for: connections break, and nothing is sent
	// again.
	p.mu.Lock()
	p.halted = true
	p.mu.Unlock()
	p.halt()
	p.expiry.stop()
	left, open := false, false
	for _, o := range all {
		l, u := o.abandon()
		left, open = left || l, open || u
	}
	finished := make(chan struct{})
	go func() {
		p.work.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(closeTimeout):
	}
	switch {
	case open:
		return fmt.Errorf("closing the producer: records were not acknowledged in time: %w", record.ErrUnknownOutcome)
	case left:
		return fmt.Errorf("closing the producer: records could not be written in time: %w", record.ErrUnavailable)
	}
	return nil
}
