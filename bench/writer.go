package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// writer writes numbered records to the partitions of a topic in turn.
type writer struct {
	cl         *kgo.Client
	topic      string
	partitions int
	valueSize  int
	written    int
	failed     atomic.Pointer[error]
}

// newWriter makes the topic and what writes to it.
func newWriter(ctx context.Context, brokers, topic string, o *options) (*writer, error) {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(brokers),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(max(o.records, 10_000)),
		kgo.ProducerLinger(0),
		kgo.MetadataMinAge(100*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	resp, err := kadm.NewClient(cl).CreateTopic(ctx, int32(o.partitions), 1, nil, topic)
	if err == nil {
		err = resp.Err
	}
	if err != nil {
		cl.Close()
		return nil, err
	}
	return &writer{cl: cl, topic: topic, partitions: o.partitions, valueSize: o.size}, nil
}

// write writes one record and does not wait.
func (w *writer) write(ctx context.Context) {
	partition, number := w.written%w.partitions, w.written/w.partitions
	w.written++
	w.cl.Produce(ctx, &kgo.Record{
		Topic: w.topic, Partition: int32(partition),
		Value: newValue(w.valueSize, partition, number, time.Now().UnixMicro()),
	}, func(_ *kgo.Record, err error) {
		if err != nil {
			w.failed.Store(&err)
		}
	})
}

// paced writes n records at a rate per second, each when it is due, and returns
// when Kafka has all.
func (w *writer) paced(ctx context.Context, n, rate int) error {
	start := time.Now()
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		w.write(ctx)
	}
	return w.flush(ctx)
}

// burst writes n records at once and returns when Kafka has all.
func (w *writer) burst(ctx context.Context, n int) error {
	for range n {
		w.write(ctx)
	}
	return w.flush(ctx)
}

func (w *writer) flush(ctx context.Context) error {
	if err := w.cl.Flush(ctx); err != nil {
		return err
	}
	if err := w.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// close removes the topic, so that a later run does not share the disk's cache
// with it.
func (w *writer) close(ctx context.Context) error {
	defer w.cl.Close()
	_, err := kadm.NewClient(w.cl).DeleteTopic(ctx, w.topic)
	return err
}
