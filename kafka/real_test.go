package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap/zaptest"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

func realCluster(t *testing.T, b *kafkatest.Broker, adjust ...func(*timings)) *Cluster {
	t.Helper()
	c, err := New(Config{Brokers: []string{b.Addr()}, Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range adjust {
		a(&c.timings)
	}
	t.Cleanup(c.Close)
	return c
}

func realClient(t *testing.T, b *kafkatest.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// What a real broker does, and a fake one might do otherwise.
func TestRealKafka(t *testing.T) {
	b := kafkatest.Start(t, kafkatest.Property("transaction.state.log.replication.factor", "1"), kafkatest.Property("transaction.state.log.min.isr", "1"))
	c := realCluster(t, b, quick)

	t.Run("records", func(t *testing.T) {
		b.CreateTopic(t, "records", 3, nil)
		s := read(t, c, "records", true)
		s.started()
		p := newProducer(t, c, ProducerConfig{Compression: "lz4"})
		o := newOutcomes()
		for i := range 300 {
			r := text("records", fmt.Sprint(i))
			r.Partition = int32(i % 3)
			publish(t, p, o, r)
		}
		for _, out := range o.wait(t, 300) {
			if out.Err != nil || out.Offset < 0 {
				t.Fatal(out)
			}
		}
		for p := range int32(3) {
			var want []string
			for i := int(p); i < 300; i += 3 {
				want = append(want, fmt.Sprint(i))
			}
			s.wants(p, want...)
		}
	})

	t.Run("transactions", func(t *testing.T) {
		b.CreateTopic(t, "txn", 1, nil)
		committed, all := read(t, c, "txn", true), read(t, c, "txn", false)
		committed.started()
		all.started()
		one, two := realClient(t, b, kgo.TransactionalID("one")), realClient(t, b, kgo.TransactionalID("two"))
		if err := one.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		put(t, one, "txn", 0, "bad0")
		inTransaction(t, two, "txn", kgo.TryCommit, "good0")
		put(t, one, "txn", 0, "bad1")
		if err := one.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		inTransaction(t, one, "txn", kgo.TryCommit, "good1")
		inTransaction(t, two, "txn", kgo.TryAbort, "bad2")
		put(t, realClient(t, b), "txn", 0, "end")
		committed.wants(0, "good0", "good1", "end")
		all.wants(0, "bad0", "good0", "bad1", "good1", "bad2", "end")
	})

	t.Run("made again", func(t *testing.T) {
		s := read(t, c, "again", true)
		b.CreateTopic(t, "again", 1, nil)
		put(t, realClient(t, b), "again", 0, numbered("old", 0, 10)...)
		s.wants(0, numbered("old", 0, 10)...)
		for _, n := range []int{1, 1, 30} { // shorter than the one before it, as long, longer
			s.mu.Lock()
			s.records, s.lost = map[int32][]record.Record{}, nil
			s.mu.Unlock()
			b.DeleteTopic(t, "again")
			b.CreateTopic(t, "again", 1, nil)
			put(t, realClient(t, b), "again", 0, numbered("new", 0, n)...)
			s.wants(0, numbered("new", 0, n)...)
			if len(s.lost) != 1 || s.lost[0].Next != 0 {
				t.Fatalf("lost %v", s.lost)
			}
		}
	})

	t.Run("deleted records and new partitions", func(t *testing.T) {
		b.CreateTopic(t, "cut", 1, nil)
		s := read(t, c, "cut", true)
		s.started()
		cl := realClient(t, b)
		put(t, cl, "cut", 0, "seen")
		s.wants(0, "seen")
		s.setFull(true)
		put(t, cl, "cut", 0, numbered("v", 1, 20)...)
		b.DeleteRecords(t, "cut", 0, 20)
		s.setFull(false)
		put(t, cl, "cut", 0, "after")
		s.until("what is left", func() bool { return s.next[0] == 21 })
		// A fetch that was under way when the sink filled may have brought some
		// or all; the sink checks that deliveries and losses have no holes.
		if n := len(s.lost); n > 1 || n == 1 && (s.lost[0].Next != 20 || s.lost[0].Reason != record.LossExpired) {
			t.Errorf("lost %v", s.lost)
		}
		b.AddPartitions(t, "cut", 3)
		s.until("the new partitions", func() bool { return len(s.starts) == 2 })
		put(t, realClient(t, b), "cut", 2, "x")
		s.wants(2, "x")
	})

	t.Run("unknown and created topics", func(t *testing.T) {
		p := newProducer(t, c, ProducerConfig{CreateTopics: true})
		o := newOutcomes()
		publish(t, p, o, text("made", "x"))
		if out := o.wait(t, 1)[0]; out.Err != nil {
			t.Fatal(out.Err)
		}
	})
}

// A broker that is killed in the midst of writing and reading: nothing is lost,
// doubled or out of order.
func TestRealKafkaKilled(t *testing.T) {
	b := kafkatest.Start(t)
	b.CreateTopic(t, "a", 2, nil)
	c := realCluster(t, b)
	s := read(t, c, "a", true)
	s.started()
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var writer sync.WaitGroup
	writer.Go(func() {
		for ; ctx.Err() == nil; n++ {
			r := text("a", fmt.Sprint(n))
			r.Partition = 0
			if err := p.Publish(t.Context(), r, o.done); err != nil {
				t.Error(err)
				return
			}
			<-time.After(2 * time.Millisecond)
		}
	})
	s.until("records", func() bool { return len(s.records[0]) > 100 })
	b.Kill()
	b.StartAgain(t)
	b.WaitReady(t)
	s.mu.Lock()
	had := len(s.records[0])
	s.mu.Unlock()
	s.until("records after the kill", func() bool { return len(s.records[0]) > had+100 })
	cancel()
	writer.Wait()
	for _, out := range o.wait(t, n) {
		if out.Err != nil {
			t.Fatal(out.Err)
		}
	}
	s.wants(0, numbered("", 0, n)...)
	if len(s.lost) > 0 {
		t.Errorf("lost %v", s.lost)
	}
}

// Leaders that are killed while records are written to them: others take over, and
// what is told of the records is true.
func TestRealKafkaLeadersKilled(t *testing.T) {
	nodes := kafkatest.StartCluster(t, 3)
	const partitions = 3
	nodes.Nodes[0].CreateTopic(t, "a", partitions, map[string]string{"min.insync.replicas": "2"})
	c, err := New(Config{Brokers: nodes.Addrs(), Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	p := newProducer(t, c, ProducerConfig{})
	fates := make([][]*fate, partitions)
	var writer, answers sync.WaitGroup
	var acknowledged atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	writer.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			fa := &fate{value: fmt.Sprint(n)}
			fates[n%partitions] = append(fates[n%partitions], fa)
			r := &record.Record{Topic: "a", Partition: int32(n % partitions), Value: []byte(fa.value)}
			answers.Add(1)
			if err := p.Publish(t.Context(), r, func(out record.Outcome) {
				fa.out = out
				if out.Err == nil {
					acknowledged.Add(1)
				}
				answers.Done()
			}); err != nil {
				t.Error(err)
				answers.Done()
				return
			}
			if n%10 == 0 {
				<-time.After(time.Millisecond)
			}
		}
	})
	more := func() {
		t.Helper()
		had := acknowledged.Load()
		for end := time.Now().Add(2 * patience); acknowledged.Load() < had+3000; <-time.After(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no more records are acknowledged")
			}
		}
	}
	more()
	for _, b := range nodes.Nodes {
		b.Kill()
		more()
		b.StartAgain(t)
		b.WaitReady(t)
		more()
	}
	cancel()
	writer.Wait()
	answers.Wait()
	got := make([][]string, partitions)
	for _, r := range nodes.Nodes[0].ReadAll(t, "a") {
		got[r.Partition] = append(got[r.Partition], string(r.Value))
	}
	all := make([][]fate, partitions)
	n := 0
	for i := range fates {
		for _, fa := range fates[i] {
			all[i] = append(all[i], *fa)
			n++
		}
	}
	if k := verify(t, all, got); k != n {
		t.Errorf("%d of %d records were acknowledged", k, n)
	}
}

// A producer that writes more than its quota allows is slowed down, by the broker
// and by itself, and nothing else happens to its records.
func TestRealKafkaThrottlesWriting(t *testing.T) {
	b := kafkatest.Start(t)
	b.CreateTopic(t, "a", 2, nil)
	const client = "slow"
	b.Quota(t, client, 100_000, 0)
	c, err := New(Config{Brokers: []string{b.Addr()}, ClientID: client, Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s := read(t, c, "a", true)
	s.started()
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	// The quota counts over some ten seconds, so that it takes a while to be used up.
	pad := strings.Repeat("x", 10_000)
	var want [2][]string
	n, throttled := 0, false
	for end := time.Now().Add(patience); !throttled && time.Now().Before(end); {
		for range 50 {
			r := text("a", fmt.Sprint(n, pad))
			r.Partition = int32(n % 2)
			want[n%2] = append(want[n%2], string(r.Value))
			publish(t, p, o, r)
			n++
		}
		for _, out := range o.wait(t, 50) {
			if out.Err != nil || out.Offset < 0 {
				t.Fatal(out)
			}
		}
		l := p.link(int32(b.ID()))
		l.mu.Lock()
		throttled = !l.until.IsZero()
		l.mu.Unlock()
	}
	if !throttled {
		t.Fatal("the broker has not throttled")
	}
	r := text("a", "end")
	r.Partition = 0
	want[0] = append(want[0], "end")
	publish(t, p, o, r)
	if out := o.wait(t, 1)[0]; out.Err != nil {
		t.Fatal(out.Err)
	}
	s.wants(0, want[0]...)
	s.wants(1, want[1]...)
}

// The oldest broker, with topics in the formats of still older ones.
func TestRealOldKafka(t *testing.T) {
	b := kafkatest.StartOld(t)
	c := realCluster(t, b, quick)
	for _, format := range []string{"0.9.0", "0.10.2", "0.11.0"} {
		for _, compression := range []string{"none", "gzip", "snappy"} {
			name := "f" + format + compression
			b.CreateTopic(t, name, 1, map[string]string{"message.format.version": format})
			s := read(t, c, name, true)
			s.started()
			p := newProducer(t, c, ProducerConfig{Compression: compression, CreateTopics: true, Acks: "leader"})
			o := newOutcomes()
			for i := range 50 {
				publish(t, p, o, text(name, fmt.Sprint(i)))
			}
			for _, out := range o.wait(t, 50) {
				if out.Err != nil {
					t.Fatal(out.Err)
				}
			}
			s.wants(0, numbered("", 0, 50)...)
			last := read(t, c, name, true)
			last.started()
			if got := last.starts[0][0]; got != 50 {
				t.Errorf("%s ends at %d", name, got)
			}
			_, err := c.Source(true).Offsets(t.Context(), name, record.PointAt(time.Now()))
			if format == "0.9.0" != errors.Is(err, record.ErrRefused) {
				t.Errorf("%s: looking up a time: %v", name, err)
			}
			for _, r := range s.records[0] {
				if (r.Epoch == record.NoEpoch) != (format != "0.11.0") {
					t.Errorf("%s: epoch %d at %d", name, r.Epoch, r.Offset)
				}
			}
			if at := s.records[0][0].Timestamp; format != "0.9.0" && time.Since(at) > time.Hour {
				t.Errorf("%s: timestamp %v", name, at)
			}
		}
	}
	for topic, configs := range timeKinds() {
		b.CreateTopic(t, topic, 1, configs)
		stamped(t, c, topic, configs != nil)
	}
	p := newProducer(t, c, ProducerConfig{CreateTopics: true})
	o := newOutcomes()
	publish(t, p, o, text("made", "x"))
	if out := o.wait(t, 1)[0]; out.Err != nil {
		t.Fatal(out.Err)
	}
}
