package kafka

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kafkaws/kafkaws/record"
)

// BenchmarkPublish writes records of 200 bytes with a key from 20 goroutines, each
// with at most 256 unacknowledged. kfake, in the same process, is part of what is
// measured, and the same for both producers. Divide by the records: an operation
// is one record.
func BenchmarkPublish(b *testing.B) {
	type closer interface {
		record.Producer
		Close(context.Context) error
	}
	for _, bench := range []struct {
		name string
		open func(addrs []string) (closer, func())
	}{
		{"own", func(addrs []string) (closer, func()) {
			c, err := New(Config{Brokers: addrs})
			if err != nil {
				b.Fatal(err)
			}
			return c.NewProducer(ProducerConfig{}), c.Close
		}},
		{"async", func(addrs []string) (closer, func()) { return newAsyncOracle(b, addrs, nil), func() {} }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			const writers, window, partitions = 20, 256, 4
			f, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "a"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			p, end := bench.open(f.ListenAddrs())
			defer end()
			value := make([]byte, 200)
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					room := make(chan struct{}, window)
					done := func(o record.Outcome) {
						if o.Err != nil {
							b.Error(o.Err)
						}
						<-room
					}
					// Each of a window's records is free again when its turn comes.
					records := make([]record.Record, window)
					for i := range records {
						key := strconv.AppendInt(nil, int64(w*window+i), 10)
						records[i] = record.Record{Topic: "a", Partition: partitionOf(key, partitions), Key: key, Value: value}
					}
					for i := w; i < b.N; i += writers {
						room <- struct{}{}
						if err := p.Publish(b.Context(), &records[i/writers%window], done); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			if err := p.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
