package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/kafkaws/kafkaws/record"
)

// TestMain looks for leaks. The breaker of sarama's producer, which ours is
// compared with, sleeps out its ten seconds wherever it opened.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
}

// patience is how long a test waits for what should come; it never decides a
// test that passes.
const patience = 20 * time.Second

func newFake(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	f, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func newCluster(t *testing.T, f *kfake.Cluster, adjust ...func(*timings)) *Cluster {
	t.Helper()
	c, err := New(Config{Brokers: f.ListenAddrs(), Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range adjust {
		a(&c.timings)
	}
	t.Cleanup(c.Close)
	return c
}

// quick has metadata noticed soon.
func quick(tm *timings) {
	tm.refresh, tm.missing, tm.forbidden = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
}

// kclient is another client of the same brokers.
func kclient(t *testing.T, f *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(f.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// put writes values to a partition.
func put(t *testing.T, cl *kgo.Client, topic string, partition int32, values ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var rs []*kgo.Record
	for _, v := range values {
		rs = append(rs, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)})
	}
	if err := cl.ProduceSync(ctx, rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// grow gives a topic more partitions.
func grow(t *testing.T, f *kfake.Cluster, topic string, partitions int32) {
	t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = topic, partitions
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(t.Context(), kclient(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
}

func numbered(prefix string, from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%s%d", prefix, i))
	}
	return all
}

// sink keeps what it is told, and checks what always holds.
type sink struct {
	t       *testing.T
	reading record.Reading

	mu      sync.Mutex
	changed chan struct{} // closed and made again with every call
	starts  []map[int32]int64
	id      record.TopicID
	epochs  map[int32]int32 // of the last batch
	next    map[int32]int64
	records map[int32][]record.Record
	lost    []record.Loss
	full    bool
	over    bool
	missing bool
}

func newSink(t *testing.T) *sink {
	return &sink{t: t, changed: make(chan struct{}), next: map[int32]int64{}, epochs: map[int32]int32{}, records: map[int32][]record.Record{}}
}

func read(t *testing.T, c *Cluster, topic string, committed bool) *sink {
	t.Helper()
	s := newSink(t)
	s.reading = c.Source(committed).Read(topic, s)
	t.Cleanup(s.stop)
	return s
}

func (s *sink) stop() {
	s.reading.Stop()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
}

func (s *sink) note() {
	if s.over {
		s.t.Error("the sink was called after Stop")
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *sink) Missing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note()
	if s.missing || len(s.starts) > 0 {
		s.t.Error("Missing was called late or twice")
	}
	s.missing = true
}

func (s *sink) Started(st record.Started) {
	next := st.Next
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note()
	s.starts = append(s.starts, maps.Clone(next))
	s.id = st.TopicID
	for p, o := range next {
		if _, known := s.next[p]; known {
			s.t.Errorf("partition %d started twice", p)
		}
		s.next[p] = o
	}
}

func (s *sink) Deliver(b record.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note()
	next, known := s.next[b.Partition]
	if !known {
		s.t.Errorf("partition %d was delivered before it started", b.Partition)
	}
	for i := range b.Records {
		r := &b.Records[i]
		if r.Offset < next || r.Partition != b.Partition {
			s.t.Errorf("partition %d: offset %d of partition %d came when %d was next", b.Partition, r.Offset, r.Partition, next)
		}
		next = r.Offset + 1
		if before := b.Records[max(i-1, 0)].Epoch; r.Epoch < before || r.Epoch > b.Epoch {
			s.t.Errorf("partition %d: offset %d has epoch %d, after %d, in a batch up to %d", b.Partition, r.Offset, r.Epoch, before, b.Epoch)
		}
	}
	if b.Next < next {
		s.t.Errorf("partition %d: next is %d after offset %d", b.Partition, b.Next, next-1)
	}
	s.next[b.Partition] = b.Next
	s.epochs[b.Partition] = b.Epoch
	s.records[b.Partition] = append(s.records[b.Partition], b.Records...)
}

func (s *sink) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.full
}

func (s *sink) Lost(l record.Loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note()
	if s.next[l.Partition] != l.From {
		s.t.Errorf("lost %+v, and %d was next", l, s.next[l.Partition])
	}
	s.next[l.Partition] = l.Next
	s.lost = append(s.lost, l)
}

func (s *sink) setFull(full bool) {
	s.mu.Lock()
	s.full = full
	s.mu.Unlock()
	if !full {
		s.reading.Resume()
	}
}

// until waits until ok holds, which is asked with the sink locked.
func (s *sink) until(what string, ok func() bool) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		done, changed := ok(), s.changed
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("waiting for %s: starts %v, next %v, lost %v", what, s.starts, s.next, s.lost)
		}
	}
}

func (s *sink) values(partition int32) []string {
	var all []string
	for _, r := range s.records[partition] {
		all = append(all, string(r.Value))
	}
	return all
}

func (s *sink) started() {
	s.t.Helper()
	s.until("the start", func() bool { return len(s.starts) > 0 })
}

// wants waits for the values of a partition, and no others.
func (s *sink) wants(partition int32, values ...string) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d records of partition %d", len(values), partition), func() bool {
		return len(s.records[partition]) >= len(values)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.values(partition); !slices.Equal(got, values) {
		s.t.Fatalf("partition %d:\n got %s\nwant %s", partition, brief(got), brief(values))
	}
}

func brief(all []string) string {
	if len(all) > 20 {
		return fmt.Sprintf("%d: %s ... %s", len(all), strings.Join(all[:5], " "), strings.Join(all[len(all)-5:], " "))
	}
	return strings.Join(all, " ")
}

// counter counts requests by kind.
type counter struct {
	mu sync.Mutex
	n  map[kmsg.Key]int
}

func count(f *kfake.Cluster) *counter {
	k := &counter{n: map[kmsg.Key]int{}}
	f.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.n[kmsg.Key(r.Key())]++
		return nil, nil, false
	})
	return k
}

func (k *counter) of(key kmsg.Key) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.n[key]
}
