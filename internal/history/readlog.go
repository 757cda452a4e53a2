package history

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ReadLog loads the truth of whole topics from a Kafka, a real one or kfake,
// with a consumer that is not the one under test. identify tells what a record
// is and its [Sum]; records for which it says false are left out. A record of a
// transaction without a marker counts as aborted. Topics with cleanup.policy
// compact are marked as compacted.
//
// It fails if the end of a partition is not reached before ctx ends.
func (h *History) ReadLog(ctx context.Context, brokers []string, identify func(*kgo.Record) (Value, uint32, bool), topics ...string) error {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		// Markers say which transactions are committed, and may stand at the end.
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return fmt.Errorf("making a Kafka client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	start, errStart := adm.ListStartOffsets(ctx, topics...)
	end, errEnd := adm.ListEndOffsets(ctx, topics...)
	if err := errors.Join(errStart, errEnd, start.Error(), end.Error()); err != nil {
		return fmt.Errorf("looking up where logs begin and end: %w", err)
	}
	configs, err := adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return fmt.Errorf("looking up the configuration of topics: %w", err)
	}
	compacted := map[string]bool{}
	for _, c := range configs {
		for _, entry := range c.Configs {
			if entry.Key == "cleanup.policy" && entry.MaybeValue() != "delete" {
				compacted[c.Name] = true
			}
		}
	}
	from := map[string]map[int32]kgo.Offset{}
	logs := map[place]*logReader{}
	end.Each(func(o kadm.ListedOffset) {
		first, _ := start.Lookup(o.Topic, o.Partition)
		at := place{o.Topic, o.Partition}
		logs[at] = &logReader{
			log:  Log{Topic: o.Topic, Partition: o.Partition, Start: first.Offset, End: o.Offset, Compacted: compacted[o.Topic]},
			open: map[int64][]int{},
		}
		if first.Offset == o.Offset {
			return
		}
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition] = kgo.NewOffset().At(first.Offset)
	})
	if err := readAll(ctx, cl, from, logs, identify); err != nil {
		return err
	}
	for _, l := range logs {
		h.SetLog(l.log)
	}
	return nil
}

// readAll reads each partition to its end.
func readAll(ctx context.Context, cl *kgo.Client, from map[string]map[int32]kgo.Offset, logs map[place]*logReader,
	identify func(*kgo.Record) (Value, uint32, bool),
) error {
	left := 0
	for _, partitions := range from {
		left += len(partitions)
	}
	cl.AddConsumePartitions(from)
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading logs, %d partitions are not read to their end: %w", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			l := logs[place{r.Topic, r.Partition}]
			if r.Offset >= l.log.End {
				return // written after the end was looked up
			}
			if r.Offset == l.log.End-1 {
				left--
			}
			l.add(r, identify)
		})
	}
	return nil
}

// logReader is a log while it is read.
type logReader struct {
	log Log
	// open are the records of each producer's transaction, by index.
	open map[int64][]int
}

func (l *logReader) add(r *kgo.Record, identify func(*kgo.Record) (Value, uint32, bool)) {
	if r.Attrs.IsControl() {
		// The key of a marker is a version and a type, 1 for commit (KIP-98).
		if len(r.Key) >= 4 && binary.BigEndian.Uint16(r.Key[2:]) == 1 {
			for _, i := range l.open[r.ProducerID] {
				l.log.Records[i].Aborted = false
			}
		}
		delete(l.open, r.ProducerID)
		return
	}
	v, sum, ok := identify(r)
	if !ok {
		return
	}
	tx := r.Attrs.IsTransactional()
	if tx {
		l.open[r.ProducerID] = append(l.open[r.ProducerID], len(l.log.Records))
	}
	l.log.Records = append(l.log.Records, LogRecord{Offset: r.Offset, Value: v, Sum: sum, Aborted: tx})
}
