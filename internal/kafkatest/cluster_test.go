package kafkatest

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClusterFaults does to one cluster, one after the other, what clusters
// suffer.
func TestClusterFaults(t *testing.T) {
	t.Parallel()
	began := time.Now()
	lap := func(what string) {
		t.Logf("%s: %v", what, time.Since(began).Round(10*time.Millisecond))
		began = time.Now()
	}
	c := StartCluster(t, 3, HeapMiB(256))
	lap("3 nodes started")

	topic := Topic(t)
	c.CreateTopic(t, topic, 2, 3, map[string]string{"min.insync.replicas": "2"})
	c.WaitInSync(t, topic)
	lap("topic created")

	before := c.Partition(t, topic, 0)
	if len(before.Replicas) != 3 || len(before.InSync) != 3 {
		t.Fatalf("a partition with three replicas is %+v", before)
	}
	// Without the controller, the other nodes get no producer ids either.
	to := controller(t, c)
	if to.ID() == before.Leader {
		c.MoveLeader(t, topic, 0, c.Node(t, before.Leader%3+1))
	}
	c.MoveLeader(t, topic, 0, to)
	if now := c.Partition(t, topic, 0); now.Leader != to.ID() || now.Epoch <= before.Epoch {
		t.Errorf("the leader should be node %d in an epoch after %d: %+v", to.ID(), before.Epoch, now)
	}
	lap("leader moved")

	to.Pause(t)
	paused := c.WaitPartition(t, topic, 0, "have another leader", func(p Partition) bool {
		return p.Leader >= 0 && p.Leader != to.ID()
	})
	if slices.Contains(paused.InSync, to.ID()) {
		t.Errorf("a paused node is in sync: %+v", paused)
	}
	c.Nodes[0].ProduceTo(t, topic, 0, KV("", "while the controller is paused"))
	to.Resume(t)
	c.WaitInSync(t, topic)
	lap("leader paused and resumed")

	c.Reassign(t, topic, 1, 2, 3)
	if p := c.Partition(t, topic, 1); !slices.Equal(p.Replicas, []int{2, 3}) {
		t.Errorf("moved to nodes 2 and 3: %+v", p)
	}
	lap("partition reassigned")

	c.Nodes[0].DeleteTopic(t, topic)
	c.CreateTopic(t, topic, 1, 2, nil)
	if got := c.Nodes[1].ReadAll(t, topic); len(got) > 0 {
		t.Errorf("a topic made again holds %d records", len(got))
	}
	lap("topic deleted and made again")
	t.Run("truncated", func(t *testing.T) { testTruncate(t, c) })
}

// controller returns the node that leads the metadata (KIP-595).
func controller(t *testing.T, c *Cluster) *Broker {
	t.Helper()
	partition := kmsg.NewDescribeQuorumRequestTopicPartition()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, partition)
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = append(req.Topics, topic)
	cl, err := c.Nodes[0].client()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	resp, err := req.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	return c.Node(t, int(resp.Topics[0].Partitions[0].LeaderID))
}

// testTruncate shows that records which were acknowledged, and read, are gone.
func testTruncate(t *testing.T, c *Cluster) {
	topic := Topic(t)
	c.CreateTopic(t, topic, 1, 2, nil)
	b := c.Nodes[0]
	b.ProduceTo(t, topic, 0, KV("", "kept"), KV("", "too"))
	began := time.Now()
	cut := c.Truncate(t, topic, 0, func() {
		lost := []*kgo.Record{KV("", "lost"), KV("", "lost"), KV("", "lost")}
		c.Leader(t, topic, 0).ProduceLeader(t, topic, 0, lost...)
		if lost[2].Offset != 4 {
			t.Errorf("the last record was acknowledged at %d", lost[2].Offset)
		}
		if got := values(t, c.Leader(t, topic, 0), topic); got != "kept too lost lost lost" {
			t.Errorf("before, consumers read %q", got)
		}
	})
	t.Logf("truncated in %v: %+v", time.Since(began).Round(10*time.Millisecond), cut)
	if cut.End != 2 || cut.OldEnd != 5 {
		t.Errorf("cut from 5 to 2: %+v", cut)
	}
	if cut.Epoch <= cut.OldEpoch {
		t.Errorf("the leader epoch did not grow: %+v", cut)
	}
	if got := values(t, b, topic); got != "kept too" {
		t.Errorf("consumers read %q", got)
	}
	// The one that was cut has the same when it leads.
	now := c.Partition(t, topic, 0)
	c.MoveLeader(t, topic, 0, c.Node(t, now.Replicas[0]+now.Replicas[1]-now.Leader))
	b.ProduceTo(t, topic, 0, KV("", "new"))
	if got := values(t, b, topic); got != "kept too new" {
		t.Errorf("from the node whose log was cut, consumers read %q", got)
	}
}

// throttled counts answers that tell the client to wait.
type throttled struct{ n atomic.Int64 }

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (h *throttled) OnBrokerThrottle(_ kgo.BrokerMetadata, _ time.Duration, _ bool) { h.n.Add(1) }

func TestQuota(t *testing.T) {
	b := Shared(t)
	topic := Topic(t)
	b.CreateTopic(t, topic, 1, nil)
	var hook throttled
	cl, err := b.client(kgo.ClientID(topic), kgo.WithHooks(&hook), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	b.Quota(t, topic, 1000, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := poll(ctx, func() error {
		if err := cl.ProduceSync(ctx, KV("", strings.Repeat("x", 2000))).FirstErr(); err != nil {
			return err
		}
		if hook.n.Load() == 0 {
			return context.DeadlineExceeded
		}
		return nil
	}); err != nil {
		t.Fatalf("a client above its quota is not throttled: %v", err)
	}
	b.Quota(t, topic, 0, 0)
}

// Clients of a proxied broker stay on the proxy when they learn of its address.
func TestProxied(t *testing.T) {
	b := Start(t, Proxied())
	topic := Topic(t)
	b.CreateTopic(t, topic, 1, nil)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Proxy().Addr()), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), KV("", "a")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	known, err := kadm.NewClient(cl).ListBrokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if addr := net.JoinHostPort(known[0].Host, strconv.Itoa(int(known[0].Port))); addr != b.Proxy().Addr() {
		t.Errorf("clients are sent to %s, past the proxy at %s", addr, b.Proxy().Addr())
	}
	b.Proxy().Refuse(true)
	b.Proxy().Cut()
	written := make(chan error, 1)
	cl.Produce(t.Context(), KV("", "b"), func(_ *kgo.Record, err error) { written <- err })
	b.Produce(t, topic, KV("", "past"))
	b.Proxy().Refuse(false)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	// Had the second not waited for the proxy, it would stand before the other.
	if got := values(t, b, topic); got != "a past b" {
		t.Errorf("read %q", got)
	}
}
