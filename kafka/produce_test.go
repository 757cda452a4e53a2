package kafka

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// Vectors of Kafka's own UtilsTest.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string":                       -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, not %d", key, got, want)
		}
		if got := partitionOf([]byte(key), 7); got != (want&0x7fffffff)%7 {
			t.Errorf("partition of %q: %d", key, got)
		}
	}
}

func newProducer(t *testing.T, c *Cluster, cfg ProducerConfig) *Producer {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	p := c.NewProducer(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

// outcomes collects what became of records, in the order of the answers.
type outcomes struct {
	mu  sync.Mutex
	all []record.Outcome
	ch  chan record.Outcome
}

func newOutcomes() *outcomes { return &outcomes{ch: make(chan record.Outcome, 100_000)} }

func (o *outcomes) done(out record.Outcome) { o.ch <- out }

func (o *outcomes) wait(t *testing.T, n int) []record.Outcome {
	t.Helper()
	var all []record.Outcome
	timeout := time.After(patience)
	for range n {
		select {
		case out := <-o.ch:
			all = append(all, out)
		case <-timeout:
			t.Fatalf("%d of %d records had an answer", len(all), n)
		}
	}
	return all
}

func publish(t *testing.T, p *Producer, o *outcomes, r *record.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Publish(ctx, r, o.done); err != nil {
		t.Fatal(err)
	}
}

func text(topic string, value string) *record.Record {
	return &record.Record{Topic: topic, Partition: record.AnyPartition, Value: []byte(value)}
}

func TestWritesInOrder(t *testing.T) {
	for _, acks := range []string{"all", "leader"} {
		for compression := range compressions {
			t.Run(acks+" "+compression, func(t *testing.T) {
				f := newFake(t, kfake.NumBrokers(2), kfake.SeedTopics(4, "a"))
				c := newCluster(t, f)
				s := read(t, c, "a", true)
				s.started()
				p := newProducer(t, c, ProducerConfig{Acks: acks, Compression: compression})
				o := newOutcomes()
				want := map[int32][]string{}
				const n = 1000
				for i := range n {
					r := text("a", fmt.Sprint(i))
					r.Key = fmt.Appendf(nil, "key%d", i%17)
					to := partitionOf(r.Key, 4)
					if i%5 == 0 {
						to = int32(i % 4)
						r.Partition = to
					}
					want[to] = append(want[to], fmt.Sprint(i))
					publish(t, p, o, r)
				}
				for _, out := range o.wait(t, n) {
					if out.Err != nil || out.Offset < 0 {
						t.Fatal(out)
					}
				}
				for to, values := range want {
					s.wants(to, values...)
				}
			})
		}
	}
}

func TestWritesEveryPartOfARecord(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	c := newCluster(t, f)
	s := read(t, c, "a", true)
	s.started()
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	stamp := time.UnixMilli(1_600_000_000_123).UTC()
	rs := []record.Record{
		{Topic: "a", Key: []byte("k"), Value: nil, Timestamp: stamp},
		{Topic: "a", Key: nil, Value: []byte{}},
		{Topic: "a", Key: []byte{}, Value: []byte("v"), Headers: []record.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: nil}, {Key: "", Value: []byte{}}}},
		{Topic: "a"},
	}
	for i := range rs {
		publish(t, p, o, &rs[i])
	}
	for i, out := range o.wait(t, len(rs)) {
		if out.Err != nil || out.Offset != int64(i) {
			t.Fatalf("%+v", out)
		}
	}
	s.until("the records", func() bool { return len(s.records[0]) == len(rs) })
	same := func(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }
	for i, got := range s.records[0] {
		want := rs[i]
		if !same(got.Key, want.Key) || !same(got.Value, want.Value) || len(got.Headers) != len(want.Headers) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		for j, h := range got.Headers {
			if h.Key != want.Headers[j].Key || !same(h.Value, want.Headers[j].Value) {
				t.Errorf("header %d: got %+v, want %+v", j, h, want.Headers[j])
			}
		}
	}
	if got := s.records[0][0].Timestamp; !got.Equal(stamp) {
		t.Errorf("timestamp %v", got)
	}
	if got := s.records[0][1].Timestamp; time.Since(got) > time.Minute {
		t.Errorf("timestamp %v", got)
	}
}

func TestRefusesWhatCannotBeWritten(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "50000"}))
	c := newCluster(t, f)
	p := newProducer(t, c, ProducerConfig{MaxMessageBytes: 100_000})
	o := newOutcomes()
	far := text("a", "x")
	far.Partition = 2
	below := text("a", "x")
	below.Partition = -2
	for want, r := range map[error]*record.Record{record.ErrRefused: far, record.ErrTooLarge: text("a", strings.Repeat("x", 100_001)), record.ErrUnknownTopic: text("b", "x")} {
		if err := p.Publish(t.Context(), r, o.done); !errors.Is(err, want) {
			t.Errorf("%v, not %v", err, want)
		}
	}
	if err := p.Publish(t.Context(), below, o.done); !errors.Is(err, record.ErrRefused) {
		t.Error(err)
	}
	publish(t, p, o, text("a", strings.Repeat("x", 60_000)))
	if out := o.wait(t, 1)[0]; !errors.Is(out.Err, record.ErrTooLarge) {
		t.Error(out.Err)
	}
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed})
	publish(t, p, o, text("a", "x"))
	if out := o.wait(t, 1)[0]; !errors.Is(out.Err, record.ErrRefused) {
		t.Error(out.Err)
	}
	publish(t, p, o, text("a", "x"))
	if out := o.wait(t, 1)[0]; out.Err != nil {
		t.Error(out.Err)
	}
}

// A topic that takes small batches only must get its small records all the same.
func TestSmallRecordsOfATopicWithALowLimit(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "20000"}))
	c := newCluster(t, f)
	s := read(t, c, "a", true)
	s.started()
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	pad := strings.Repeat("x", 1000)
	var want []string
	for i := range 500 {
		want = append(want, fmt.Sprint(i, pad))
		if i == 250 {
			publish(t, p, o, text("a", strings.Repeat("y", 30_000)))
		}
		publish(t, p, o, text("a", want[i]))
	}
	large := 0
	for _, out := range o.wait(t, 501) {
		switch {
		case errors.Is(out.Err, record.ErrTooLarge):
			large++
		case out.Err != nil:
			t.Fatal(out.Err)
		}
	}
	if large != 1 {
		t.Errorf("%d records were too large", large)
	}
	s.wants(0, want...)
}

func TestUnknownTopicsCostLittle(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	c := newCluster(t, f, func(tm *timings) { tm.negative = time.Hour })
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	publish(t, p, o, text("a", "x"))
	o.wait(t, 1)
	k := count(f)
	before := runtime.NumGoroutine()
	for range 5 {
		for i := range 200 {
			if err := p.Publish(t.Context(), text(fmt.Sprintf("no%d", i), "x"), o.done); !errors.Is(err, record.ErrUnknownTopic) {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\nb", strings.Repeat("x", 250)} {
		if err := p.Publish(t.Context(), text(name, "x"), o.done); !errors.Is(err, record.ErrUnknownTopic) {
			t.Fatal(err)
		}
	}
	if n := k.of(kmsg.Metadata); n > 201 {
		t.Errorf("%d metadata requests for 200 names", n)
	}
	if n := runtime.NumGoroutine(); n > before+10 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	if f.TopicInfo("no1") != nil {
		t.Error("a topic was made")
	}
}

func TestCreatesTopics(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(3), kfake.DefaultNumPartitions(5))
	c := newCluster(t, f)
	p := newProducer(t, c, ProducerConfig{CreateTopics: true})
	k := count(f)
	o := newOutcomes()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { publish(t, p, o, text("new", fmt.Sprint(i))) })
	}
	all.Wait()
	for _, out := range o.wait(t, 20) {
		if out.Err != nil {
			t.Fatal(out.Err)
		}
	}
	if n := k.of(kmsg.CreateTopics); n != 1 {
		t.Errorf("%d requests", n)
	}
	if n := len(f.PartitionInfos("new")); n != 5 {
		t.Errorf("%d partitions", n)
	}
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed})
	if err := p.Publish(t.Context(), text("forbidden", "x"), o.done); !errors.Is(err, record.ErrRefused) {
		t.Error(err)
	}
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.NotController, Count: 2})
	publish(t, p, o, text("moved", "x"))
	if out := o.wait(t, 1)[0]; out.Err != nil {
		t.Error(out.Err)
	}
}

func TestWritesToNewPartitions(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	c := newCluster(t, f)
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	publish(t, p, o, text("a", "x"))
	o.wait(t, 1)
	grow(t, f, "a", 4)
	c.meta.mu.Lock()
	c.meta.cache["a"].at = time.Now().Add(-time.Minute)
	c.meta.mu.Unlock()
	r := text("a", "y")
	r.Partition = 3
	publish(t, p, o, r)
	if out := o.wait(t, 1)[0]; out.Err != nil || out.Partition != 3 {
		t.Fatalf("%+v", out)
	}
}

func TestWritesWithoutAcknowledgement(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	c := newCluster(t, f)
	s := read(t, c, "a", true)
	s.started()
	p := newProducer(t, c, ProducerConfig{Acks: "none"})
	o := newOutcomes()
	publish(t, p, o, text("a", "x"))
	if out := o.wait(t, 1)[0]; out.Err != nil || out.Offset != -1 || !out.Timestamp.IsZero() {
		t.Fatalf("%+v", out)
	}
	s.wants(0, "x")
}

func TestTimesThatKafkaCannotWrite(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	p := newProducer(t, newCluster(t, f), ProducerConfig{})
	for _, at := range []time.Time{time.UnixMilli(-1), time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)} {
		r := text("a", "x")
		r.Timestamp = at
		if err := p.Publish(t.Context(), r, func(record.Outcome) {}); !errors.Is(err, record.ErrRefused) {
			t.Error(err)
		}
	}
}
