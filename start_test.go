package kafkaws_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestStartEarliest has clients begin at the first record while more come in:
// each gets every record once, in order per partition, and then goes on live.
func TestStartEarliest(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	const partitions, before, during = 4, 20_000, 4_000
	broker.CreateTopic(t, topic, partitions, nil)
	produce := func(from, n int) {
		records := make([]*kgo.Record, 0, n)
		for i := from; i < from+n; i++ {
			records = append(records, kgo.StringRecord(fmt.Sprintf(`{"partition":%d,"n":%d}`, i%partitions, i/partitions)))
			records[len(records)-1].Partition = int32(i % partitions)
		}
		byPartition := map[int32][]*kgo.Record{}
		for _, r := range records {
			byPartition[r.Partition] = append(byPartition[r.Partition], r)
		}
		for p, rs := range byPartition {
			broker.ProduceTo(t, topic, p, rs...)
		}
	}
	produce(0, before)
	s := startSite(t, broker.Addr(), open+"start earliest\n")

	read := func(c *client, n int) error {
		var next [partitions]int
		for range n {
			_, p, err := c.ReadMessage()
			if err != nil {
				return err
			}
			var outer struct{ Message string }
			var inner struct{ Partition, N int }
			if err := json.Unmarshal(p, &outer); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(outer.Message), &inner); err != nil {
				return err
			}
			if inner.N != next[inner.Partition] {
				return fmt.Errorf("partition %d: got record %d, want %d", inner.Partition, inner.N, next[inner.Partition])
			}
			next[inner.Partition]++
		}
		return nil
	}
	var wg sync.WaitGroup
	for range 5 {
		c := s.dial("topics=" + topic)
		wg.Go(func() {
			if err := read(c, before+during); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 10 {
		produce(before+i*during/10, during/10)
	}
	wg.Wait()

	t.Run("topic that does not exist yet", func(t *testing.T) {
		topic := kafkatest.Topic(t)
		c := s.dial("topics=" + topic)
		broker.CreateTopic(t, topic, 1, nil)
		broker.Produce(t, topic, kafkatest.KV("", "first"))
		c.expect(`{"topic":"` + topic + `","message":"first"}`)
	})
}
