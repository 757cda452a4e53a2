package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// verify reads the topic from its first record to as many as were published, and
// adds to the verdict what is not there, is there twice, or is in another order
// than it was published in. Records of one publisher with one key are in one
// partition.
func (r *run) verify(ctx context.Context, all []*publisher) error {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(r.kafka.addr),
		kgo.ConsumeTopics(r.writer.topics[0]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	left := 0
	for _, p := range all {
		left += p.published
	}
	log := newPublishedLog(all)
	for left > 0 {
		pollCtx, cancel := context.WithTimeout(ctx, patience)
		fetches := cl.PollFetches(pollCtx)
		cancel()
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading what was published, with %d records left: %w", left, err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			left--
			if err == nil {
				err = log.take(record)
			}
		})
		if err != nil {
			return fmt.Errorf("what was published: %w", err)
		}
	}
	r.verdict.add(log.verdict())
	return nil
}

// publishedLog is what was found of what was published.
type publishedLog struct {
	seen       [][]bool         // by publisher and number
	last       map[[2]int]int64 // by publisher and partition
	partitions map[string]int32 // by key
	bad        verdict
}

func newPublishedLog(all []*publisher) *publishedLog {
	l := &publishedLog{last: map[[2]int]int64{}, partitions: map[string]int32{}}
	for _, p := range all {
		l.seen = append(l.seen, make([]bool, p.published))
	}
	return l
}

// take takes the next record of a partition.
func (l *publishedLog) take(r *kgo.Record) error {
	publisher, number, _, err := parseValue(r.Value)
	if err != nil {
		return err
	}
	if publisher >= len(l.seen) || number >= int64(len(l.seen[publisher])) {
		return fmt.Errorf("record %d of publisher %d was never published", number, publisher)
	}
	if want := publishedKey(publisher, number); string(r.Key) != want {
		return fmt.Errorf("record %d of publisher %d has the key %q, not %q", number, publisher, r.Key, want)
	}
	if p, ok := l.partitions[string(r.Key)]; ok && p != r.Partition {
		return fmt.Errorf("the key %q is in the partitions %d and %d", r.Key, p, r.Partition)
	}
	l.partitions[string(r.Key)] = r.Partition
	where := [2]int{publisher, int(r.Partition)}
	if last, ok := l.last[where]; l.seen[publisher][number] || ok && number < last {
		l.bad.Repeated++
	} else {
		l.last[where] = number
	}
	l.seen[publisher][number] = true
	return nil
}

// verdict is what was wrong when all has been taken.
func (l *publishedLog) verdict() verdict {
	for _, seen := range l.seen {
		for _, there := range seen {
			if !there {
				l.bad.Lost++
			}
		}
	}
	return l.bad
}
