package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// createTimeout bounds the making of a topic, however long its callers wait.
const createTimeout = 15 * time.Second

// creator makes topics, each of them once at a time.
type creator struct {
	c      *Cluster
	mu     sync.Mutex
	flight map[string]*creation
}

type creation struct {
	done chan struct{}
	err  error
}

// create makes a topic with the broker's default number of partitions and
// replicas, and waits until it can be written to. Callers who come meanwhile
// wait for the same.
func (k *creator) create(ctx context.Context, topic string) error {
	k.mu.Lock()
	f := k.flight[topic]
	if f == nil {
		f = &creation{done: make(chan struct{})}
		if k.flight == nil {
			k.flight = map[string]*creation{}
		}
		work := func() {
			limit, cancel := context.WithTimeout(k.c.ctx, createTimeout)
			defer cancel()
			f.err = k.attempt(limit, topic)
			k.mu.Lock()
			delete(k.flight, topic)
			k.mu.Unlock()
			close(f.done)
		}
		if !k.c.spawn(work) {
			k.mu.Unlock()
			return fmt.Errorf("creating topic %q: %w", topic, record.ErrClosed)
		}
		k.flight[topic] = f
	}
	k.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("creating topic %q: it took too long: %w", topic, record.ErrUnavailable)
	}
}

// attempt asks the controller until it answers for good.
func (k *creator) attempt(ctx context.Context, topic string) error {
	// Somebody may have made it since the caller looked.
	if t, err := k.c.meta.lookup(ctx, topic, k.c.timings.positive); err == nil && t.problem() == nil && t.complete() {
		return nil
	}
	for failures := 1; ; failures++ {
		err := k.ask(topic)
		switch {
		case err == nil:
			return k.await(ctx, topic)
		case errors.Is(err, record.ErrRefused):
			return err
		}
		// The controller moved or is not there: metadata tells of the next.
		_, _ = k.c.meta.lookup(ctx, topic, 0)
		if !sleep(ctx, backoff(failures, 100*time.Millisecond, time.Second)) {
			return fmt.Errorf("creating topic %q: no controller answered: %w", topic, record.ErrUnavailable)
		}
	}
}

// await waits until the brokers know the topic and its leaders.
func (k *creator) await(ctx context.Context, topic string) error {
	for {
		t, err := k.c.meta.lookup(ctx, topic, 0)
		if err != nil {
			return err
		}
		if t.complete() {
			return nil
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return fmt.Errorf("creating topic %q: it got no leaders in time: %w", topic, record.ErrUnavailable)
		}
	}
}

// ask sends the request, with the brokers' defaults where they take them.
func (k *creator) ask(topic string) error {
	k.c.meta.mu.Lock()
	addr := k.c.meta.brokers[k.c.meta.controller]
	k.c.meta.mu.Unlock()
	if addr == "" {
		return sarama.ErrControllerNotAvailable
	}
	conf := *k.c.base
	conf.Net.ReadTimeout = bulkTimeout
	cn, err := open(k.c.ctx, addr, &conf)
	if err != nil {
		return err
	}
	defer cn.close()
	detail := &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1}
	for {
		req := sarama.NewCreateTopicsRequest(k.c.version, map[string]*sarama.TopicDetail{topic: detail}, readTimeout, false)
		defaults := detail.NumPartitions < 0
		if defaults && req.Version < 4 {
			detail = &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}
			continue
		}
		answer, err := cn.CreateTopics(req)
		if err != nil {
			return err
		}
		e := answer.TopicErrors[topic]
		switch {
		case e == nil:
			return sarama.ErrIncompleteResponse
		case e.Err == sarama.ErrNoError, e.Err == sarama.ErrTopicAlreadyExists:
			return nil
		case defaults && (e.Err == sarama.ErrInvalidPartitions || e.Err == sarama.ErrInvalidReplicationFactor):
			// A broker from before Kafka 2.4 has no defaults to offer.
			detail = &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}
			continue
		case e.Err == sarama.ErrTopicAuthorizationFailed, e.Err == sarama.ErrClusterAuthorizationFailed:
			return named(fmt.Errorf("creating topic %q: the gateway has no right to (CREATE): %w", topic, record.ErrRefused), e.Err)
		case e.Err == sarama.ErrPolicyViolation, e.Err == sarama.ErrInvalidTopic, e.Err == sarama.ErrInvalidConfig,
			e.Err == sarama.ErrInvalidPartitions, e.Err == sarama.ErrInvalidReplicationFactor:
			return named(fmt.Errorf("creating topic %q: the cluster's settings or policies forbid it (%d): %w", topic, int16(e.Err), record.ErrRefused), e.Err)
		}
		return e.Err
	}
}
