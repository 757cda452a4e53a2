package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// hear takes the next event that one of the member's methods brings.
func hear[E record.GroupEvent](j *joined, next func(context.Context) (record.GroupEvent, error)) E {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(j.t.Context(), patience)
	defer cancel()
	ev, err := next(ctx)
	if err != nil {
		j.t.Fatal(err)
	}
	j.take(ev)
	e, ok := ev.(E)
	if !ok {
		j.t.Fatalf("came: %+v", ev)
	}
	return e
}

// whenLocked waits until ok holds, which is asked with the member's lock held.
func (j *joined) whenLocked(what string, ok func(*member) bool) {
	j.t.Helper()
	m := j.Member.(*member)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		done := ok(m)
		m.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			j.t.Fatalf("waiting for %s", what)
		}
	}
}

// Who takes no records hears all the same that partitions were taken. Those that are
// kept bring theirs later.
func TestChangesOvertakeRecords(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	cl := kclient(t, f)
	for p := range int32(2) {
		put(t, cl, "a", p, "0", "1", "2")
	}
	j := joinIdle(t, newCluster(t, f, lively), calling(group("a"), "idle"))
	if got := hear[record.GroupAssigned](j, j.NextChange); len(got.Next["a"]) != 2 {
		t.Fatalf("assigned: %+v", got)
	}
	j.whenLocked("records of both", func(m *member) bool { return len(m.queue) == 2 })
	other := join(t, newCluster(t, f, lively), calling(group("a"), "other"))
	lost := hear[record.GroupRevoked](j, j.NextChange).Partitions["a"]
	if len(lost) != 1 {
		t.Fatalf("revoked: %v", lost)
	}
	other.wants("a", lost[0], "0", "1", "2")
	if got := hear[record.GroupRecords](j, j.Next); got.Batch.Partition == lost[0] {
		t.Errorf("records of what was lost: %+v", got)
	}
	j.wants("a", 1-lost[0], "0", "1", "2")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if ev, err := j.NextChange(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("came: %+v %v", ev, err)
	}
	j.leave()
	if ev, err := j.NextChange(t.Context()); !errors.Is(err, record.ErrClosed) {
		t.Errorf("came: %+v %v", ev, err)
	}
}

// What a member was given before it lost a partition and got it again is not its own
// any more, also before it has heard of that.
func TestAPartitionThatComesBackUnheard(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	put(t, kclient(t, f), "a", 0, "0", "1", "2")
	j := joinIdle(t, newCluster(t, f, lively), group("a"))
	hear[record.GroupAssigned](j, j.Next)
	hear[record.GroupRecords](j, j.Next)
	if err := j.commit("a", 0, 1); err != nil {
		t.Fatal(err)
	}
	key := topicPartition{"a", 0}
	m := j.Member.(*member)
	m.mu.Lock()
	old := m.parts[key]
	m.mu.Unlock()
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1})
	j.whenLocked("the partition", func(m *member) bool { h := m.parts[key]; return h != nil && h != old && h.announced })
	for _, next := range []int64{1, 3} {
		if err := j.commit("a", 0, next); !errors.Is(err, record.ErrNotAssigned) {
			t.Errorf("committing %d: %v", next, err)
		}
	}
	if err := j.Rewind("a", 0, 0, 0); !errors.Is(err, record.ErrNotAssigned) {
		t.Errorf("rewinding: %v", err)
	}
	hear[record.GroupRevoked](j, j.NextChange)
	hear[record.GroupAssigned](j, j.NextChange)
	if got := hear[record.GroupRecords](j, j.Next); got.Batch.Records[0].Offset != 1 {
		t.Errorf("came: %+v", got)
	}
	if err := j.commit("a", 0, 3); err != nil {
		t.Error(err)
	}
}
