package kafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

func TestReadsFromTheEnd(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(3, "a"))
	cl := kclient(t, f)
	put(t, cl, "a", 0, "old", "older")
	s := read(t, newCluster(t, f), "a", true)
	s.started()
	if got := s.starts[0]; len(got) != 3 || got[0] != 2 || got[1] != 0 || got[2] != 0 {
		t.Fatalf("started at %v", got)
	}
	for p := range int32(3) {
		put(t, cl, "a", p, numbered("v", 0, 10)...)
	}
	for p := range int32(3) {
		s.wants(p, numbered("v", 0, 10)...)
	}
}

func TestReadsSeveralTopicsAndReadings(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a", "b"))
	cl := kclient(t, f)
	c := newCluster(t, f)
	a, b, again := read(t, c, "a", true), read(t, c, "b", true), read(t, c, "a", true)
	a.started()
	b.started()
	again.started()
	put(t, cl, "a", 0, "1")
	put(t, cl, "b", 0, "2")
	a.wants(0, "1")
	again.wants(0, "1")
	b.wants(0, "2")
	late := read(t, c, "a", true)
	late.started()
	put(t, cl, "a", 0, "3")
	a.wants(0, "1", "3")
	again.wants(0, "1", "3")
	late.wants(0, "3")
	again.stop()
	put(t, cl, "a", 0, "4")
	a.wants(0, "1", "3", "4")
	late.wants(0, "3", "4")
}

// Two readings of one partition, far apart.
func TestReadingsFarApart(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	cl := kclient(t, f)
	c := newCluster(t, f)
	slow, fast := read(t, c, "a", true), read(t, c, "a", true)
	slow.started()
	fast.started()
	slow.setFull(true)
	var want []string
	for i := range 12 {
		v := fmt.Sprint(i, strings.Repeat("x", 800_000)) // 10 responses' worth
		want = append(want, v)
		put(t, cl, "a", 0, v)
	}
	fast.wants(0, want...)
	slow.setFull(false)
	want = append(want, "end")
	put(t, cl, "a", 0, "end")
	fast.wants(0, want...)
	slow.wants(0, want...)
}

func TestWaitsForATopic(t *testing.T) {
	f := newFake(t)
	cl := kclient(t, f)
	c := newCluster(t, f, quick)
	s := read(t, c, "later", true)
	if err := c.Source(true).Exists(t.Context(), "later"); err == nil {
		t.Fatal("it exists")
	}
	s.until("the topic's absence", func() bool { return s.missing })
	illegal := read(t, c, "a/b", true)
	illegal.until("the topic's absence", func() bool { return illegal.missing })
	if err := f.CreateTopic("later", 2, nil); err != nil {
		t.Fatal(err)
	}
	put(t, cl, "later", 1, "first")
	s.wants(1, "first")
	if got := s.starts[0]; len(got) != 2 || got[0] != 0 || got[1] != 0 {
		t.Fatalf("started at %v", got)
	}
}

func TestFindsNewPartitions(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	s := read(t, newCluster(t, f, quick), "a", true)
	s.started()
	grow(t, f, "a", 3)
	s.until("the new partitions", func() bool { return len(s.starts) == 2 })
	if got := s.starts[1]; len(got) != 2 || got[1] != 0 || got[2] != 0 {
		t.Fatalf("started at %v", got)
	}
	put(t, kclient(t, f), "a", 2, "x")
	s.wants(2, "x")
}

func TestFollowsTheLeaders(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(4, "a"))
	cl := kclient(t, f)
	s := read(t, newCluster(t, f), "a", true)
	s.started()
	for round := range 5 {
		f.ShufflePartitionLeaders()
		for p := range int32(4) {
			put(t, cl, "a", p, numbered("v", round*3, round*3+3)...)
		}
		for p := range int32(4) {
			s.wants(p, numbered("v", 0, round*3+3)...)
		}
	}
}

func TestSurvivesLostConnections(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(2), kfake.SeedTopics(2, "a"))
	cl := kclient(t, f)
	s := read(t, newCluster(t, f), "a", true)
	s.started()
	for round := range 3 {
		dropped := make(chan struct{})
		f.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			close(dropped)
			return nil, kerr.UnknownServerError, true
		})
		<-dropped
		for p := range int32(2) {
			put(t, cl, "a", p, numbered("v", round, round+1)...)
			s.wants(p, numbered("v", 0, round+1)...)
		}
	}
}

func TestSurvivesFaults(t *testing.T) {
	for _, e := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.ReplicaNotAvailable, kerr.FencedLeaderEpoch,
		kerr.UnknownLeaderEpoch, kerr.KafkaStorageError, kerr.UnknownServerError, kerr.OffsetNotAvailable,
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.CorruptMessage, kerr.TopicAuthorizationFailed, kerr.OffsetOutOfRange,
	} {
		t.Run(e.Message, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a"))
			cl := kclient(t, f)
			s := read(t, newCluster(t, f, quick), "a", true)
			s.started()
			h := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: e, Count: 3})
			if err := h.Wait(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			put(t, cl, "a", 0, "after")
			s.wants(0, "after")
			if len(s.lost) > 0 {
				t.Fatalf("lost %v", s.lost)
			}
		})
	}
	t.Run("start", func(t *testing.T) {
		f := newFake(t, kfake.SeedTopics(1, "a"))
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Count: 2},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "a", Err: kerr.LeaderNotAvailable, Count: 2})
		put(t, kclient(t, f), "a", 0, "old")
		s := read(t, newCluster(t, f, quick), "a", true)
		s.started()
		if s.starts[0][0] != 1 {
			t.Fatalf("started at %v", s.starts)
		}
	})
}

func TestRecordsDeleted(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a", "b"))
	cl := kclient(t, f)
	c := newCluster(t, f)
	s, other := read(t, c, "a", true), read(t, c, "b", true)
	s.started()
	other.started()
	put(t, cl, "a", 0, "seen")
	s.wants(0, "seen")
	s.mu.Lock()
	s.full = true
	s.mu.Unlock()
	put(t, cl, "a", 0, numbered("v", 1, 10)...)
	// A full sink may still get what a fetch under way returns.
	put(t, cl, "b", 0, "x")
	other.wants(0, "x")
	put(t, cl, "b", 0, "y")
	other.wants(0, "x", "y")
	s.mu.Lock()
	next := s.next[0]
	s.mu.Unlock()
	put(t, cl, "a", 0, numbered("v", 10, 20)...)
	if err := f.DeleteRecords("a", 0, 15); err != nil {
		t.Fatal(err)
	}
	s.setFull(false)
	s.until("the loss", func() bool { return len(s.lost) == 1 })
	if s.lost[0] != (record.Loss{From: next, Next: 15, Reason: record.LossExpired}) {
		t.Fatalf("lost %v, next was %d", s.lost, next)
	}
	s.until("the rest", func() bool { return s.next[0] == 20 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.values(0); v[len(v)-5] != "v15" || v[len(v)-1] != "v19" {
		t.Fatal(v)
	}
}

func TestTopicMadeAgain(t *testing.T) {
	for _, n := range []int{1, 10, 30} { // a shorter log, one as long, a longer one
		f := newFake(t, kfake.SeedTopics(1, "a"))
		cl := kclient(t, f)
		s := read(t, newCluster(t, f, quick), "a", true)
		s.started()
		put(t, cl, "a", 0, numbered("old", 0, 10)...)
		s.wants(0, numbered("old", 0, 10)...)
		old := s.id
		if err := f.DeleteTopic("a"); err != nil {
			t.Fatal(err)
		}
		if err := f.CreateTopic("a", 1, nil); err != nil {
			t.Fatal(err)
		}
		put(t, kclient(t, f), "a", 0, numbered("new", 0, n)...)
		s.wants(0, append(numbered("old", 0, 10), numbered("new", 0, n)...)...)
		if len(s.lost) != 1 || s.lost[0] != (record.Loss{From: 10, Reason: record.LossRecreated}) {
			t.Fatalf("lost %v", s.lost)
		}
		if s.id == old || s.id.IsZero() {
			t.Fatalf("the new topic has id %v, the old one %v", s.id, old)
		}
	}
}

func TestAFullSinkStopsNobodyElse(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a", "b"))
	cl := kclient(t, f)
	c := newCluster(t, f)
	a, b := read(t, c, "a", true), read(t, c, "b", true)
	a.started()
	b.started()
	a.setFull(true)
	put(t, cl, "b", 0, "0")
	b.wants(0, "0") // whatever fetch held "a" is over after this and the next
	put(t, cl, "b", 0, "1")
	b.wants(0, "0", "1")
	put(t, cl, "a", 0, numbered("v", 0, 100)...)
	put(t, cl, "b", 0, "2")
	b.wants(0, "0", "1", "2")
	a.setFull(false)
	a.wants(0, numbered("v", 0, 100)...)
}

func TestCompressionsAndBigRecords(t *testing.T) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a"))
			cl := kclient(t, f, kgo.ProducerBatchCompression(codec))
			s := read(t, newCluster(t, f), "a", true)
			s.started()
			values := []string{strings.Repeat("compressible ", 1000), "small", strings.Repeat("y", 100_000)}
			put(t, cl, "a", 0, values...)
			s.wants(0, values...)
		})
	}
	t.Run("big", func(t *testing.T) {
		f := newFake(t, kfake.SeedTopics(3, "a"), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "20000000"}))
		cl := kclient(t, f, kgo.ProducerBatchMaxBytes(10<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
		s := read(t, newCluster(t, f), "a", true)
		s.started()
		big := strings.Repeat("x", 5<<20)
		for p := range int32(3) {
			put(t, cl, "a", p, big, "after")
		}
		for p := range int32(3) {
			s.wants(p, big, "after")
		}
	})
}

func TestRequestsDoNotGrowWithReaders(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(4, "a"))
	c := newCluster(t, f)
	first := read(t, c, "a", true)
	first.started()
	k := count(f)
	var all []*sink
	for range 50 {
		all = append(all, read(t, c, "a", true))
	}
	for _, s := range all {
		s.started()
	}
	if n := k.of(kmsg.Metadata); n > 3 {
		t.Errorf("%d metadata requests", n)
	}
	if n := k.of(kmsg.ListOffsets); n > 50 {
		t.Errorf("%d requests for offsets", n)
	}
	before := k.of(kmsg.Fetch)
	put(t, kclient(t, f), "a", 0, "x")
	for _, s := range all {
		s.wants(0, "x")
	}
	if n := k.of(kmsg.Fetch) - before; n > 40 {
		t.Errorf("%d fetches", n)
	}
}

func BenchmarkFetch(b *testing.B) {
	f, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "a"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	c, err := New(Config{Brokers: f.ListenAddrs()})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	s := &countingSink{began: make(chan struct{}), over: make(chan struct{}), want: int64(b.N)}
	r := c.Source(true).Read("a", s)
	defer r.Stop()
	<-s.began
	b.ReportAllocs()
	value := make([]byte, 200)
	for range b.N {
		cl.Produce(b.Context(), &kgo.Record{Topic: "a", Value: value}, nil)
	}
	<-s.over
}

type countingSink struct {
	n, want     int64
	began, over chan struct{}
}

func (s *countingSink) Started(record.Started) { close(s.began) }
func (s *countingSink) Missing()               {}

func (s *countingSink) Ready() bool { return true }
func (s *countingSink) Lost(record.Loss) {
}

func (s *countingSink) Deliver(b record.Batch) {
	if s.n += int64(len(b.Records)); s.n == s.want {
		close(s.over)
	}
}
