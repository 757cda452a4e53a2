package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// fetchAll reads a partition from an offset to an end.
func fetchAll(t *testing.T, s record.Source, topic string, partition int32, offset, end int64) []string {
	t.Helper()
	var all []string
	for offset < end {
		b, err := s.Fetch(t.Context(), topic, partition, offset)
		if err != nil {
			t.Fatal(err)
		}
		if b.Partition != partition || b.Next < offset {
			t.Fatalf("%+v at %d", b, offset)
		}
		for _, r := range b.Records {
			all = append(all, string(r.Value))
		}
		offset = b.Next
	}
	return all
}

func TestFetchesOnce(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(3, "a"))
	cl := kclient(t, f)
	src := newCluster(t, f).Source(true)
	for p := range int32(3) {
		put(t, cl, "a", p, numbered("v", 0, 100)...)
		put(t, cl, "a", p, numbered("v", 100, 200)...)
	}
	if err := f.DeleteRecords("a", 1, 50); err != nil {
		t.Fatal(err)
	}
	first, err := src.Offsets(t.Context(), "a", record.PointEarliest)
	if err != nil || len(first) != 3 || first[0] != 0 || first[1] != 50 {
		t.Fatal(first, err)
	}
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			from := int64(50 + i)
			if got := fetchAll(t, src, "a", int32(i%3), from, 200); !slices.Equal(got, numbered("v", int(from), 200)) {
				t.Errorf("from %d: %s", from, brief(got))
			}
		})
	}
	all.Wait()
	if b, err := src.Fetch(t.Context(), "a", 0, 200); err != nil || len(b.Records) != 0 || b.Next != 200 {
		t.Error(b, err)
	}
	for want, err := range map[error]error{
		record.ErrOffsetGone:   fetchErr(t, src, "a", 0, 201),
		record.ErrUnknownTopic: fetchErr(t, src, "b", 0, 0),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%v, not %v", err, want)
		}
	}
	if err := fetchErr(t, src, "a", 1, 49); !errors.Is(err, record.ErrOffsetGone) {
		t.Error(err)
	}
	if err := fetchErr(t, src, "a", 7, 0); !errors.Is(err, record.ErrOffsetGone) {
		t.Error(err)
	}
	if _, err := src.Offsets(t.Context(), "b", record.PointEarliest); !errors.Is(err, record.ErrUnknownTopic) {
		t.Error(err)
	}
}

func fetchErr(t *testing.T, s record.Source, topic string, partition int32, offset int64) error {
	t.Helper()
	_, err := s.Fetch(t.Context(), topic, partition, offset)
	return err
}

func TestFetchingOnceSurvivesFaults(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "a"))
	cl := kclient(t, f)
	src := newCluster(t, f).Source(true)
	put(t, cl, "a", 0, "x")
	for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.UnknownServerError, kerr.UnknownTopicOrPartition} {
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch, kmsg.ListOffsets}, Err: e, Count: 2})
		if got := fetchAll(t, src, "a", 0, 0, 1); len(got) != 1 {
			t.Fatal(got)
		}
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: e, Count: 2})
		if _, err := src.Offsets(t.Context(), "a", record.PointEarliest); err != nil {
			t.Fatal(err)
		}
		f.ShufflePartitionLeaders()
	}
	f.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("drop"), true })
	if got := fetchAll(t, src, "a", 0, 0, 1); len(got) != 1 {
		t.Fatal(got)
	}
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed})
	if err := fetchErr(t, src, "a", 0, 0); !errors.Is(err, record.ErrRefused) {
		t.Error(err)
	}
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := src.Fetch(ctx, "a", 0, 0); !errors.Is(err, record.ErrUnavailable) {
		t.Error(err)
	}
}

func TestFetchingOnceOfTransactionsAndBadBatches(t *testing.T) {
	limit := sarama.MaxDecompressedBatchSize
	t.Cleanup(func() { sarama.MaxDecompressedBatchSize = limit })
	sarama.MaxDecompressedBatchSize = 3 << 20
	f := newFake(t, kfake.SeedTopics(1, "a"), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "20000000"}))
	txn, cl := kclient(t, f, kgo.TransactionalID("one")), kclient(t, f, kgo.ProducerBatchMaxBytes(16<<20))
	inTransaction(t, txn, "a", kgo.TryAbort, "bad0")
	inTransaction(t, txn, "a", kgo.TryCommit, "good0")
	big := strings.Repeat("y", 2<<20)
	put(t, cl, "a", 0, big)
	put(t, cl, "a", 0, "bomb", strings.Repeat("x", 4<<20))
	put(t, cl, "a", 0, "end")
	inTransaction(t, txn, "a", kgo.TryAbort, "bad1")
	c := newCluster(t, f)
	end := f.PartitionInfo("a", 0).HighWatermark
	if got := fetchAll(t, c.Source(true), "a", 0, 0, end); !slices.Equal(got, []string{"good0", big, "end"}) {
		t.Errorf("%s", fmt.Sprintf("%.80q", got))
	}
	if got := fetchAll(t, c.Source(false), "a", 0, 0, end); !slices.Equal(got, []string{"bad0", "good0", big, "end", "bad1"}) {
		t.Errorf("%s", fmt.Sprintf("%.80q", got))
	}
}
