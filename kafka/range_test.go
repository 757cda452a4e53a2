package kafka

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// fetchRange reads a partition from an offset to another, piece by piece.
func fetchRange(t *testing.T, src record.Source, topic string, partition int32, from, to int64) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var values []string
	for from < to {
		b, err := src.Fetch(ctx, topic, partition, from)
		if err != nil {
			t.Fatal(err)
		}
		if b.Next < from {
			t.Fatalf("asked for %d, next is %d", from, b.Next)
		}
		for _, r := range b.Records {
			if r.Offset < from {
				t.Fatalf("asked for %d, got %d", from, r.Offset)
			}
			from = r.Offset + 1
			values = append(values, string(r.Value))
		}
		from = b.Next
	}
	return values
}

func TestFetchReadsPieces(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	cl := kclient(t, f)
	values := append(numbered("v", 0, 500), strings.Repeat("x", 900_000))
	put(t, cl, "a", 1, values...)
	src := newCluster(t, f).Source(true)
	if got := fetchRange(t, src, "a", 1, 0, 501); !slices.Equal(got, values) {
		t.Errorf("%d records", len(got))
	}
	if got := fetchRange(t, src, "a", 1, 498, 501); !slices.Equal(got, values[498:]) {
		t.Errorf("%d records from the middle of a batch", len(got))
	}
	b, err := src.Fetch(t.Context(), "a", 0, 0)
	if err != nil || len(b.Records) != 0 || b.Next != 0 {
		t.Errorf("an empty partition: %v, %v", b, err)
	}
	if _, err := src.Fetch(t.Context(), "a", 1, 1000); !errors.Is(err, record.ErrOffsetGone) {
		t.Errorf("behind the end: %v", err)
	}
	if _, err := src.Fetch(t.Context(), "none", 0, 0); !errors.Is(err, record.ErrUnknownTopic) {
		t.Errorf("unknown topic: %v", err)
	}
}

func TestEarliest(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	cl := kclient(t, f)
	put(t, cl, "a", 1, numbered("v", 0, 10)...)
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = "a"
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = 1, 4
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	if _, err := req.RequestWith(t.Context(), cl); err != nil {
		t.Fatal(err)
	}
	src := newCluster(t, f).Source(true)
	first, err := src.Earliest(t.Context(), "a")
	if err != nil || len(first) != 2 || first[0] != 0 || first[1] != 4 {
		t.Errorf("%v, %v", first, err)
	}
	if _, err := src.Fetch(t.Context(), "a", 1, 2); !errors.Is(err, record.ErrOffsetGone) {
		t.Errorf("a deleted record: %v", err)
	}
	if _, err := src.Earliest(t.Context(), "none"); !errors.Is(err, record.ErrUnknownTopic) {
		t.Errorf("unknown topic: %v", err)
	}
}

func TestFetchSkipsAbortedTransactions(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	cl := kclient(t, f, kgo.TransactionalID("tx"))
	for i, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		put(t, cl, "a", 0, string(rune('0'+i)))
		if err := cl.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	c := newCluster(t, f)
	// Each transaction is a record and a marker.
	if got := fetchRange(t, c.Source(true), "a", 0, 0, 6); !slices.Equal(got, []string{"1"}) {
		t.Errorf("committed: %v", got)
	}
	if got := fetchRange(t, c.Source(false), "a", 0, 0, 6); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("uncommitted: %v", got)
	}
}

func TestFetchSurvivesFaults(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	put(t, kclient(t, f), "a", 0, "1")
	src := newCluster(t, f).Source(true)
	for _, err := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.UnknownServerError} {
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: err, Count: 2})
		if got := fetchRange(t, src, "a", 0, 0, 1); !slices.Equal(got, []string{"1"}) {
			t.Errorf("%v: %v", err, got)
		}
	}
	f.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("connection cut"), true
	})
	if got := fetchRange(t, src, "a", 0, 0, 1); !slices.Equal(got, []string{"1"}) {
		t.Errorf("after a cut: %v", got)
	}
	f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := src.Fetch(ctx, "a", 0, 0); !errors.Is(err, record.ErrUnavailable) {
		t.Errorf("without a broker: %v", err)
	}
}
