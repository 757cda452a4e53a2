package kafkatest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// values are what a topic holds, in the order of ReadAll.
func values(t *testing.T, b *Broker, topic string) string {
	t.Helper()
	var v []string
	for _, r := range b.ReadAll(t, topic) {
		v = append(v, string(r.Value))
	}
	return strings.Join(v, " ")
}

func TestLife(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(testing.TB, ...Option) *Broker
	}{
		{Version(), Start},
		{OldVersion(), StartOld},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for sessions to end
			began := time.Now()
			b := c.start(t)
			t.Logf("started in %v", time.Since(began).Round(time.Millisecond))
			topic := Topic(t)
			b.CreateTopic(t, topic, 2, map[string]string{"retention.ms": "-1"})
			b.ProduceTo(t, topic, 1, KV("", "c"))
			b.ProduceTo(t, topic, 0, KV("k", "a"), KV("k", "b"))
			if got := values(t, b, topic); got != "a b c" {
				t.Fatalf("read %q", got)
			}

			addr := b.Addr()
			b.Kill()
			if b.Running() {
				t.Fatal("running after Kill")
			}
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				t.Fatal("somebody answers after Kill")
			}
			began = time.Now()
			b.Restart(t)
			t.Logf("restarted after a kill in %v", time.Since(began).Round(time.Millisecond))
			if b.Addr() != addr {
				t.Fatalf("moved from %s to %s", addr, b.Addr())
			}
			if got := values(t, b, topic); got != "a b c" {
				t.Fatalf("after a kill: read %q", got)
			}

			b.Produce(t, topic, KV("k", "d"))
			began = time.Now()
			b.Restart(t)
			t.Logf("stopped and restarted in %v", time.Since(began).Round(time.Millisecond))
			if got := values(t, b, topic); len(strings.Fields(got)) != 4 {
				t.Fatalf("after a stop: read %q", got)
			}

			b.AddPartitions(t, topic, 3)
			b.ProduceTo(t, topic, 2, KV("", "e"))
			b.DeleteRecords(t, topic, 0, 1)
			if got := values(t, b, topic); strings.HasPrefix(got, "a") || !strings.HasSuffix(got, "e") {
				t.Fatalf("after adding a partition and deleting a record: read %q", got)
			}
			b.DeleteTopic(t, topic)
			b.CreateTopic(t, topic, 1, nil)
			if got := values(t, b, topic); got != "" {
				t.Fatalf("a topic made again holds %q", got)
			}
			b.Stop(t)
			if b.Running() {
				t.Fatal("running after Stop")
			}
		})
	}
}

// A topic is never made by accident, unless a test asks for that.
func TestUnknownTopic(t *testing.T) {
	b := Shared(t)
	topic := Topic(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := b.produce(ctx, topic, KV("", "x")); err == nil {
		t.Fatal("producing to an unknown topic made it")
	}
}

func TestAutoCreateTopics(t *testing.T) {
	b := Start(t, AutoCreateTopics(), MaxMessageBytes(20<<20))
	cl, err := b.client(kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(-1), kgo.ProducerBatchMaxBytes(16<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	big := KV("", strings.Repeat("x", 12<<20))
	big.Topic = Topic(t)
	if err := cl.ProduceSync(t.Context(), big).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := b.ReadAll(t, big.Topic); len(got) != 1 || len(got[0].Value) != 12<<20 {
		t.Fatalf("read %d records", len(got))
	}
}

func TestPause(t *testing.T) {
	b := Start(t)
	topic := Topic(t)
	b.CreateTopic(t, topic, 1, nil)
	b.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.produce(ctx, topic, KV("", "x")); err == nil {
		t.Error("a paused broker acknowledged")
	}
	b.Resume(t)
	b.Produce(t, topic, KV("", "y"))
	b.Pause(t)
	b.Kill() // a frozen process can be killed, too
}

func TestTransactions(t *testing.T) {
	b := Shared(t)
	topic := Topic(t)
	b.CreateTopic(t, topic, 1, nil)
	cl, err := b.client(kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), KV("", fmt.Sprint(i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	if got := values(t, b, topic); got != "0 1" {
		t.Fatalf("read %q", got)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := StartCluster(t, 3)
	t.Logf("3 nodes started in %v", time.Since(began).Round(time.Millisecond))
	topic := Topic(t)
	c.Nodes[0].CreateTopic(t, topic, 3, nil)
	for p := range int32(3) {
		c.Nodes[0].ProduceTo(t, topic, p, KV("", "before"))
	}
	c.Nodes[1].Kill()
	for p := range int32(3) {
		c.Nodes[0].ProduceTo(t, topic, p, KV("", "during"))
	}
	c.Nodes[1].Restart(t)
	if got := c.Nodes[2].ReadAll(t, topic); len(got) != 6 {
		t.Fatalf("read %d records of 6", len(got))
	}
}

// Java's own client is at hand for comparisons.
func TestJava(t *testing.T) {
	source := filepath.Join(t.TempDir(), "Murmur.java")
	program := `public class Murmur { public static void main(String[] args) {
		System.out.print(org.apache.kafka.common.utils.Utils.murmur2(args[0].getBytes()));
	} }`
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Java(t, source, "foobar"); got != "-790332482" {
		t.Fatalf("murmur2 of foobar is %s", got)
	}
}

func TestStartFailure(t *testing.T) {
	b := newBroker(install(t, current), tempDir(t), newSettings([]Option{Property("num.io.threads", "none")}))
	defer b.release()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	err := b.start(ctx)
	if err == nil || !strings.Contains(err.Error(), "num.io.threads") {
		t.Fatalf("the cause is not told: %v", err)
	}
}

func TestJavaVersion(t *testing.T) {
	for out, want := range map[string]int{
		`openjdk version "17.0.15" 2025-04-15`:     17,
		`java version "1.8.0_392"`:                 1,
		`openjdk version "25" 2025-09-16 LTS`:      25,
		"No Java runtime present, requesting one.": 0,
	} {
		if got := javaVersion([]byte(out)); got != want {
			t.Errorf("%s: %d, want %d", out, got, want)
		}
	}
}
