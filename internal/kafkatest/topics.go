package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestTimeout bounds each request of a test to a broker.
const requestTimeout = 30 * time.Second

// Topic returns a name for a topic that no other test uses.
func Topic(t testing.TB) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		default:
			return '-'
		}
	}, t.Name())
	return fmt.Sprintf("%.200s-%08x", name, rand.Uint32())
}

// CreateTopic makes a topic and waits until every partition has a leader.
// configs may be nil.
func (b *Broker) CreateTopic(t testing.TB, name string, partitions int, configs map[string]string) {
	t.Helper()
	b.do(t, "creating topic "+name, func(ctx context.Context) error {
		return b.createTopic(ctx, name, partitions, configs)
	})
}

// DeleteTopic removes a topic with its records and waits until no node knows it
// any more.
func (b *Broker) DeleteTopic(t testing.TB, name string) {
	t.Helper()
	b.do(t, "deleting topic "+name, func(ctx context.Context) error {
		err := b.admin(func(adm *kadm.Client) error {
			_, err := adm.DeleteTopic(ctx, name)
			return err
		})
		if err != nil {
			return err
		}
		if err := b.waitTopic(ctx, name, func(m kmsg.MetadataResponseTopic) error {
			if m.ErrorCode != kerr.UnknownTopicOrPartition.Code {
				return errors.New("it is still there")
			}
			return nil
		}); err != nil {
			return err
		}
		// ZooKeeper may hold the name a little longer than the brokers.
		return b.admin(func(adm *kadm.Client) error {
			return poll(ctx, func() error {
				resp, err := adm.ValidateCreateTopics(ctx, 1, 1, nil, name)
				return errors.Join(err, resp.Error())
			})
		})
	})
}

// AddPartitions brings a topic to a total number of partitions and waits until
// each has a leader.
func (b *Broker) AddPartitions(t testing.TB, name string, total int) {
	t.Helper()
	b.do(t, "adding partitions to "+name, func(ctx context.Context) error {
		err := b.admin(func(adm *kadm.Client) error {
			resp, err := adm.UpdatePartitions(ctx, total, name)
			return errors.Join(err, resp.Error())
		})
		if err != nil {
			return err
		}
		return b.waitLeaders(ctx, name, total)
	})
}

// DeleteRecords removes the records of a partition that come before an offset.
func (b *Broker) DeleteRecords(t testing.TB, topic string, partition int32, before int64) {
	t.Helper()
	b.do(t, "deleting records of "+topic, func(ctx context.Context) error {
		return b.admin(func(adm *kadm.Client) error {
			var offsets kadm.Offsets
			offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before, LeaderEpoch: -1})
			resp, err := adm.DeleteRecords(ctx, offsets)
			return errors.Join(err, resp.Error())
		})
	})
}

// Admin gives a client for whatever else a test wants of the cluster. It is
// closed when the test ends.
func (b *Broker) Admin(t testing.TB) *kadm.Client {
	t.Helper()
	cl, err := b.client()
	if err != nil {
		t.Fatalf("making a Kafka client: %v", err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func (b *Broker) createTopic(ctx context.Context, name string, partitions int, configs map[string]string) error {
	return b.createReplicated(ctx, name, partitions, min(3, len(b.peers)), configs)
}

func (b *Broker) createReplicated(ctx context.Context, name string, partitions, replicas int, configs map[string]string) error {
	values := make(map[string]*string, len(configs))
	for k, v := range configs {
		values[k] = new(v)
	}
	err := b.admin(func(adm *kadm.Client) error {
		_, err := adm.CreateTopic(ctx, int32(partitions), int16(replicas), values, name)
		return err
	})
	if err != nil {
		return err
	}
	return b.waitLeaders(ctx, name, partitions)
}

// waitLeaders waits until clients of every node find the topic whole: the
// answer to a change comes before the nodes have heard of it.
func (b *Broker) waitLeaders(ctx context.Context, name string, partitions int) error {
	return b.waitTopic(ctx, name, func(m kmsg.MetadataResponseTopic) error {
		if err := kerr.ErrorForCode(m.ErrorCode); err != nil {
			return err
		}
		if len(m.Partitions) != partitions {
			return fmt.Errorf("%d of %d partitions are there", len(m.Partitions), partitions)
		}
		for _, p := range m.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return fmt.Errorf("partition %d has no leader", p.Partition)
			}
		}
		return nil
	})
}

// waitTopic asks each node that answers about a topic until check is content.
func (b *Broker) waitTopic(ctx context.Context, name string, check func(kmsg.MetadataResponseTopic) error) error {
	return poll(ctx, func() error { return b.askTopic(ctx, name, check) })
}

// askTopic asks each node that answers about a topic, once.
func (b *Broker) askTopic(ctx context.Context, name string, check func(kmsg.MetadataResponseTopic) error) error {
	for _, node := range b.peers {
		if !node.answers() {
			continue
		}
		resp, err := node.topic(ctx, name)
		if err == nil {
			err = check(resp)
		}
		if err != nil {
			return fmt.Errorf("node %d: %w", node.id, err)
		}
	}
	return nil
}

// topic is what this node, and no other, tells of a topic.
func (b *Broker) topic(ctx context.Context, name string) (kmsg.MetadataResponseTopic, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.RequestRetries(0))
	if err != nil {
		return kmsg.MetadataResponseTopic{}, err
	}
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, cl.SeedBrokers()[0])
	if err != nil {
		return kmsg.MetadataResponseTopic{}, err
	}
	if len(resp.Topics) != 1 {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("the broker answered for %d topics", len(resp.Topics))
	}
	return resp.Topics[0], nil
}

func (b *Broker) do(t testing.TB, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func (b *Broker) admin(f func(*kadm.Client) error) error {
	cl, err := b.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(kadm.NewClient(cl))
}

// client makes a client of all nodes. Those that are down or paused are left to
// the others to name, where there are others: a client could wait for them.
func (b *Broker) client(opts ...kgo.Opt) (*kgo.Client, error) {
	var seeds []string
	for _, p := range b.peers {
		if p.answers() {
			seeds = append(seeds, p.Addr())
		}
	}
	if len(seeds) == 0 {
		seeds = append(seeds, b.Addr())
	}
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.MetadataMinAge(10 * time.Millisecond),
	}, opts...)...)
}
