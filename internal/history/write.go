package history

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Write writes n records to the partitions of a topic in turn, about so many a second,
// and notes them as those of a producer with the number 1. Sums of what they hold are
// not noted. It returns when Kafka has them all.
func (h *History) Write(brokers []string, topic string, partitions int32, n, perSecond int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return fmt.Errorf("making a Kafka client: %w", err)
	}
	defer cl.Close()
	p := h.Producer("producer")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		if i%(perSecond/50) == 0 {
			<-tick.C
		}
		v := ID(1, uint32(i))
		r := &kgo.Record{Topic: topic, Partition: int32(i) % partitions, Value: []byte(v.String())}
		sent := p.Send(v, topic, r.Partition, 0)
		cl.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			if err == nil {
				sent.Acked(r.Partition, r.Offset)
			}
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		return fmt.Errorf("writing records: %w", err)
	}
	return nil
}
