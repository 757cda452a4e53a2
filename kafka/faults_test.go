package kafka

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/kafkaws/kafkaws/record"
)

// inTransaction writes values in a transaction, and ends it.
func inTransaction(t *testing.T, cl *kgo.Client, topic string, end kgo.TransactionEndTry, values ...string) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	put(t, cl, topic, 0, values...)
	if err := cl.EndTransaction(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}

func TestTransactions(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	one, two := kclient(t, f, kgo.TransactionalID("one")), kclient(t, f, kgo.TransactionalID("two"))
	plain := kclient(t, f)
	c := newCluster(t, f)
	// What is written before a reading begins and committed after it becomes
	// visible after it.
	if err := one.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	put(t, one, "a", 0, "open")
	committed, all := read(t, c, "a", true), read(t, c, "a", false)
	committed.started()
	all.started()
	if committed.starts[0][0] != 0 || all.starts[0][0] != 1 {
		t.Fatalf("started at %v and %v", committed.starts, all.starts)
	}
	put(t, plain, "a", 0, "plain")
	all.wants(0, "plain")
	if err := one.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	committed.wants(0, "open", "plain")
	if err := one.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	put(t, one, "a", 0, "bad0")
	inTransaction(t, two, "a", kgo.TryCommit, "good0", "good1")
	put(t, one, "a", 0, "bad1")
	if err := one.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	inTransaction(t, two, "a", kgo.TryAbort, "bad2")
	inTransaction(t, one, "a", kgo.TryCommit, "good2")
	put(t, plain, "a", 0, "end")
	committed.wants(0, "open", "plain", "good0", "good1", "good2", "end")
	all.wants(0, "plain", "bad0", "good0", "good1", "bad1", "bad2", "good2", "end")
	// Markers and what was aborted move the positions all the same.
	inTransaction(t, two, "a", kgo.TryAbort, "bad3")
	end := f.PartitionInfo("a", 0).HighWatermark
	committed.until("the end of the log", func() bool { return committed.next[0] == end })
	all.until("the end of the log", func() bool { return all.next[0] == end })
}

func TestABatchThatCannotBeReadIsSkipped(t *testing.T) {
	limit := sarama.MaxDecompressedBatchSize
	t.Cleanup(func() { sarama.MaxDecompressedBatchSize = limit })
	sarama.MaxDecompressedBatchSize = 1 << 20
	f := newFake(t, kfake.SeedTopics(2, "a"))
	cl := kclient(t, f, kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerBatchMaxBytes(16<<20))
	s := read(t, newCluster(t, f, quick), "a", true)
	s.started()
	put(t, cl, "a", 0, "before")
	put(t, cl, "a", 0, append(numbered("bomb", 0, 9), strings.Repeat("x", 2<<20))...)
	for i := range 5 {
		put(t, cl, "a", 0, fmt.Sprint("after", i))
	}
	put(t, cl, "a", 1, "other")
	s.wants(1, "other")
	s.wants(0, append([]string{"before"}, numbered("after", 0, 5)...)...)
	if len(s.lost) != 1 || s.lost[0] != (record.Loss{From: 1, Next: 11, Reason: record.LossUnreadable}) {
		t.Errorf("lost %v", s.lost)
	}
}

func TestAReaderDoesNotWaitForTheLongPoll(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a", "b"))
	cl := kclient(t, f)
	c := newCluster(t, f, func(tm *timings) { tm.idle = 50 * time.Millisecond })
	a := read(t, c, "a", true)
	a.started()
	// The loop's next request is never answered, and found out only after
	// longer than this test waits for a record.
	held := make(chan struct{})
	f.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(held)
		return nil, nil, true
	})
	<-held
	b := read(t, c, "b", true)
	b.started()
	for i := range 3 {
		put(t, cl, "b", 0, fmt.Sprint(i))
		b.wants(0, numbered("", 0, i+1)...)
	}
	a.stop()
	b.stop()
	src := c.Source(true).(*source)
	src.mu.Lock()
	defer src.mu.Unlock()
	for _, l := range src.loops {
		if len(l.parts) > 0 || len(l.ahead) > 0 {
			t.Error("a loop kept partitions of a reading that was stopped")
		}
	}
}

func TestLoopsEnd(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(6, "a", "b"))
	c := newCluster(t, f, func(tm *timings) { tm.idle = 10 * time.Millisecond })
	for range 3 {
		a, b := read(t, c, "a", true), read(t, c, "b", false)
		a.started()
		b.started()
		a.stop()
		b.stop()
		deadline := time.After(patience)
		for busy := true; busy; {
			busy = false
			for _, committed := range []bool{true, false} {
				src := c.Source(committed).(*source)
				src.mu.Lock()
				busy = busy || len(src.loops) > 0
				src.mu.Unlock()
			}
			select {
			case <-deadline:
				t.Fatal("loops go on without partitions")
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// restartable is a broker that can go away and come back as it was.
func restartable(t *testing.T) (start func() *kfake.Cluster, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	dir := t.TempDir()
	return func() *kfake.Cluster {
		t.Helper()
		return newFake(t, kfake.Ports(n), kfake.DataDir(dir), kfake.SeedTopics(2, "a"))
	}, addr
}

func TestBrokerRestart(t *testing.T) {
	start, addr := restartable(t)
	f := start()
	core, logs := observer.New(zap.InfoLevel)
	c, err := New(Config{Brokers: []string{addr}, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := read(t, c, "a", true)
	s.started()
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	send := func(i int) {
		r := text("a", fmt.Sprint(i))
		r.Partition = 1
		publish(t, p, o, r)
	}
	send(0)
	o.wait(t, 1)
	s.wants(1, "0")
	f.Close()
	for i := 1; i < 20; i++ {
		send(i)
	}
	unreachable := func() int { return logs.FilterMessageSnippet("unreachable").Len() }
	for deadline := time.Now().Add(patience); unreachable() == 0 && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	start()
	for _, out := range o.wait(t, 19) {
		if out.Err != nil {
			t.Fatal(out.Err)
		}
	}
	s.wants(1, numbered("", 0, 20)...)
	if len(s.lost) > 0 {
		t.Errorf("lost %v", s.lost)
	}
	if n, m := unreachable(), logs.FilterMessageSnippet("answers again").Len(); n != 1 || m != 1 {
		t.Errorf("%d lines tell that it went, and %d that it came back", n, m)
	}
}

func TestStopIsFinal(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(2), kfake.SeedTopics(4, "a"))
	c := newCluster(t, f)
	cl := kclient(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_ = cl.ProduceSync(ctx, &kgo.Record{Topic: "a", Partition: int32(i % 4), Value: []byte("x")})
		}
	})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			s := read(t, c, "a", i%2 == 0) // the sink fails the test if it is called after stop
			s.started()
			s.until("records", func() bool { return len(s.records) > 0 })
			s.setFull(true)
			s.setFull(false)
			s.stop()
			s.stop()
		})
	}
	all.Wait()
	cancel()
	writer.Wait()
}

func TestCloseBreaksLongPolls(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(2), kfake.SeedTopics(2, "a"))
	c := newCluster(t, f, func(tm *timings) { tm.longPoll = 8 * time.Second })
	s := read(t, c, "a", true)
	s.started()
	waiting := read(t, c, "none", true)
	c.Close()
	if err := c.Source(true).Exists(t.Context(), "a"); err == nil {
		t.Error("a closed cluster answered")
	}
	c.Source(true).Read("a", s).Stop()
	if err := c.NewProducer(ProducerConfig{}).Publish(t.Context(), text("a", "x"), func(record.Outcome) {}); err == nil {
		t.Error("a closed cluster took a record")
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	done := make(chan struct{})
	go func() { c.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second): // the long poll takes longer
		t.Error("goroutines wait for the long poll")
	}
	if !closed || len(waiting.starts) > 0 {
		t.Error("not closed")
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{
		{},
		{Brokers: []string{"a"}},
		{Brokers: []string{"a:0"}},
		{Brokers: []string{":9092"}},
		{Brokers: []string{"a:70000"}},
		{Brokers: []string{"a:9092"}, Version: "four"},
		{Brokers: []string{"a:9092"}, Version: "0.10.0.0"},
	} {
		if cfg.Validate() == nil {
			t.Errorf("%+v is taken", cfg)
		}
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
	for _, version := range []string{"", "0.11.0.0", "2.8.0", "3.9.0", "4.1.0"} {
		cfg := Config{Brokers: []string{"a:9092", "[::1]:9092"}, Version: version}
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
		v, _ := cfg.parse()
		base := cfg.sarama(v)
		if err := base.Validate(); err != nil {
			t.Error(err)
		}
		if err := producerSettings(base).Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, cfg := range []ProducerConfig{{Acks: "some"}, {Compression: "rar"}, {MaxMessageBytes: -1}, {Timeout: -1}} {
		if cfg.Validate() == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

// Every protocol version that differs in what we use.
func TestOlderProtocols(t *testing.T) {
	for _, version := range []string{"0.11.0.0", "1.0.0", "1.1.0", "2.0.0", "2.1.0", "2.3.0", "2.4.0", "2.7.0", "2.8.0", "3.9.0"} {
		t.Run(version, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a"))
			c, err := New(Config{Brokers: f.ListenAddrs(), Version: version})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s := read(t, c, "a", true)
			s.started()
			p := newProducer(t, c, ProducerConfig{CreateTopics: true})
			o := newOutcomes()
			publish(t, p, o, text("a", "x"))
			publish(t, p, o, text("b", "x"))
			for _, out := range o.wait(t, 2) {
				if out.Err != nil {
					t.Fatal(out.Err)
				}
			}
			s.wants(0, "x")
		})
	}
}
