package kafka

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

// BenchmarkIdleMembers tells what a member of a group costs that holds a
// partition and gets nothing: memory, goroutines and the time that they take.
func BenchmarkIdleMembers(b *testing.B) {
	const members = 200
	k := kafkatest.Start(b)
	c, err := New(Config{Brokers: []string{k.Addr()}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	k.CreateTopic(b, "idle", 1, nil)
	for b.Loop() {
		warm := idleMember(b, c, "warm")
		heap, goroutines := inUse()
		var all []record.Member
		begun := time.Now()
		for i := range members {
			all = append(all, idleMember(b, c, fmt.Sprint("g", i)))
		}
		b.ReportMetric(float64(time.Since(begun).Milliseconds())/members, "ms/join")
		with, more := inUse()
		b.ReportMetric(float64(with-heap)/members, "B/member")
		b.ReportMetric(float64(more-goroutines)/members, "goroutines/member")
		self := processTime(b, "self")
		time.Sleep(10 * time.Second)
		b.ReportMetric((processTime(b, "self")-self).Seconds()*1e6/10/members, "cpu-us/member/s")
		for _, m := range append(all, warm) {
			m.Leave(b.Context())
		}
	}
}

// idleMember makes a member that holds the partition of a group of its own.
func idleMember(b *testing.B, c *Cluster, group string) record.Member {
	b.Helper()
	m := c.Groups(true).Join(record.Membership{Group: group, Topics: []string{"idle"}})
	if ev, err := m.Next(b.Context()); err != nil {
		b.Fatal(err)
	} else if a, ok := ev.(record.GroupAssigned); !ok || len(a.Next) != 1 {
		b.Fatalf("%+v", ev)
	}
	return m
}

// inUse returns the bytes that the heap and the stacks take, and the number of
// goroutines.
func inUse() (uint64, int) {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc + s.StackInuse, runtime.NumGoroutine()
}

// BenchmarkMemberReads tells how fast one member gets what is there, in records
// of 100 bytes.
func BenchmarkMemberReads(b *testing.B) {
	const partitions, each = 8, 100_000
	k := kafkatest.Start(b)
	k.CreateTopic(b, "full", partitions, nil)
	value := make([]byte, 100)
	for p := range int32(partitions) {
		records := make([]*kgo.Record, each)
		for i := range records {
			records[i] = &kgo.Record{Value: value}
		}
		k.ProduceTo(b, "full", p, records...)
	}
	c, err := New(Config{Brokers: []string{k.Addr()}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	n := 0
	for b.Loop() {
		n++
		m := c.Groups(true).Join(record.Membership{Group: fmt.Sprint("g", n), Topics: []string{"full"}, Start: record.Start{Kind: record.StartEarliest}})
		begun := time.Now()
		var first time.Time
		for got := 0; got < partitions*each; {
			ev, err := m.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			switch ev := ev.(type) {
			case record.GroupAssigned:
				first = time.Now()
			case record.GroupRecords:
				got += len(ev.Batch.Records)
				m.Done(ev.Topic, ev.Batch.Partition, ev.Batch.Next)
			}
		}
		b.ReportMetric(first.Sub(begun).Seconds()*1000, "ms-to-join")
		b.ReportMetric(partitions*each/time.Since(first).Seconds(), "records/s")
		m.Leave(b.Context())
	}
}
