package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

// arrivals takes the values that a reader gets, each of which holds the time at
// which it was written.
type arrivals struct {
	mu    sync.Mutex
	n     int
	waits []time.Duration
	want  int
	done  chan struct{}
}

func (a *arrivals) expect(n int) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n, a.want, a.waits, a.done = 0, n, a.waits[:0], make(chan struct{})
	return a.done
}

func (a *arrivals) add(value []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits = append(a.waits, time.Duration(time.Now().UnixNano()-int64(binary.BigEndian.Uint64(value))))
	if a.n++; a.n == a.want {
		close(a.done)
	}
}

type arrivalSink struct {
	to      *arrivals
	started chan struct{}
	once    sync.Once
}

func (s *arrivalSink) Started(record.Started) { s.once.Do(func() { close(s.started) }) }
func (s *arrivalSink) Missing()               {}
func (s *arrivalSink) Ready() bool            { return true }
func (s *arrivalSink) Lost(record.Loss)       {}
func (s *arrivalSink) Deliver(b record.Batch) {
	for i := range b.Records {
		s.to.add(b.Records[i].Value)
	}
}

// processTime returns the CPU time that a process has used, in ticks of 10 ms.
func processTime(b *testing.B, pid string) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		b.Skip("skipped: this system does not tell the CPU time of processes as Linux does")
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	user, _ := strconv.Atoi(string(fields[11]))
	system, _ := strconv.Atoi(string(fields[12]))
	return time.Duration(user+system) * 10 * time.Millisecond
}

// brokerPID finds the broker's process by its configuration.
func brokerPID(b *testing.B, k *kafkatest.Broker) string {
	b.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range all {
		line, _ := os.ReadFile(name)
		if bytes.Contains(line, []byte(filepath.Join(filepath.Dir(k.Log()), "server.properties"))) {
			return filepath.Base(filepath.Dir(name))
		}
	}
	b.Skip("skipped: the broker's process is not to be found")
	return ""
}

// BenchmarkIdlePartitions measures what reading one busy partition costs beside
// many idle ones: with one record every 10 ms, and with a flood of them. The
// process's CPU time includes the writer's.
func BenchmarkIdlePartitions(b *testing.B) {
	k := kafkatest.Start(b, kafkatest.HeapMiB(1024), kafkatest.Property("log.index.size.max.bytes", "4096"))
	var idle []string
	for i := range 5 {
		idle = append(idle, fmt.Sprint("idle", i))
		k.CreateTopic(b, idle[i], 1000, nil)
	}
	pid := brokerPID(b, k)
	readers := map[string]func(*testing.B, []string, *arrivals){
		"ours": func(b *testing.B, topics []string, a *arrivals) {
			c, err := New(Config{Brokers: []string{k.Addr()}})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(c.Close)
			for _, topic := range topics {
				s := &arrivalSink{to: a, started: make(chan struct{})}
				c.Source(true).Read(topic, s)
				<-s.started
			}
		},
		"franz-go": func(b *testing.B, topics []string, a *arrivals) {
			cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr()), kgo.ConsumeTopics(topics...),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var polling sync.WaitGroup
			polling.Go(func() {
				for ctx.Err() == nil {
					cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { a.add(r.Value) })
				}
			})
			b.Cleanup(func() {
				cancel()
				polling.Wait()
				cl.Close()
			})
			<-time.After(3 * time.Second) // it does not tell when it has found the ends
		},
	}
	for _, name := range []string{"ours", "franz-go"} {
		for _, many := range []bool{false, true} {
			busy := fmt.Sprint("busy-", name, many)
			k.CreateTopic(b, busy, 4, nil)
			topics, total := []string{busy}, 4
			if many {
				topics, total = append(topics, idle...), 5004
			}
			b.Run(fmt.Sprintf("%s/partitions=%d", name, total), func(b *testing.B) {
				a := &arrivals{}
				readers[name](b, topics, a)
				cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr()), kgo.DefaultProduceTopic(busy), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
				if err != nil {
					b.Fatal(err)
				}
				defer cl.Close()
				send := func() {
					r := &kgo.Record{Partition: 1, Value: make([]byte, 200)}
					binary.BigEndian.PutUint64(r.Value, uint64(time.Now().UnixNano()))
					cl.Produce(b.Context(), r, nil)
				}
				measure := func(label string, records int, write func()) {
					done := a.expect(records)
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					us, them, began := processTime(b, "self"), processTime(b, pid), time.Now()
					write()
					if records > 0 {
						<-done
					}
					took := time.Since(began).Seconds()
					runtime.ReadMemStats(&after)
					b.ReportMetric(float64((processTime(b, "self")-us).Milliseconds())/took, label+"-cpu-ms/s")
					b.ReportMetric(float64((processTime(b, pid)-them).Milliseconds())/took, label+"-broker-ms/s")
					b.ReportMetric(float64(after.Mallocs-before.Mallocs)/took, label+"-allocs/s")
					if records > 0 {
						b.ReportMetric(float64(records)/took, label+"-records/s")
						slices.Sort(a.waits)
						b.ReportMetric(float64(a.waits[len(a.waits)/2].Microseconds()), label+"-p50-µs")
						b.ReportMetric(float64(a.waits[len(a.waits)*99/100].Microseconds()), label+"-p99-µs")
					}
				}
				paced := func(n int) func() {
					return func() {
						tick := time.NewTicker(10 * time.Millisecond)
						defer tick.Stop()
						for range n {
							<-tick.C
							send()
						}
					}
				}
				b.ResetTimer()
				for range b.N {
					<-time.After(3 * time.Second) // what is new is looked at more often
					measure("idle", 0, func() { <-time.After(6 * time.Second) })
					warm := a.expect(100)
					paced(100)()
					<-warm
					measure("paced", 500, paced(500))
					measure("flood", 200_000, func() {
						for range 200_000 {
							send()
						}
					})
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkNewReading measures how long it takes, on a node that reads few and
// very many partitions, until a new reading knows where it begins, and until a
// record written then is there.
func BenchmarkNewReading(b *testing.B) {
	k := kafkatest.Start(b, kafkatest.HeapMiB(1024), kafkatest.Property("log.index.size.max.bytes", "4096"))
	for i := range 5 {
		k.CreateTopic(b, fmt.Sprint("idle", i), 1000, nil)
	}
	k.CreateTopic(b, "small", 4, nil)
	k.CreateTopic(b, "new", 1, nil)
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr()), kgo.DefaultProduceTopic("new"), kgo.ProducerLinger(0))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for name, topics := range map[string][]string{
		"partitions=4": {"small"}, "partitions=5004": {"small", "idle0", "idle1", "idle2", "idle3", "idle4"},
	} {
		b.Run(name, func(b *testing.B) {
			c, err := New(Config{Brokers: []string{k.Addr()}})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			a := &arrivals{}
			for _, topic := range topics {
				s := &arrivalSink{to: a, started: make(chan struct{})}
				c.Source(true).Read(topic, s)
				<-s.started
			}
			var start, first []time.Duration
			for range b.N {
				began := time.Now()
				done := a.expect(1)
				s := &arrivalSink{to: a, started: make(chan struct{})}
				r := c.Source(true).Read("new", s)
				<-s.started
				start = append(start, time.Since(began))
				value := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
				cl.Produce(b.Context(), &kgo.Record{Value: value}, nil)
				<-done
				first = append(first, a.waits[0])
				r.Stop()
			}
			slices.Sort(start)
			slices.Sort(first)
			b.ReportMetric(float64(start[len(start)/2].Microseconds()), "start-p50-µs")
			b.ReportMetric(float64(start[len(start)*99/100].Microseconds()), "start-p99-µs")
			b.ReportMetric(float64(first[len(first)/2].Microseconds()), "record-p50-µs")
			b.ReportMetric(float64(first[len(first)*99/100].Microseconds()), "record-p99-µs")
		})
	}
}
