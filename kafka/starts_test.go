package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

// impatient has partitions without a leader not waited for.
func impatient(tm *timings) {
	quick(tm)
	tm.grace = time.Millisecond
}

// Whoever is told of the start gets all that is written afterwards, of a
// partition too whose leader is slow to tell its end.
func TestAStartWaitsForSlowLeaders(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	cl := kclient(t, f)
	h := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "a", Partitions: []int32{1}, Err: kerr.NotLeaderForPartition, Count: -1})
	s := read(t, newCluster(t, f, impatient), "a", true)
	if err := h.Wait(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	started := len(s.starts) > 0
	s.mu.Unlock()
	if !started {
		h.Remove()
		s.started()
	}
	put(t, cl, "a", 1, "first")
	h.Remove()
	s.wants(1, "first")
}

// A partition without a leader keeps nobody from the others, and what is written
// to it when it has one again is not missed.
func TestAStartDoesNotWaitForALeader(t *testing.T) {
	for _, epochs := range []bool{true, false} {
		t.Run(fmt.Sprint("epochs ", epochs), func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(2, "a"))
			cl := kclient(t, f)
			for i := range 20 {
				old := &kgo.Record{Topic: "a", Partition: 1, Value: fmt.Append(nil, "old", i), Timestamp: time.Now().Add(-time.Hour)}
				if err := cl.ProduceSync(t.Context(), old).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			c := newCluster(t, f, impatient)
			back := leaderless(t, f, "a", 1, epochs)
			s := read(t, c, "a", true)
			s.started()
			if _, told := s.starts[0][1]; told || len(s.starts[0]) != 1 {
				t.Fatalf("started at %v", s.starts)
			}
			put(t, cl, "a", 0, "other")
			s.wants(0, "other")
			f.ShufflePartitionLeaders() // another epoch begins
			put(t, cl, "a", 1, "first", "second")
			back()
			s.wants(1, "first", "second")
			if s.starts[1][1] != 20 {
				t.Errorf("started at %v", s.starts)
			}
		})
	}
}

// leaderless has our metadata say that a partition has no leader, until back is
// called.
func leaderless(t *testing.T, f *kfake.Cluster, topic string, partition int32, epochs bool) (back func()) {
	t.Helper()
	resp := metadataOf(t, f, topic)
	for i := range resp.Topics[0].Partitions {
		if p := &resp.Topics[0].Partitions[i]; p.Partition == partition {
			p.Leader, p.ErrorCode = -1, kerr.LeaderNotAvailable.Code
			if !epochs {
				p.LeaderEpoch = -1
			}
		}
	}
	over := make(chan struct{})
	told(f, resp, func() bool {
		select {
		case <-over:
			return false
		default:
			return true
		}
	})
	return func() { close(over) }
}

// metadataOf returns what the brokers tell of a topic.
func metadataOf(t *testing.T, f *kfake.Cluster, topic string) *kmsg.MetadataResponse {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(t.Context(), kclient(t, f))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// told has our metadata be this, for as long as more returns true, which is asked
// at each request.
func told(f *kfake.Cluster, resp *kmsg.MetadataResponse, more func() bool) {
	f.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if r.GetVersion() > 11 { // the other client
			f.KeepControl()
			return nil, nil, false
		}
		if !more() {
			return nil, nil, false
		}
		f.KeepControl()
		mine := *resp
		mine.SetVersion(r.GetVersion())
		return &mine, nil, true
	})
}

// The same with real brokers, one of which is away.
func TestRealKafkaStartsWithoutALeader(t *testing.T) {
	nodes := kafkatest.StartCluster(t, 3)
	const topic = "a"
	nodes.CreateTopic(t, topic, 3, 1, nil)
	away := nodes.Leader(t, topic, 1)
	for p := range int32(3) {
		nodes.Leader(t, topic, p).ProduceLeader(t, topic, p, &kgo.Record{Value: []byte("old")})
	}
	away.Kill()
	nodes.WaitPartition(t, topic, 1, "have no leader", func(p kafkatest.Partition) bool { return p.Leader < 0 })
	c, err := New(Config{Brokers: nodes.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	// It is not asked for by itself, so that there are records before it is read.
	c.timings.missing = time.Hour
	s := read(t, c, topic, true)
	s.started()
	if _, told := s.starts[0][1]; told || s.id == (record.TopicID{}) {
		t.Fatalf("started at %v of %v", s.starts, s.id)
	}
	away.Restart(t)
	nodes.Leader(t, topic, 1).ProduceLeader(t, topic, 1, &kgo.Record{Value: []byte("first"), Timestamp: time.Now().Add(-time.Hour)})
	c.meta.refresh(topic, 0)
	s.wants(1, "first")
}
