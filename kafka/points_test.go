package kafka

import (
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

func TestOffsets(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(2, "a"))
	offsetsOfPoints(t, newCluster(t, f), func(opts ...kgo.Opt) *kgo.Client { return kclient(t, f, opts...) })
}

// TestOffsetsAreFresh has many look up the end of a topic at once, each after it has
// written there: what others have asked for before is not good enough.
func TestOffsetsAreFresh(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(2), kfake.SeedTopics(4, "a"))
	src := newCluster(t, f).Source(false)
	cl := kclient(t, f, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for range 50 {
				r := &kgo.Record{Topic: "a", Partition: int32(i % 4), Value: []byte("x")}
				if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Error(err)
					return
				}
				ends, err := src.Offsets(t.Context(), "a", record.PointLatest)
				if err != nil || ends[r.Partition] <= r.Offset {
					t.Errorf("after a record at %d, partition %d ends at %d: %v", r.Offset, r.Partition, ends[r.Partition], err)
					return
				}
				ends[r.Partition] = 0 // its own
			}
		})
	}
	wg.Wait()
}

// offsetsOfPoints looks up offsets of topic "a", which is empty and has two
// partitions.
func offsetsOfPoints(t *testing.T, c *Cluster, client func(...kgo.Opt) *kgo.Client) {
	t.Helper()
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	second := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Second) }
	write := func(cl *kgo.Client, partition int32, at time.Time) {
		t.Helper()
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "a", Partition: partition, Timestamp: at, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	cl, txn := client(), client(kgo.TransactionalID("points"))
	for i := range 10 {
		write(cl, 0, second(i))
	}
	write(cl, 1, second(5))
	if err := txn.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	write(txn, 0, second(20))
	write(cl, 0, second(30))
	committed, all := c.Source(true), c.Source(false)
	for _, x := range []struct {
		name string
		src  record.Source
		at   record.Point
		want map[int32]int64
	}{
		{"earliest", committed, record.PointEarliest, map[int32]int64{0: 0, 1: 0}},
		{"the end of what is committed", committed, record.PointLatest, map[int32]int64{0: 10, 1: 1}},
		{"the end", all, record.PointLatest, map[int32]int64{0: 12, 1: 1}},
		{"a time", committed, record.PointAt(second(5)), map[int32]int64{0: 5, 1: 0}},
		{"between", committed, record.PointAt(second(5).Add(time.Nanosecond)), map[int32]int64{0: 6, 1: 1}},
		{"before all", committed, record.PointAt(time.Time{}), map[int32]int64{0: 0, 1: 0}},
		{"what is not committed", committed, record.PointAt(second(20)), map[int32]int64{0: 10, 1: 1}},
		{"of all", all, record.PointAt(second(20)), map[int32]int64{0: 10, 1: 1}},
		{"behind it", committed, record.PointAt(second(30)), map[int32]int64{0: 10, 1: 1}},
		{"behind it, of all", all, record.PointAt(second(30)), map[int32]int64{0: 11, 1: 1}},
		{"the future", all, record.PointAt(time.Now().Add(time.Hour)), map[int32]int64{0: 12, 1: 1}},
	} {
		if got, err := x.src.Offsets(t.Context(), "a", x.at); err != nil || !maps.Equal(got, x.want) {
			t.Errorf("%s: %v, %v, want %v", x.name, got, err, x.want)
		}
	}
	if err := txn.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if _, err := committed.Offsets(t.Context(), "none", record.PointAt(begin)); !errors.Is(err, record.ErrUnknownTopic) {
		t.Error(err)
	}
}

func TestRealKafkaOffsets(t *testing.T) {
	b := kafkatest.Start(t, kafkatest.Property("transaction.state.log.replication.factor", "1"), kafkatest.Property("transaction.state.log.min.isr", "1"))
	b.CreateTopic(t, "a", 2, nil)
	c := realCluster(t, b)
	offsetsOfPoints(t, c, func(opts ...kgo.Opt) *kgo.Client { return realClient(t, b, opts...) })
	b.DeleteRecords(t, "a", 0, 4)
	got, err := c.Source(true).Offsets(t.Context(), "a", record.PointEarliest)
	if want := map[int32]int64{0: 4, 1: 0}; err != nil || !maps.Equal(got, want) {
		t.Error(got, err)
	}
	d, err := c.Source(true).Describe(t.Context(), "a", 0)
	if err != nil || d.ID.IsZero() || len(d.Epochs) != 2 || d.Epochs[0] != 0 {
		t.Error(d, err)
	}
}

func TestDescribe(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(2), kfake.SeedTopics(2, "a"))
	src := newCluster(t, f).Source(true)
	describe := func(maxAge time.Duration) record.Topic {
		t.Helper()
		d, err := src.Describe(t.Context(), "a", maxAge)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := describe(0)
	if first.ID.IsZero() || len(first.Epochs) != 2 {
		t.Fatal(first)
	}
	f.ShufflePartitionLeaders()
	if d := describe(time.Hour); !maps.Equal(d.Epochs, first.Epochs) {
		t.Errorf("asked again: %v", d)
	}
	if d := describe(0); d.ID != first.ID || d.Epochs[0] != first.Epochs[0]+1 {
		t.Errorf("%v, first %v", d, first)
	}
	if _, err := src.Describe(t.Context(), "none", 0); !errors.Is(err, record.ErrUnknownTopic) {
		t.Error(err)
	}
}
