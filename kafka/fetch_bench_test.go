package kafka

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

// heldSink takes nothing until it is opened, and tells when it has seen enough.
type heldSink struct {
	open    atomic.Bool
	started chan struct{}
	n, want int
	bytes   int
	done    chan struct{}
}

func (s *heldSink) Started(record.Started) { close(s.started) }
func (s *heldSink) Missing()               {}
func (s *heldSink) Ready() bool            { return s.open.Load() }
func (s *heldSink) Lost(record.Loss)       {}
func (s *heldSink) Deliver(b record.Batch) {
	for i := range b.Records {
		s.bytes += len(b.Records[i].Value)
	}
	if s.n += len(b.Records); s.n == s.want {
		close(s.done)
	}
}

// BenchmarkConsume measures what it costs to read a topic of small records from
// a real broker, beside a poll loop of franz-go. Everything is per record; the
// CPU time is this process's.
func BenchmarkConsume(b *testing.B) {
	k := kafkatest.Start(b)
	const total = 400_000
	topics := 0
	for name, codec := range codecs {
		if name == "gzip" || name == "snappy" {
			continue
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr()), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerBatchCompression(codec))
		if err != nil {
			b.Fatal(err)
		}
		defer cl.Close()
		value := make([]byte, 200)
		for i := range value {
			value[i] = byte(i * i)
		}
		prepare := func(b *testing.B) string {
			topics++
			topic := fmt.Sprint("bench", topics)
			k.CreateTopic(b, topic, 1, nil)
			for range total {
				cl.Produce(b.Context(), &kgo.Record{Topic: topic, Value: value}, nil)
			}
			if err := cl.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			return topic
		}
		measure := func(b *testing.B, f func()) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			cpu, began := processTime(b, "self"), time.Now()
			f()
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(took.Nanoseconds())/total, "ns/record")
			b.ReportMetric(float64((processTime(b, "self")-cpu).Nanoseconds())/total, "cpu-ns/record")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/total, "allocs/record")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/total, "B/record")
			b.ReportMetric(0, "ns/op")
		}
		b.Run(name+"/ours", func(b *testing.B) {
			c, err := New(Config{Brokers: []string{k.Addr()}})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			for range b.N {
				// It begins with the first record, for the topic comes later.
				s := &heldSink{want: total, started: make(chan struct{}), done: make(chan struct{})}
				r := c.Source(true).Read(fmt.Sprint("bench", topics+1), s)
				for c.meta.cached(fmt.Sprint("bench", topics+1)) == nil {
					<-time.After(time.Millisecond)
				}
				prepare(b)
				<-s.started
				measure(b, func() {
					s.open.Store(true)
					r.Resume()
					<-s.done
				})
				r.Stop()
			}
		})
		b.Run(name+"/franz-go", func(b *testing.B) {
			for range b.N {
				topic := prepare(b)
				measure(b, func() {
					cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr()), kgo.ConsumeTopics(topic),
						kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
					if err != nil {
						b.Fatal(err)
					}
					defer cl.Close()
					n, bytes := 0, 0
					for n < total {
						cl.PollFetches(context.Background()).EachRecord(func(r *kgo.Record) {
							n++
							bytes += len(r.Value)
						})
					}
				})
			}
		})
	}
}
