package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// changeTimeout bounds the wait until a cluster is as a test wants it: a broker
// that is gone is noticed after its session, and copies take their time.
const changeTimeout = 60 * time.Second

// Partition is who has a partition, as its cluster tells.
type Partition struct {
	// Leader is the ID of the node that leads it, -1 for none.
	Leader int
	// Epoch is the leader epoch (KIP-101). It grows with every leader.
	Epoch int32
	// Replicas are the nodes that keep it, the preferred leader first.
	Replicas []int
	// InSync are the nodes that have all that is committed.
	InSync []int
}

// CreateTopic makes a topic of which each partition is kept by a number of
// nodes, and waits until every partition has a leader. configs, for instance
// min.insync.replicas, may be nil.
func (c *Cluster) CreateTopic(t testing.TB, name string, partitions, replicas int, configs map[string]string) {
	t.Helper()
	b := c.Nodes[0]
	b.do(t, "creating topic "+name, func(ctx context.Context) error {
		return b.createReplicated(ctx, name, partitions, replicas, configs)
	})
}

// Node returns the node with an ID.
func (c *Cluster) Node(t testing.TB, id int) *Broker {
	t.Helper()
	for _, b := range c.Nodes {
		if b.id == id {
			return b
		}
	}
	t.Fatalf("the cluster has no node %d", id)
	return nil
}

// Leader returns the node that leads a partition, and waits until there is one.
func (c *Cluster) Leader(t testing.TB, topic string, partition int32) *Broker {
	t.Helper()
	p := c.WaitPartition(t, topic, partition, "have a leader", func(p Partition) bool { return p.Leader >= 0 })
	return c.Node(t, p.Leader)
}

// Partition asks the first node that answers who has a partition.
func (c *Cluster) Partition(t testing.TB, topic string, partition int32) Partition {
	t.Helper()
	return c.WaitPartition(t, topic, partition, "be known", func(Partition) bool { return true })
}

// WaitPartition waits until all nodes that are neither down nor paused tell the
// same of a partition and ok is content with it. what completes "waiting for
// the partition to".
func (c *Cluster) WaitPartition(t testing.TB, topic string, partition int32, what string, ok func(Partition) bool) Partition {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	p, err := c.waitPartition(ctx, topic, partition, ok)
	if err != nil {
		t.Fatalf("waiting for partition %d of %s to %s: %v", partition, topic, what, err)
	}
	return p
}

func (c *Cluster) waitPartition(ctx context.Context, topic string, partition int32, ok func(Partition) bool) (Partition, error) {
	var p Partition
	err := poll(ctx, func() error {
		first := true
		return c.Nodes[0].askTopic(ctx, topic, func(m kmsg.MetadataResponseTopic) error {
			got, err := partitionOf(m, partition)
			if err != nil {
				return err
			}
			if !first && (got.Leader != p.Leader || got.Epoch != p.Epoch || !slices.Equal(got.InSync, p.InSync)) {
				return fmt.Errorf("nodes do not agree: %+v, %+v", p, got)
			}
			first, p = false, got
			if !ok(got) {
				return fmt.Errorf("it is %+v", got)
			}
			return nil
		})
	})
	return p, err
}

func partitionOf(m kmsg.MetadataResponseTopic, number int32) (Partition, error) {
	if err := kerr.ErrorForCode(m.ErrorCode); err != nil {
		return Partition{}, err
	}
	for _, p := range m.Partitions {
		if p.Partition == number {
			return Partition{Leader: int(p.Leader), Epoch: p.LeaderEpoch, Replicas: ints(p.Replicas), InSync: ints(p.ISR)}, nil
		}
	}
	return Partition{}, errors.New("there is no such partition")
}

func ints(ids []int32) []int {
	all := make([]int, len(ids))
	for i, id := range ids {
		all[i] = int(id)
	}
	return all
}

// WaitInSync waits until every replica of every partition of the topics is in
// sync: a node may then be killed without harm.
func (c *Cluster) WaitInSync(t testing.TB, topics ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	for _, name := range topics {
		if err := c.Nodes[0].waitTopic(ctx, name, func(m kmsg.MetadataResponseTopic) error {
			if err := kerr.ErrorForCode(m.ErrorCode); err != nil {
				return err
			}
			for _, p := range m.Partitions {
				if p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
					return fmt.Errorf("partition %d: leader %d, in sync %v of %v", p.Partition, p.Leader, p.ISR, p.Replicas)
				}
			}
			return nil
		}); err != nil {
			t.Fatalf("waiting for the replicas of %s: %v", name, err)
		}
	}
}

// MoveLeader makes a node that has a replica the leader of a partition, and its
// preferred one from now on. It waits until all nodes know.
func (c *Cluster) MoveLeader(t testing.TB, topic string, partition int32, to *Broker) {
	t.Helper()
	now := c.Partition(t, topic, partition)
	replicas := []int{to.id}
	for _, id := range now.Replicas {
		if id != to.id {
			replicas = append(replicas, id)
		}
	}
	if len(replicas) != len(now.Replicas) {
		t.Fatalf("node %d has no replica of partition %d of %s: %v", to.id, partition, topic, now.Replicas)
	}
	c.Reassign(t, topic, partition, replicas...)
	c.elect(t, topic, partition, to, kadm.ElectPreferredReplica)
}

// Reassign moves a partition to the nodes with the given IDs, the preferred
// leader first, and waits until they have it and nobody else does.
func (c *Cluster) Reassign(t testing.TB, topic string, partition int32, nodes ...int) {
	t.Helper()
	ids := make([]int32, len(nodes))
	for i, id := range nodes {
		ids[i] = int32(id)
	}
	b := c.Nodes[0]
	b.do(t, "reassigning "+topic, func(ctx context.Context) error {
		return b.admin(func(adm *kadm.Client) error {
			var req kadm.AlterPartitionAssignmentsReq
			req.Assign(topic, partition, ids)
			resp, err := adm.AlterPartitionAssignments(ctx, req)
			return errors.Join(err, resp.Error())
		})
	})
	c.WaitPartition(t, topic, partition, fmt.Sprintf("be kept by %v", nodes), func(p Partition) bool {
		return slices.Equal(p.Replicas, nodes) && len(p.InSync) == len(nodes)
	})
}

// elect has the controller make a node the leader and waits until all nodes
// know. It asks until that is so: a controller that was just elected itself, or
// has not yet missed the old leader, finds that no election is needed.
func (c *Cluster) elect(t testing.TB, topic string, partition int32, to *Broker, how kadm.ElectLeadersHow) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	var topics kadm.TopicsSet
	topics.Add(topic, partition)
	led := func(p Partition) bool { return p.Leader == to.id }
	err := to.admin(func(adm *kadm.Client) error {
		return poll(ctx, func() error {
			attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			resp, err := adm.ElectLeaders(attempt, how, topics)
			if err == nil {
				err = resp[topic][partition].Err
			}
			if err != nil && !errors.Is(err, kerr.ElectionNotNeeded) {
				return err
			}
			attempt, cancel = context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err = c.waitPartition(attempt, topic, partition, led)
			return err
		})
	})
	if err != nil {
		t.Fatalf("making node %d the leader of partition %d of %s: %v", to.id, partition, topic, err)
	}
}

// Truncation is what an unclean leader election did to a partition.
type Truncation struct {
	// OldEnd is the end of the log before, and End where it was cut: what was
	// acknowledged at offsets from End up to and without OldEnd is gone.
	End, OldEnd int64
	// OldEpoch is the leader epoch before, and Epoch the one after it.
	OldEpoch, Epoch int32
}

// Truncate loses records that were acknowledged, by an unclean leader election.
// The topic has two replicas and min.insync.replicas 1. The follower is paused
// until it is not in sync any more, then write is called, and what it writes
// and sees acknowledged exists on the leader only. The leader is killed, the
// follower made leader as it is, and the old one restarted, which makes it cut
// its log. Both are in sync when Truncate returns.
//
// Consumers may read what is lost before write returns. The cluster needs a
// third node, and for a moment two of them are away.
func (c *Cluster) Truncate(t testing.TB, topic string, partition int32, write func()) Truncation {
	t.Helper()
	before := c.WaitPartition(t, topic, partition, "be in sync", func(p Partition) bool {
		return p.Leader >= 0 && len(p.InSync) == len(p.Replicas)
	})
	if len(before.Replicas) != 2 {
		t.Fatalf("truncating %s: it has replicas on nodes %v, two are wanted", topic, before.Replicas)
	}
	leader := c.Node(t, before.Leader)
	follower := c.Node(t, before.Replicas[0]+before.Replicas[1]-before.Leader)
	end := leader.End(t, topic, partition)

	follower.Pause(t)
	alone := c.WaitPartition(t, topic, partition, "have its leader alone in sync", func(p Partition) bool {
		return p.Leader == leader.id && slices.Equal(p.InSync, []int{leader.id})
	})
	write()
	cut := Truncation{End: end, OldEnd: leader.End(t, topic, partition), OldEpoch: alone.Epoch}
	if cut.OldEnd <= cut.End {
		t.Fatalf("truncating %s: nothing was written after offset %d", topic, cut.End)
	}
	leader.Kill()
	follower.Resume(t)
	c.elect(t, topic, partition, follower, kadm.ElectLiveReplica)
	leader.Restart(t)
	after := c.WaitPartition(t, topic, partition, "be in sync again", func(p Partition) bool { return len(p.InSync) == 2 })
	cut.Epoch = after.Epoch
	return cut
}

// End is the offset after the last record or marker of a partition that
// consumers may read.
func (b *Broker) End(t testing.TB, topic string, partition int32) int64 {
	t.Helper()
	var end int64
	b.do(t, "looking up the end of "+topic, func(ctx context.Context) error {
		_, ends, err := b.offsets(ctx, topic)
		o, ok := ends.Lookup(topic, partition)
		if err == nil && !ok {
			err = fmt.Errorf("there is no partition %d", partition)
		}
		end = o.Offset
		return err
	})
	return end
}

// ProduceLeader is [Broker.ProduceTo] acknowledged by the leader alone
// (acks=1), as for records that are to be lost.
func (b *Broker) ProduceLeader(t testing.TB, topic string, partition int32, records ...*kgo.Record) {
	t.Helper()
	b.do(t, "producing to "+topic, func(ctx context.Context) error {
		for _, r := range records {
			r.Partition = partition
		}
		return b.produceWith(ctx, topic, records, kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	})
}
