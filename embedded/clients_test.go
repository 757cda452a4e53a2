package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The gateway's own client library: topics made at run time, keys, headers,
// idempotent producing, partition consuming.
func TestSarama(t *testing.T) {
	addr := freeAddress(t)
	load(t, config(embeddedJSON(addr, Topic{Name: "chat", Partitions: 3})))

	cfg := sarama.NewConfig()
	cfg.Version = sarama.MaxVersion
	cfg.Producer.Return.Successes = true
	cfg.Producer.Idempotent = true
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Net.MaxOpenRequests = 1

	admin, err := sarama.NewClusterAdmin([]string{addr}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.CreateTopic("made", &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1}, false); err != nil {
		t.Fatal(err)
	}
	topics, err := admin.ListTopics()
	if err != nil {
		t.Fatal(err)
	}
	if len(topics) != 2 || topics["made"].NumPartitions != 1 || topics["chat"].NumPartitions != 3 {
		t.Errorf("topics: %v", topics)
	}

	producer, err := sarama.NewSyncProducer([]string{addr}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	_, offset, err := producer.SendMessage(&sarama.ProducerMessage{
		Topic: "made", Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder("v"),
		Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("1")}},
	})
	if err != nil || offset != 0 {
		t.Fatalf("offset %d, %v", offset, err)
	}

	consumer, err := sarama.NewConsumer([]string{addr}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	pc, err := consumer.ConsumePartition("made", 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	select {
	case m := <-pc.Messages():
		if string(m.Key) != "k" || string(m.Value) != "v" || len(m.Headers) != 1 {
			t.Errorf("got %q %q %v", m.Key, m.Value, m.Headers)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no record in 10 s")
	}
}

// What other tools do: a consumer group that commits and comes back.
func TestGroup(t *testing.T) {
	addr := freeAddress(t)
	load(t, config(embeddedJSON(addr, Topic{Name: "chat"})))
	produce(t, client(t, addr), "chat", 0, "one")
	read := func() []string {
		cl := client(t, addr, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("chat"), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer cl.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		var values []string
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
		return values
	}
	if got := read(); strings.Join(got, ",") != "one" {
		t.Errorf("first read %q", got)
	}
	produce(t, client(t, addr), "chat", 0, "two")
	if got := read(); strings.Join(got, ",") != "two" {
		t.Errorf("second read %q", got)
	}
}

// The Java client, and with it Kafka's console tools, takes no null where the
// protocol has a list that is never null; kfake answers one for these.
func TestVersionsForJava(t *testing.T) {
	addr := freeAddress(t)
	load(t, config(embeddedJSON(addr)))
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), client(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range resp.ApiKeys {
		switch k.ApiKey {
		case kmsg.CreateTopics.Int16():
			if k.MaxVersion > 4 {
				t.Errorf("CreateTopics up to version %d, whose answer has null for the configuration", k.MaxVersion)
			}
		case kmsg.DescribeTopicPartitions.Int16():
			t.Error("DescribeTopicPartitions, whose answer has null for the eligible leaders")
		}
	}
}

// What is no Kafka request costs its connection, and neither the process nor
// memory.
func TestGarbage(t *testing.T) {
	addr := freeAddress(t)
	load(t, config(embeddedJSON(addr, Topic{Name: "chat"})))
	request := func(size uint32, kind, version uint16, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		b = binary.BigEndian.AppendUint16(b, kind)
		b = binary.BigEndian.AppendUint16(b, version)
		return append(b, rest...)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, garbage := range map[string][]byte{
		"HTTP":             []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"TLS":              append([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}, make([]byte, 512)...),
		"unknown kind":     request(12, 9999, 0, 0, 0, 0, 1, 0, 0, 0, 0),
		"negative kind":    request(12, 0xffff, 0, 0, 0, 0, 1, 0, 0, 0, 0),
		"negative version": request(12, 3, 0xffff, 0, 0, 0, 1, 0, 0, 0, 0),
		"negative size":    request(0xffffffff, 3, 0),
		"size 0":           request(0, 3, 0),
		"huge":             request(maxRequest+1, 3, 0),
		"cut short":        request(40, 3, 9, 0, 0, 0, 1, 0xff, 0xff),
		"not parsable":     request(16, 3, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"nothing":          nil,
		"one byte":         {0},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := c.Write(garbage); err != nil {
				t.Fatal(err)
			}
			_ = c.(*net.TCPConn).CloseWrite()
			// The end of the connection, in whatever form.
			if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Error("the connection was left open")
			}
		})
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("garbage made the broker allocate %d MiB", grown>>20)
	}
	produce(t, client(t, addr), "chat", 0, "still serving")
}

// A partition keeps its newest records only, so that a forgotten demonstration
// does not fill the memory.
func TestRetention(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 200 MiB")
	}
	addr := freeAddress(t)
	load(t, config(embeddedJSON(addr, Topic{Name: "chat"})))
	cl := client(t, addr, kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := bytes.Repeat([]byte("x"), 512<<10)
	before := heap()
	const written = 400
	for range written {
		produce(t, cl, "chat", 0, string(value))
	}
	cluster := running(addr).cluster
	waitFor(t, "the oldest records to go", func() bool {
		kept := (written - cluster.PartitionInfo("chat", 0).LogStartOffset) * int64(len(value))
		return kept <= 80<<20
	})
	kept := (written - cluster.PartitionInfo("chat", 0).LogStartOffset) * int64(len(value))
	if kept < 48<<20 {
		t.Errorf("keeps %d MiB, want about 64", kept>>20)
	}
	if grown := heap() - before; grown > 120<<20 {
		t.Errorf("keeps %d MiB of records in %d MiB of memory", kept>>20, grown>>20)
	}
}

// heap returns the bytes of memory in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
