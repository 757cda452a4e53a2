package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// asyncOracle writes through sarama's own producer, idempotently, which the package's
// is compared with.
type asyncOracle struct {
	async  sarama.AsyncProducer
	answer sync.WaitGroup
}

func newAsyncOracle(tb testing.TB, addrs []string, adjust func(*sarama.Config)) *asyncOracle {
	tb.Helper()
	conf := Config{Brokers: addrs}.sarama(sarama.MaxVersion)
	conf.Net.ReadTimeout = bulkTimeout
	conf.Metadata.Retry.Max = 60
	conf.Producer.Idempotent = true
	conf.Producer.RequiredAcks = sarama.WaitForAll
	conf.Producer.Retry.Max = 60
	conf.Producer.Retry.Backoff = 50 * time.Millisecond
	conf.Producer.Return.Successes = true
	conf.Producer.Partitioner = sarama.NewManualPartitioner
	if adjust != nil {
		adjust(conf)
	}
	async, err := sarama.NewAsyncProducer(addrs, conf)
	if err != nil {
		tb.Fatal(err)
	}
	p := &asyncOracle{async: async}
	p.answer.Go(func() {
		for m := range async.Successes() {
			m.Metadata.(func(record.Outcome))(record.Outcome{Partition: m.Partition, Offset: m.Offset})
		}
	})
	p.answer.Go(func() {
		for f := range async.Errors() {
			f.Msg.Metadata.(func(record.Outcome))(record.Outcome{
				Partition: f.Msg.Partition, Offset: -1, Err: errors.Join(record.ErrUnknownOutcome, f.Err),
			})
		}
	})
	return p
}

// Publish implements record.Producer, for records that name their partition.
func (p *asyncOracle) Publish(_ context.Context, r *record.Record, done func(record.Outcome)) error {
	if r.Partition < 0 {
		return fmt.Errorf("the partition %d is none", r.Partition)
	}
	p.async.Input() <- &sarama.ProducerMessage{
		Topic: r.Topic, Partition: r.Partition, Key: bytesOf(r.Key), Value: bytesOf(r.Value), Metadata: done, Offset: -1,
	}
	return nil
}

func bytesOf(b []byte) sarama.Encoder {
	if b == nil {
		return nil
	}
	return sarama.ByteEncoder(b)
}

// Close writes what is left, and waits for it.
func (p *asyncOracle) Close(context.Context) error {
	p.async.AsyncClose()
	p.answer.Wait()
	return nil
}
