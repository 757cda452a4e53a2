package kafka

import (
	"context"
	"fmt"
	"math"
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
	c       *Cluster
	cfg     ProducerConfig
	dialer  *dialer
	creator creator
	pending pending
	odd     seldom

	mu      sync.Mutex
	closed  bool
	engine  *engine // nil until the first record
	gates   map[string]*gate
	entered sync.WaitGroup // callers between the check for closed and sarama
	ended   chan struct{}  // closed when Close is through
	halt    context.CancelFunc
	ctx     context.Context
}

// NewProducer returns a producer with settings that Validate takes. It dials
// nothing before the first record.
func (c *Cluster) NewProducer(cfg ProducerConfig) *Producer {
	p := &Producer{c: c, cfg: cfg.withDefaults(), gates: map[string]*gate{}, ended: make(chan struct{})}
	// Not the cluster's context: its end would break the connections before
	// Close has had a chance.
	p.ctx, p.halt = context.WithCancel(context.Background())
	p.dialer = newDialer(p.ctx, c.base)
	p.creator.c = c
	c.mu.Lock()
	c.producers[p] = struct{}{}
	if c.closed {
		p.closed = true
		close(p.ended)
		p.halt()
	}
	c.mu.Unlock()
	return p
}

// Publish implements record.Producer. Until ctx is done, and no longer than the
// timeout, it also waits for room: at most 1024 records and 32 MiB of a topic are
// on their way at a time. The
// errors that it returns wrap ErrUnknownTopic, ErrRefused, ErrTooLarge,
// ErrUnavailable or ErrClosed.
func (p *Producer) Publish(ctx context.Context, r *record.Record, done func(record.Outcome)) error {
	if !record.ValidTopic(r.Topic) {
		return fmt.Errorf("writing to topic %q: it is no legal name: %w", r.Topic, record.ErrUnknownTopic)
	}
	s := p.submission(r, done)
	if s.size > p.cfg.MaxMessageBytes {
		return fmt.Errorf("writing to topic %q: the record takes %d bytes, and %d are allowed: %w", r.Topic, s.size, p.cfg.MaxMessageBytes, record.ErrTooLarge)
	}
	if !r.Timestamp.IsZero() && (r.Timestamp.Before(time.UnixMilli(0)) || r.Timestamp.After(lastTime)) {
		// sarama would fail all records that are sent along with it.
		return fmt.Errorf("writing to topic %q: kafka has no way to write the time %v: %w", r.Topic, r.Timestamp, record.ErrRefused)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return fmt.Errorf("writing to topic %q: %w", r.Topic, record.ErrClosed)
	}
	p.entered.Add(1)
	e, g := p.engine, p.gates[r.Topic]
	p.mu.Unlock()
	defer p.entered.Done()

	entered := false
	if e != nil && g != nil && e.running() && p.known(r) {
		s.pass, entered = g.try(s.size)
	}
	if !entered {
		var err error
		if e, g, err = p.prepare(ctx, r, s); err != nil {
			return err
		}
	}
	s.topic = g
	s.deadline = time.Now().Add(p.cfg.Timeout)
	p.pending.add(s)
	e.async.Input() <- &s.msg
	return nil
}

// known reports whether a record can be written without asking anybody: the way
// of all records but a topic's first.
func (p *Producer) known(r *record.Record) bool {
	if r.Partition != record.AnyPartition {
		return false
	}
	t := p.c.meta.cached(r.Topic)
	if t == nil || !t.complete() {
		return false
	}
	age := time.Since(t.at)
	if age > metadataStale {
		p.c.meta.prefetch(r.Topic)
	}
	return age < metadataOld
}

// prepare does all that may take time before a record is handed to sarama, which
// ends with its entry through the topic's gate.
func (p *Producer) prepare(ctx context.Context, r *record.Record, s *submission) (*engine, *gate, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	if err := p.check(ctx, r); err != nil {
		return nil, nil, p.orClosed(r.Topic, err)
	}
	e, err := p.start(ctx)
	if err != nil {
		return nil, nil, p.orClosed(r.Topic, err)
	}
	if err := p.know(ctx, e, r.Topic, r.Partition); err != nil {
		return nil, nil, p.orClosed(r.Topic, err)
	}
	g := p.gate(r.Topic)
	if s.pass, err = g.enter(ctx, s.size); err != nil {
		return nil, nil, p.orClosed(r.Topic, fmt.Errorf("writing to topic %q: the records before it are stuck: %w", r.Topic, record.ErrUnavailable))
	}
	return e, g, nil
}

// orClosed says why an operation failed if that is because of Close.
func (p *Producer) orClosed(topic string, err error) error {
	if p.ctx.Err() != nil {
		return fmt.Errorf("writing to topic %q: %w", topic, record.ErrClosed)
	}
	return err
}

// submission makes a record ready for sarama.
func (p *Producer) submission(r *record.Record, done func(record.Outcome)) *submission {
	s := &submission{done: done}
	s.msg = sarama.ProducerMessage{
		Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp, Metadata: s,
		// sarama leaves it alone when the broker calls the record a duplicate.
		Offset: -1,
	}
	if r.Key != nil {
		s.msg.Key = payload{r.Key, s}
	}
	if r.Value != nil {
		s.msg.Value = payload{r.Value, s}
	}
	// With neither there is nothing that could tell when it is sent.
	s.sent = r.Key == nil && r.Value == nil
	if len(r.Headers) > 0 {
		s.msg.Headers = make([]sarama.RecordHeader, len(r.Headers))
		for i, h := range r.Headers {
			s.msg.Headers[i] = sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value}
		}
	}
	s.size = s.msg.ByteSize(2)
	return s
}

// check makes sure that the topic exists before sarama hears of it, because that
// keeps a goroutine for each name it ever heard. While a topic is in use nobody
// waits for this.
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
		return fmt.Errorf("writing to topic %q: the gateway has no right to it: %w", r.Topic, record.ErrRefused)
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

func (p *Producer) gate(topic string) *gate {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.gates[topic]
	if g == nil {
		g = &gate{}
		p.gates[topic] = g
	}
	return g
}

// Close ends the producer. Records that were accepted are written until ctx is
// done; what is not acknowledged by then is reported as of unknown outcome.
// Records that come later are turned away with ErrClosed. It returns nil if
// everything accepted had an answer, and else an error that wraps
// ErrUnknownOutcome. The goroutines of the producer have ended shortly after.
// Further calls wait for the first.
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

	var err error
	entered := make(chan struct{})
	go func() {
		p.entered.Wait()
		close(entered)
	}()
	select {
	case <-entered:
		select {
		case <-p.pending.drained():
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	// From here on nothing is waited for: connections break, retries do not
	// pause, and sarama soon gives up what it has.
	if !p.pending.idle() {
		err = errLeftOver
	}
	p.halt()
	p.pending.giveUp(func(*submission) bool { return true })
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		<-entered
		p.pending.giveUp(func(*submission) bool { return true })
		p.mu.Lock()
		e := p.engine
		p.mu.Unlock()
		if e != nil {
			e.async.AsyncClose()
			e.drained.Wait()
			if !e.client.Closed() {
				_ = e.client.Close()
			}
		}
	}()
	select {
	case <-finished:
	case <-time.After(closeTimeout):
	}
	return err
}

var errLeftOver = fmt.Errorf("closing the producer: records were not acknowledged in time: %w", record.ErrUnknownOutcome)
