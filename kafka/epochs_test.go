package kafka

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap/zaptest"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

func epochsOf(rs []record.Record) []int32 {
	var all []int32
	for _, r := range rs {
		all = append(all, r.Epoch)
	}
	return all
}

// fetchedEpochs returns the epochs of a partition's records, read with single
// fetches.
func fetchedEpochs(t *testing.T, c *Cluster, topic string, end int64) []int32 {
	t.Helper()
	var all []int32
	for next := int64(0); next < end; {
		b, err := c.Source(true).Fetch(t.Context(), topic, 0, next)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, epochsOf(b.Records)...)
		next = b.Next
	}
	return all
}

// otherEpochs returns the same as another client has them.
func otherEpochs(t *testing.T, addrs []string, topic string, n int) []int32 {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []int32
	for len(all) < n {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records were read", len(all), n)
		}
		fetches.EachRecord(func(r *kgo.Record) { all = append(all, r.LeaderEpoch) })
	}
	return all
}

func TestRecordsHaveTheirBatchesEpochs(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(1, "a"))
	c := newCluster(t, f, quick)
	s := read(t, c, "a", true)
	s.started()
	for i := range 4 {
		put(t, kclient(t, f), "a", 0, numbered("v", 2*i, 2*i+2)...)
		s.wants(0, numbered("v", 0, 2*i+2)...)
		if err := f.MoveTopicPartition("a", 0, int32(i%3)); err != nil {
			t.Fatal(err)
		}
	}
	want := otherEpochs(t, f.ListenAddrs(), "a", 8)
	if want[0] == want[7] || want[0] < 0 {
		t.Fatalf("the epochs are %v", want)
	}
	s.mu.Lock()
	got := epochsOf(s.records[0])
	s.mu.Unlock()
	if !slices.Equal(got, want) {
		t.Errorf("a reading has %v, and another client %v", got, want)
	}
	if got := fetchedEpochs(t, c, "a", 8); !slices.Equal(got, want) {
		t.Errorf("single fetches have %v, and another client %v", got, want)
	}
}

func TestDecodedEpochs(t *testing.T) {
	epoch := func(n int32) func(*sarama.RecordBatch) {
		return func(b *sarama.RecordBatch) { b.PartitionLeaderEpoch = n }
	}
	old := &sarama.Records{MsgSet: &sarama.MessageSet{Messages: []*sarama.MessageBlock{{Offset: 5, Msg: &sarama.Message{Value: []byte("x")}}}}}
	for name, c := range map[string]struct {
		sets []*sarama.Records
		want []int32
		last int32
	}{
		"one after the other": {[]*sarama.Records{batchOf(0, 2, epoch(3)), batchOf(2, 1, epoch(4))}, []int32{3, 3, 4}, 4},
		"from the middle on":  {[]*sarama.Records{batchOf(-2, 3, epoch(3))}, []int32{3}, 3},
		"the last is hidden":  {[]*sarama.Records{batchOf(0, 1, epoch(3)), batchOf(1, 1, epoch(4), func(b *sarama.RecordBatch) { b.Control = true })}, []int32{3}, 4},
		"an old format":       {[]*sarama.Records{old}, []int32{record.NoEpoch}, record.NoEpoch},
	} {
		d := decodeBlock(&sarama.FetchResponseBlock{RecordsSet: c.sets}, "t", 0, 0, true)
		if got := epochsOf(d.batch.Records); !slices.Equal(got, c.want) || d.batch.Epoch != c.last {
			t.Errorf("%s: %v up to %d", name, got, d.batch.Epoch)
		}
	}
}

// Leaders that move, of a real cluster.
func TestRealKafkaEpochs(t *testing.T) {
	t.Parallel()
	nodes := kafkatest.StartCluster(t, 3)
	nodes.CreateTopic(t, "a", 1, 3, nil)
	c, err := New(Config{Brokers: nodes.Addrs(), Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	quick(&c.timings)
	t.Cleanup(c.Close)
	s := read(t, c, "a", true)
	s.started()
	p := newProducer(t, c, ProducerConfig{})
	var want []int32
	for i := range 3 {
		o := newOutcomes()
		publish(t, p, o, text("a", fmt.Sprint(i)))
		if out := o.wait(t, 1)[0]; out.Err != nil {
			t.Fatal(out.Err)
		}
		s.wants(0, numbered("", 0, i+1)...)
		now := nodes.Partition(t, "a", 0)
		want = append(want, now.Epoch)
		for _, b := range nodes.Nodes {
			if b.ID() != now.Leader {
				nodes.MoveLeader(t, "a", 0, b)
				break
			}
		}
	}
	if want[0] < 0 || want[1] <= want[0] || want[2] <= want[1] {
		t.Fatalf("the leaders' epochs were %v", want)
	}
	s.mu.Lock()
	got := epochsOf(s.records[0])
	s.mu.Unlock()
	if !slices.Equal(got, want) {
		t.Errorf("a reading has %v, and the leaders had %v", got, want)
	}
	if got := fetchedEpochs(t, c, "a", 3); !slices.Equal(got, want) {
		t.Errorf("single fetches have %v, and the leaders had %v", got, want)
	}
	if got := otherEpochs(t, nodes.Addrs(), "a", 3); !slices.Equal(got, want) {
		t.Errorf("another client has %v, and the leaders had %v", got, want)
	}
}
