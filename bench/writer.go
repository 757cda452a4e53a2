package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// writer writes numbered records to all partitions of its topics in turn.
type writer struct {
	cl         *kgo.Client
	topics     []string
	partitions int
	valueSize  int
	total      int     // records
	written    []int64 // by stream: the partitions of the first topic, of the second, and so on
	failed     atomic.Pointer[error]
}

// newWriter makes the load's topics, whose names begin alike, and what writes to
// them.
func newWriter(ctx context.Context, brokers, name string, l load) (*writer, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(brokers),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(max(l.records, 10_000)),
		kgo.ProducerLinger(0),
		// New topics take a while to be known, more of them longer.
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.UnknownTopicRetries(100),
	}
	if l.batch > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(l.batch), kgo.ProducerBatchCompression(kgo.NoCompression()))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	w := &writer{cl: cl, topics: []string{name}, partitions: l.partitions, valueSize: l.size, written: make([]int64, l.streams())}
	for i := 1; i < l.topics; i++ {
		w.topics = append(w.topics, fmt.Sprintf("%s-%d", name, i))
	}
	if err := w.makeTopics(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("making the topic: %w", err)
	}
	return w, nil
}

// makeTopics makes the topics and waits until their leaders answer, so that no
// target has to.
func (w *writer) makeTopics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	admin := kadm.NewClient(w.cl)
	resp, err := admin.CreateTopics(ctx, int32(w.partitions), 1, nil, w.topics...)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return err
	}
	for {
		ends, err := admin.ListEndOffsets(ctx, w.topics...)
		if err == nil {
			err = ends.Error()
		}
		known := 0
		ends.Each(func(kadm.ListedOffset) { known++ })
		if err == nil && known == len(w.written) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d partitions have leaders: %w", known, len(w.written), errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// write writes the next record and does not wait.
func (w *writer) write(ctx context.Context) {
	w.writeTo(ctx, w.total%len(w.written))
}

// writeTo writes a record of a stream and does not wait.
func (w *writer) writeTo(ctx context.Context, stream int) {
	number := int(w.written[stream])
	w.written[stream]++
	w.total++
	w.cl.Produce(ctx, &kgo.Record{
		Topic: w.topics[stream/w.partitions], Partition: int32(stream % w.partitions),
		Value: newValue(w.valueSize, stream, number, time.Now().UnixMicro()),
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

// until writes records at a rate per second until it is stopped, and returns when
// Kafka has all.
func (w *writer) until(ctx context.Context, stop <-chan struct{}, rate int) error {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return w.flush(ctx)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			w.write(ctx)
		}
	}
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
		return fmt.Errorf("writing records: %w", err)
	}
	if err := w.failed.Load(); err != nil {
		return fmt.Errorf("writing records: %w", *err)
	}
	return nil
}

// close removes the topics, so that a later run does not share the disk's cache
// with them.
func (w *writer) close(ctx context.Context) error {
	defer w.cl.Close()
	resp, err := kadm.NewClient(w.cl).DeleteTopics(ctx, w.topics...)
	if err == nil {
		err = resp.Error()
	}
	return err
}
