package kafka

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

func TestVerify(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "a"))
	cl := kclient(t, f)
	src := newCluster(t, f).Source(true)
	for i := range 3 { // epochs 0, 1 and 2
		for range 5 {
			put(t, cl, "a", 0, "x", "y")
		}
		if i < 2 {
			f.ShufflePartitionLeaders()
		}
	}
	check := func(offset int64, epoch int32, want int64) {
		t.Helper()
		if got, err := src.Verify(t.Context(), "a", 0, offset, epoch); err != nil || got != want {
			t.Errorf("%d under epoch %d goes on at %d, not %d (%v)", offset, epoch, got, want, err)
		}
	}
	check(0, 0, 0)
	check(10, 0, 10)
	check(15, 1, 15)
	check(30, 2, 30)
	check(15, -1, 15)
	check(15, 0, 10) // others were written from there on
	check(29, 0, 10)
	check(29, 1, 20)
	check(29, 7, 20) // what there was of epoch 7 is gone
	check(40, 2, 30) // the log was cut
	check(40, 1, 20)
	if err := f.DeleteRecords("a", 0, 13); err != nil {
		t.Fatal(err)
	}
	check(12, 1, 12) // it has gone, which tells nothing
	check(15, 0, 13)
	if _, err := src.Verify(t.Context(), "a", 3, 5, 0); !errors.Is(err, record.ErrOffsetGone) {
		t.Error(err)
	}
	if b, err := src.Fetch(t.Context(), "a", 0, 13); err != nil || b.Epoch < 1 {
		t.Error(b.Epoch, err)
	}
}

// A broker that was cut off from the others still leads by its own account. That
// its log ends before a client's position is not believed.
func TestVerifyAsksACurrentLeader(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	cl := kclient(t, f)
	for range 10 {
		put(t, cl, "a", 0, "x")
	}
	before := metadataOf(t, f, "a")
	f.ShufflePartitionLeaders()
	for range 10 {
		put(t, cl, "a", 0, "y")
	}
	var asked atomic.Int32
	old := func() bool { return asked.Load() < 4 }
	told(f, before, func() bool { asked.Add(1); return old() })
	f.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if !old() {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		rt, rp := kmsg.NewListOffsetsResponseTopic(), kmsg.NewListOffsetsResponseTopicPartition()
		if r.(*kmsg.ListOffsetsRequest).Topics[0].Partitions[0].Timestamp == -1 {
			rp.Offset = 10
		} else {
			rp.Offset = 0
		}
		rp.LeaderEpoch = 0
		rt.Topic, rt.Partitions = "a", append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	var cut atomic.Bool
	f.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if !old() {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.FetchResponse)
		rt, rp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		rp.HighWatermark, rp.LastStableOffset = 10, 10
		if at := r.(*kmsg.FetchRequest).Topics[0].Partitions[0].FetchOffset; at < 10 {
			rp.RecordBatches = rawBatch(at, 0, 1, kmsg.Record{Length: 7, Value: []byte("x")})
		} else {
			rp.ErrorCode = kerr.OffsetOutOfRange.Code
			cut.Store(true)
		}
		rt.Topic, rt.Partitions = "a", append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	if at, err := newCluster(t, f).Source(true).Verify(t.Context(), "a", 0, 20, 1); err != nil || at != 20 {
		t.Errorf("goes on at %d: %v", at, err)
	}
	if !cut.Load() {
		t.Error("the old leader was not asked")
	}
}

// An unclean leader election while a topic is read: what was delivered and is
// gone is told, and what is in its place is delivered.
func TestRealKafkaTruncates(t *testing.T) {
	nodes := kafkatest.StartCluster(t, 3)
	const topic = "a"
	nodes.CreateTopic(t, topic, 1, 2, map[string]string{"min.insync.replicas": "1", "unclean.leader.election.enable": "false"})
	start := func(adjust func(*timings)) (*Cluster, *sink) {
		t.Helper()
		c, err := New(Config{Brokers: nodes.Addrs()})
		if err != nil {
			t.Fatal(err)
		}
		adjust(&c.timings)
		t.Cleanup(c.Close)
		s := read(t, c, topic, true)
		s.started()
		return c, s
	}
	// One notices at once, the other when the log has grown past its place.
	c, prompt := start(quick)
	lateCluster, late := start(func(tm *timings) { tm.refresh = time.Hour })
	both := []*sink{prompt, late}
	write := func(prefix string, n int) {
		t.Helper()
		var rs []*kgo.Record
		for i := range n {
			rs = append(rs, &kgo.Record{Value: fmt.Append(nil, prefix, i)})
		}
		nodes.Leader(t, topic, 0).ProduceLeader(t, topic, 0, rs...)
	}
	write("kept", 20)
	for _, s := range both {
		s.wants(0, numbered("kept", 0, 20)...) // both replicas have them
	}
	cut := nodes.Truncate(t, topic, 0, func() {
		write("cut", 30)
		for _, s := range both {
			s.wants(0, append(numbered("kept", 0, 20), numbered("cut", 0, 30)...)...)
		}
		late.setFull(true)
		resting(t, lateCluster)
	})
	write("new", 50)
	late.setFull(false)
	want := append(append(numbered("kept", 0, 20), numbered("cut", 0, 30)...), numbered("new", 0, 50)...)
	for i, s := range both {
		s.wants(0, want...)
		loss := []record.Loss{{From: cut.OldEnd, Next: cut.End, Reason: record.LossTruncated}}
		if !slices.Equal(s.lost, loss) {
			t.Errorf("reader %d lost %+v, not %+v", i, s.lost, loss)
		}
		if s.epochs[0] != cut.Epoch {
			t.Errorf("reader %d is told epoch %d, not %d", i, s.epochs[0], cut.Epoch)
		}
	}
	for _, x := range []struct {
		offset int64
		epoch  int32
		want   int64
	}{{cut.OldEnd, cut.OldEpoch, cut.End}, {cut.End, cut.OldEpoch, cut.End}, {cut.OldEnd, cut.Epoch, cut.OldEnd}} {
		if got, err := c.Source(true).Verify(t.Context(), topic, 0, x.offset, x.epoch); err != nil || got != x.want {
			t.Errorf("%+v: %d, %v", x, got, err)
		}
	}
}

// resting waits until no fetch is under way.
func resting(t *testing.T, c *Cluster) {
	t.Helper()
	src := c.source(true)
	for end := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		src.mu.Lock()
		polling := slices.ContainsFunc(slices.Collect(maps.Values(src.loops)), func(l *loop) bool { return l.polling })
		src.mu.Unlock()
		if !polling {
			return
		}
		if time.Now().After(end) {
			t.Fatal("fetches go on")
		}
	}
}

// A broker whose records have an earlier epoch than those that were read has
// another log. They are not taken before it is known where the logs part.
func TestEpochsOnlyGrow(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	cl := kclient(t, f)
	f.ShufflePartitionLeaders() // epoch 1
	s := read(t, newCluster(t, f), "a", true)
	s.started()
	put(t, cl, "a", 0, "0", "1", "2")
	s.wants(0, "0", "1", "2")
	answered := make(chan struct{})
	f.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		defer close(answered)
		resp := r.ResponseKind().(*kmsg.FetchResponse)
		rt, rp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		rp.HighWatermark, rp.LastStableOffset = 4, 4
		rp.RecordBatches = rawBatch(3, 0, 1, kmsg.Record{Length: 7, Value: []byte("x")}) // of epoch 0
		rt.Topic, rt.Partitions = "a", append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	<-answered
	put(t, cl, "a", 0, "3")
	s.wants(0, "0", "1", "2", "3")
	if len(s.lost) > 0 {
		t.Errorf("lost %v", s.lost)
	}
}
