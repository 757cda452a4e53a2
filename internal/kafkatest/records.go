package kafkatest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KV makes a record of a key and a value. An empty key is no key.
func KV(key, value string) *kgo.Record {
	r := &kgo.Record{Value: []byte(value)}
	if key != "" {
		r.Key = []byte(key)
	}
	return r
}

// Produce writes records to a topic in their order and returns when Kafka has
// acknowledged all. A key decides on the partition as it does for Java's
// clients. Afterwards the records hold their partitions and offsets.
func (b *Broker) Produce(t testing.TB, topic string, records ...*kgo.Record) {
	t.Helper()
	b.do(t, "producing to "+topic, func(ctx context.Context) error {
		_, err := b.produce(ctx, topic, records...)
		return err
	})
}

// ProduceTo is [Broker.Produce] to one partition.
func (b *Broker) ProduceTo(t testing.TB, topic string, partition int32, records ...*kgo.Record) {
	t.Helper()
	b.do(t, "producing to "+topic, func(ctx context.Context) error {
		for _, r := range records {
			r.Partition = partition
		}
		return b.produceWith(ctx, topic, records, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	})
}

// ReadAll returns all records that a topic holds now, by partition and offset.
// Those of open and aborted transactions are among them.
func (b *Broker) ReadAll(t testing.TB, topic string) []*kgo.Record {
	t.Helper()
	var records []*kgo.Record
	b.do(t, "reading "+topic, func(ctx context.Context) error {
		var err error
		records, err = b.readAll(ctx, topic)
		return err
	})
	return records
}

func (b *Broker) produce(ctx context.Context, topic string, records ...*kgo.Record) ([]*kgo.Record, error) {
	return records, b.produceWith(ctx, topic, records)
}

func (b *Broker) produceWith(ctx context.Context, topic string, records []*kgo.Record, opts ...kgo.Opt) error {
	for _, r := range records {
		r.Topic = topic
	}
	opts = append(opts, kgo.ProducerBatchMaxBytes(16<<20))
	cl, err := b.producer(ctx, opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.ProduceSync(ctx, records...).FirstErr()
}

// producer makes a client that writes each record once where that can be had: a
// node that has no producer ids left gets none while the controller is away, and
// must not keep a test from writing to partitions that have a leader.
func (b *Broker) producer(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	cl, err := b.client(opts...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout/6)
	defer cancel()
	if _, _, err := cl.ProducerID(ctx); err == nil {
		return cl, nil
	}
	cl.Close()
	return b.client(append(opts, kgo.DisableIdempotentWrite())...)
}

func (b *Broker) readAll(ctx context.Context, topic string) ([]*kgo.Record, error) {
	start, end, err := b.offsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	left := 0 // partitions that are not read to their end
	from := map[int32]kgo.Offset{}
	end.Each(func(o kadm.ListedOffset) {
		first, _ := start.Lookup(topic, o.Partition)
		if first.Offset < o.Offset {
			from[o.Partition] = kgo.NewOffset().At(first.Offset)
			left++
		}
	})
	if left == 0 {
		return nil, nil
	}
	cl, err := b.client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		// A transaction's marker may be what stands at the end.
		kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(64<<20),
	)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var all []*kgo.Record
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("%d partitions are not read to their end: %w", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			last, _ := end.Lookup(topic, r.Partition)
			if r.Offset >= last.Offset {
				return // written after this read began
			}
			if r.Offset == last.Offset-1 {
				left--
			}
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
		})
	}
	slices.SortFunc(all, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return all, nil
}

// offsets looks up where each partition of a topic begins and ends.
func (b *Broker) offsets(ctx context.Context, topic string) (start, end kadm.ListedOffsets, err error) {
	err = b.admin(func(adm *kadm.Client) error {
		var errStart, errEnd error
		start, errStart = adm.ListStartOffsets(ctx, topic)
		end, errEnd = adm.ListEndOffsets(ctx, topic)
		return errors.Join(errStart, errEnd, start.Error(), end.Error())
	})
	return start, end, err
}
