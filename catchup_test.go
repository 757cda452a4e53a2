package kafkaws_test

import (
	"bytes"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestSlowClientsHearAll has clients that read a tenth of what comes while others
// follow live. They hear everything in the end, and Caddy holds no more for them
// than its buffers. With KAFKAWS_SOAK=1 it is a gigabyte and a hundred others.
func TestSlowClientsHearAll(t *testing.T) {
	total, others := 64<<20, 10
	if os.Getenv("KAFKAWS_SOAK") != "" {
		total, others = 1<<30, 100
	}
	const (
		partitions = 4
		slow       = 3
		size       = 8 << 10
		chunk      = 128 // records
		bufferAll  = 32 << 20
		limit      = bufferAll + 20<<20
	)
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, partitions, nil)
	s := startSite(t, broker.Addr(), open+"ping_interval 10m\nwrite_timeout 10m\nconsumer {\nbuffer 8MiB\nbuffer_total 32MiB\n}")
	live := listenAll(s.dialFleet(others, "topics="+topic))
	behind := s.dialFleet(slow, "topics="+topic)
	for _, c := range behind {
		_ = c.SetReadDeadline(time.Time{})
	}
	before := s.memory()
	heard := make([]streams, slow)
	read := func(n int) {
		t.Helper()
		for i, c := range behind {
			if heard[i] == nil {
				heard[i] = streams{}
			}
			for range n {
				_, message, err := c.ReadMessage()
				if err != nil {
					t.Fatal(err)
				}
				_, value, _ := bytes.Cut(message, []byte(`"message":"`))
				if err := heard[i].take(value); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	writer := kafkaClient(t, broker.Addr())
	padding := strings.Repeat("x", size)
	ends := streams{}
	sent, most := 0, 0
	for sent*size < total {
		var records []*kgo.Record
		for i := range chunk {
			stream := string(rune('0' + i%partitions))
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: []byte(numbered(stream, ends[stream], padding))})
			ends[stream]++
		}
		produce(t, writer, records...)
		sent += chunk
		mustHearAll(t, live, ends)
		read(chunk / 10)
		if sent%(chunk*16) == 0 {
			most = max(most, s.memory()-before)
		}
	}
	for left := sent - sent/chunk*(chunk/10); left > 0; left -= chunk {
		read(min(left, chunk)) // together: they read the same from Kafka
	}
	for i := range heard {
		for stream, n := range ends {
			if heard[i][stream] != n {
				t.Errorf("slow client %d has %d records of stream %s, want %d", i, heard[i][stream], stream, n)
			}
		}
	}
	t.Logf("%d MiB of records, %d MiB more in use at most", total>>20, most>>20)
	if most > limit {
		t.Errorf("%d bytes more are in use, want at most %d", most, limit)
	}
}

// TestCatchUpReadsWhatKafkaHas has clients catch up with a topic of transactions,
// some of them aborted, compressed batches, and records larger than what is
// fetched at a time: they get what was committed, once and in order, and go on
// with what comes.
func TestCatchUpReadsWhatKafkaHas(t *testing.T) {
	const partitions, transactions = 2, 60
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, partitions, nil)
	writer := kafkaClient(t, broker.Addr(), kgo.TransactionalID(topic), kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerBatchMaxBytes(1<<20))
	ends := streams{}
	write := func(i int) {
		t.Helper()
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		commit := i%3 != 1
		next := maps.Clone(ends)
		var records []*kgo.Record
		for n := range 20 {
			size := 300
			if n == 7 && i%5 == 0 {
				size = 700 << 10
			}
			stream := string(rune('0' + n%partitions))
			value := numbered(stream, next[stream], strings.Repeat("x", size))
			if !commit {
				value = "aborted"
			}
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(n % partitions), Value: []byte(value)})
			next[stream]++
		}
		produce(t, writer, records...)
		how := kgo.TryAbort
		if commit {
			how, ends = kgo.TryCommit, next
		}
		if err := writer.EndTransaction(t.Context(), how); err != nil {
			t.Fatal(err)
		}
	}
	for i := range transactions {
		write(i)
	}
	s := startSite(t, broker.Addr(), open+"start earliest\nwrite_timeout 10m\nping_interval 10m\nconsumer {\nbuffer 256KiB\nbuffer_total 8MiB\n}")
	all := listenAll(s.dialFleet(5, "topics="+topic))
	late := s.dialFleet(1, "topics="+topic) // reads nothing until all is written
	for i := range transactions {
		write(transactions + i)
	}
	all = append(all, listenAll(late)...)
	mustHearAll(t, all, ends)
}
