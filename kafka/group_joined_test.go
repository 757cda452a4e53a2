package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kafkaws/kafkaws/record"
)

// joined is a member whose events are kept, after what always holds of them was
// checked.
type joined struct {
	t *testing.T
	record.Member
	name string
	// onRecords is called with each run of records, if it is set.
	onRecords func(record.GroupRecords)

	mu      sync.Mutex
	changed chan struct{}
	next    map[topicPartition]int64 // of what is held
	starts  map[topicPartition]int64 // where what is held began
	joins   int
	lost    []record.GroupLoss
	missing []string
	revoked int
	failed  error
	values  map[topicPartition][]string
	over    error // what Next returned at the end
}

// join makes a member, and reads its events until it has left. With a gate it
// waits before each call to Next until it can receive.
func join(t *testing.T, c *Cluster, spec record.Membership, adjust ...func(*joined)) *joined {
	t.Helper()
	j := joinIdle(t, c, spec)
	for _, a := range adjust {
		a(j)
	}
	go j.read()
	return j
}

// joinIdle makes a member whose Next is not called.
func joinIdle(t *testing.T, c *Cluster, spec record.Membership) *joined {
	j := &joined{
		t: t, name: spec.ClientID, changed: make(chan struct{}), next: map[topicPartition]int64{},
		starts: map[topicPartition]int64{}, values: map[topicPartition][]string{},
	}
	j.Member = c.Groups(true).Join(spec)
	t.Cleanup(func() { j.leave() })
	return j
}

func (j *joined) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	j.Leave(ctx)
	if ctx.Err() != nil {
		j.t.Errorf("%s could not leave in time", j.name)
	}
}

func (j *joined) read() {
	for {
		ev, err := j.Next(context.Background())
		if err != nil {
			j.mu.Lock()
			j.over = err
			j.note()
			j.mu.Unlock()
			return
		}
		j.take(ev)
		if r, ok := ev.(record.GroupRecords); ok && j.onRecords != nil {
			j.onRecords(r)
		}
	}
}

func (j *joined) note() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// take checks an event and keeps it.
func (j *joined) take(ev record.GroupEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.note()
	switch ev := ev.(type) {
	case record.GroupAssigned:
		j.joins++
		for topic, partitions := range ev.Next {
			for id, next := range partitions {
				key := topicPartition{topic, id}
				if _, held := j.next[key]; held {
					j.t.Errorf("%s: %v was assigned twice", j.name, key)
				}
				j.next[key], j.starts[key] = next, next
			}
		}
		n := 0
		for topic, partitions := range ev.Partitions {
			if !slices.IsSorted(partitions) {
				j.t.Errorf("%s: not in order: %v", j.name, partitions)
			}
			for _, id := range partitions {
				n++
				if _, held := j.next[topicPartition{topic, id}]; !held {
					j.t.Errorf("%s: %s/%d is held without having been assigned", j.name, topic, id)
				}
			}
		}
		if n != len(j.next) {
			j.t.Errorf("%s: told of %d partitions, and holds %d", j.name, n, len(j.next))
		}
	case record.GroupRevoked:
		j.revoked++
		for topic, partitions := range ev.Partitions {
			for _, id := range partitions {
				key := topicPartition{topic, id}
				if _, held := j.next[key]; !held {
					j.t.Errorf("%s: %v was revoked and not held", j.name, key)
				}
				delete(j.next, key)
				delete(j.starts, key)
			}
		}
	case record.GroupRecords:
		key := topicPartition{ev.Topic, ev.Batch.Partition}
		next, held := j.next[key]
		if !held {
			j.t.Errorf("%s: records of %v, which is not held", j.name, key)
		}
		size := 0
		for i := range ev.Batch.Records {
			r := &ev.Batch.Records[i]
			if r.Offset < next || r.Partition != key.id || r.Topic != key.topic {
				j.t.Errorf("%s: %v: offset %d of %s/%d came when %d was next", j.name, key, r.Offset, r.Topic, r.Partition, next)
			}
			next = r.Offset + 1
			size += r.Size()
			j.values[key] = append(j.values[key], string(r.Value))
		}
		if ev.Batch.Next < next || size > eventBytes && len(ev.Batch.Records) > 1 {
			j.t.Errorf("%s: %v: a batch of %d bytes whose next is %d after offset %d", j.name, key, size, ev.Batch.Next, next-1)
		}
		j.next[key] = ev.Batch.Next
	case record.GroupLoss:
		key := topicPartition{ev.Topic, ev.Loss.Partition}
		if next, held := j.next[key]; !held || next != ev.Loss.From {
			j.t.Errorf("%s: loss %+v when %d was next (%v)", j.name, ev, next, held)
		}
		j.next[key] = ev.Loss.Next
		j.lost = append(j.lost, ev)
	case record.GroupMissing:
		j.missing = append(j.missing, ev.Topic)
	case record.GroupFailed:
		j.failed = ev.Err
	}
}

// until waits until ok holds, which is asked with the lock held.
func (j *joined) until(what string, ok func() bool) {
	j.t.Helper()
	timeout := time.After(3 * patience)
	for {
		j.mu.Lock()
		done, changed := ok(), j.changed
		j.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			j.mu.Lock()
			defer j.mu.Unlock()
			j.t.Fatalf("%s: waiting for %s: joins %d, next %v, revoked %d, lost %v, missing %v, failed %v",
				j.name, what, j.joins, j.next, j.revoked, j.lost, j.missing, j.failed)
		}
	}
}

func (j *joined) holds(n int) {
	j.t.Helper()
	j.until(fmt.Sprintf("%d partitions", n), func() bool { return len(j.next) == n && j.joins > 0 })
}

// wants waits for the values of a partition, and no others.
func (j *joined) wants(topic string, partition int32, values ...string) {
	j.t.Helper()
	key := topicPartition{topic, partition}
	j.until(fmt.Sprintf("%d records of %v", len(values), key), func() bool { return len(j.values[key]) >= len(values) })
	j.mu.Lock()
	defer j.mu.Unlock()
	if got := j.values[key]; !slices.Equal(got, values) {
		j.t.Fatalf("%s: %v:\n got %s\nwant %s", j.name, key, brief(got), brief(values))
	}
}

// at waits until everything before an offset was delivered.
func (j *joined) at(topic string, partition int32, next int64) {
	j.t.Helper()
	key := topicPartition{topic, partition}
	j.until(fmt.Sprintf("%v at %d", key, next), func() bool { return j.next[key] >= next })
}

// commit commits one position.
func (j *joined) commit(topic string, partition int32, next int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return j.Commit(ctx, map[string]map[int32]int64{topic: {partition: next}})
}

// committed returns what the group has committed, by partition.
func committed(t *testing.T, f *kfake.Cluster, group, topic string) map[int32]int64 {
	t.Helper()
	adm := kadm.NewClient(kclient(t, f))
	all, err := adm.FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int32]int64{}
	all.Each(func(o kadm.OffsetResponse) {
		if o.Topic == topic {
			got[o.Partition] = o.At
		}
	})
	return got
}

// lively has groups notice soon what is going on.
func lively(tm *timings) {
	quick(tm)
	tm.heartbeat = 50 * time.Millisecond
}

func group(topics ...string) record.Membership {
	return record.Membership{Group: "g", Topics: topics, Start: record.Start{Kind: record.StartEarliest}, CommitInterval: 20 * time.Millisecond}
}

func calling(spec record.Membership, name string) record.Membership {
	spec.ClientID = name
	return spec
}
