package kafkatest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pollEvery is the pause between two looks at something that a broker does
// sooner or later and tells nobody.
const pollEvery = 20 * time.Millisecond

// poll calls f until it returns nil, and gives up with its last error.
func poll(ctx context.Context, f func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func (b *Broker) waitReady(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	b.mu.Lock()
	kafka := b.kafka
	b.mu.Unlock()
	if kafka == nil {
		return fmt.Errorf("the broker was never started")
	}
	// Polling ends at once when there is nothing left to wait for.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-kafka.done:
			stop(b.ended(kafka))
		case <-ctx.Done():
		}
	}()
	defer func() { stop(nil); <-ended }()

	dialer := net.Dialer{Timeout: time.Second}
	if err := poll(ctx, func() error {
		// Until the port is open a client would only waste time on its own retries.
		c, err := dialer.DialContext(ctx, "tcp", b.Addr())
		if err == nil {
			c.Close()
		}
		return err
	}); err != nil {
		return err
	}
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(b.Addr()),
		kgo.RequestRetries(0),
		kgo.DialTimeout(time.Second),
	)
	if err != nil {
		return fmt.Errorf("making a Kafka client: %w", err)
	}
	defer cl.Close()
	return poll(ctx, func() error { return b.inService(ctx, cl) })
}

// ended tells why a broker is gone that should have answered.
func (b *Broker) ended(p *process) error {
	return fmt.Errorf("Kafka ended (%v); the end of its log:\n%s", p.err, tail(b.Log(), 12))
}

// inService asks the broker whether it is ready for all that clients want.
func (b *Broker) inService(ctx context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest() // no list of topics: all
	resp, err := req.RequestWith(ctx, cl.SeedBrokers()[0])
	if err != nil {
		return fmt.Errorf("the broker does not answer: %w", err)
	}
	if !slices.ContainsFunc(resp.Brokers, func(m kmsg.MetadataResponseBroker) bool { return int(m.NodeID) == b.id }) {
		return fmt.Errorf("the broker answers and is not part of its cluster yet")
	}
	if len(resp.Brokers) < b.answeringNodes() {
		return fmt.Errorf("%d of %d nodes have found each other", len(resp.Brokers), b.answeringNodes())
	}
	if len(b.peers) > 1 {
		return nil // a leader may be a node that is down on purpose
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return fmt.Errorf("partition %d of %s has no leader yet", p.Partition, *topic.Topic)
			}
		}
	}
	return nil
}

// answeringNodes counts the nodes of the cluster that are neither down nor paused.
func (b *Broker) answeringNodes() int {
	n := 0
	for _, p := range b.peers {
		if p.answers() {
			n++
		}
	}
	return n
}
