package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// engine is a running sarama producer.
type engine struct {
	client  sarama.Client
	async   sarama.AsyncProducer
	ready   chan struct{} // closed when the above are set, or err is
	err     error
	drained sync.WaitGroup
}

// running reports whether the producer has started.
func (e *engine) running() bool {
	select {
	case <-e.ready:
		return e.err == nil
	default:
		return false
	}
}

// start returns the running sarama producer, which the first caller starts. It
// asks a broker for a producer's id, which may take its time.
func (p *Producer) start(ctx context.Context) (*engine, error) {
	p.mu.Lock()
	e := p.engine
	if e == nil {
		e = &engine{ready: make(chan struct{})}
		p.engine = e
		p.entered.Go(func() { p.launch(e) })
	}
	p.mu.Unlock()
	select {
	case <-e.ready:
	case <-ctx.Done():
		return nil, fmt.Errorf("starting the producer: no broker answered in time: %w", record.ErrUnavailable)
	}
	return e, e.err
}

// know makes sure that sarama, which keeps metadata of its own, knows of a
// partition that a record names. sarama cannot be told when to stop looking, so
// its search may go on after ctx is done.
func (p *Producer) know(ctx context.Context, e *engine, topic string, partition int32) error {
	if partition == record.AnyPartition {
		return nil
	}
	found := make(chan error, 1)
	p.entered.Go(func() { // by a caller that has entered
		all, err := e.client.Partitions(topic)
		if err == nil && int(partition) >= len(all) {
			err = e.client.RefreshMetadata(topic)
		}
		found <- err
	})
	var err error
	select {
	case err = <-found:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("writing to topic %q: its partitions could not be looked up: %w", topic, record.ErrUnavailable)
	}
	return nil
}

func (p *Producer) launch(e *engine) {
	conf := producerSettings(p.c.base, p.cfg, func() bool { return p.ctx.Err() != nil })
	conf.Net.Proxy.Enable = true
	conf.Net.Proxy.Dialer = p.dialer
	var err error
	if e.client, err = sarama.NewClient(p.c.cfg.Brokers, conf); err == nil {
		if e.async, err = sarama.NewAsyncProducerFromClient(e.client); err != nil {
			_ = e.client.Close()
		}
	}
	if err == nil {
		e.drained.Add(2)
		go p.successes(e)
		go p.errors(e)
		close(e.ready)
		return
	}
	if p.ctx.Err() == nil && p.odd.allow() {
		p.c.log.Warn("starting the kafka producer failed; the next record tries again (are the brokers up, and may the gateway write idempotently?)", zap.Error(err))
	}
	reason := record.ErrUnavailable
	if errors.Is(err, sarama.ErrClusterAuthorizationFailed) || errors.Is(err, sarama.ErrSASLAuthenticationFailed) {
		reason = record.ErrRefused
	}
	e.err = fmt.Errorf("starting the producer: %w", reason)
	p.mu.Lock()
	p.engine = nil
	p.mu.Unlock()
	close(e.ready)
}

func (p *Producer) successes(e *engine) {
	defer e.drained.Done()
	for m := range e.async.Successes() {
		s := m.Metadata.(*submission)
		s.topic.leave(s.size)
		p.pending.answer(s, record.Outcome{Partition: m.Partition, Offset: m.Offset})
	}
}

func (p *Producer) errors(e *engine) {
	defer e.drained.Done()
	for f := range e.async.Errors() {
		s := f.Msg.Metadata.(*submission)
		err := classify(f.Err, s.sent)
		if errors.Is(err, record.ErrTooLarge) && !s.topic.blame(s.pass, s.size, p.cfg.MaxMessageBytes) {
			err = fmt.Errorf("writing a record: it was sent along with more than the topic takes at a time (max.message.bytes): %w", record.ErrUnavailable)
		}
		s.topic.leave(s.size)
		if errors.Is(err, record.ErrUnknownTopic) {
			p.c.meta.prefetch(f.Msg.Topic)
		}
		if p.ctx.Err() == nil && p.odd.allow() {
			p.c.log.Warn("kafka did not take a record", zap.String("topic", f.Msg.Topic), zap.Error(f.Err))
		}
		p.pending.answer(s, record.Outcome{Partition: f.Msg.Partition, Offset: -1, Err: err})
	}
}
