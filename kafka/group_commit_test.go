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

func TestCommitsOfAGroup(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"), kfake.NumBrokers(3))
	put(t, kclient(t, f), "a", 0, numbered("v", 0, 20)...)
	spec := group("a")
	spec.CommitInterval = time.Hour // what is told is what Commit itself was answered
	j := join(t, newCluster(t, f, lively), spec)
	j.at("a", 0, 20)
	next := int64(0)
	for _, code := range []*kerr.Error{
		kerr.RebalanceInProgress, kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.RequestTimedOut,
	} {
		next++
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: code, Count: 2})
		if err := j.commit("a", 0, next); err != nil {
			t.Fatalf("%s: %v", code.Message, err)
		}
		if got := committed(t, f, "g", "a")[0]; got != next {
			t.Fatalf("%s: committed %d, not %d", code.Message, got, next)
		}
	}
	for code, want := range map[*kerr.Error]error{
		kerr.IllegalGeneration:        record.ErrNotAssigned,
		kerr.UnknownMemberID:          record.ErrNotAssigned,
		kerr.UnknownTopicOrPartition:  record.ErrUnknownTopic,
		kerr.GroupAuthorizationFailed: record.ErrRefused,
	} {
		next++
		fault := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: code, Count: 1})
		if err := j.commit("a", 0, next); !errors.Is(err, want) {
			t.Fatalf("%s: %v", code.Message, err)
		}
		fault.Remove()
	}
	// Without an answer it ends with its context.
	fault := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.NotCoordinator, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := j.Commit(ctx, map[string]map[int32]int64{"a": {0: 15}}); !errors.Is(err, record.ErrUnavailable) {
		t.Fatal(err)
	}
	fault.Remove()
	j.leave() // commits it after all
	if got := committed(t, f, "g", "a")[0]; got != 15 {
		t.Fatalf("committed %d", got)
	}
}

// What a Commit gave up is committed as soon as Kafka takes it, without another word
// from anybody.
func TestACommitThatWasGivenUp(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	put(t, kclient(t, f), "a", 0, "0", "1")
	j := join(t, newCluster(t, f, lively), group("a"))
	j.at("a", 0, 2)
	fault := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorNotAvailable, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := j.Commit(ctx, map[string]map[int32]int64{"a": {0: 2}}); !errors.Is(err, record.ErrUnavailable) {
		t.Fatal(err)
	}
	fault.Remove()
	j.whenLocked("the commit", func(m *member) bool { return m.parts[topicPartition{"a", 0}].committed == 2 })
	if got := committed(t, f, "g", "a")[0]; got != 2 {
		t.Errorf("committed %d", got)
	}
	if j.revoked != 0 || j.joins != 1 {
		t.Errorf("revoked %d times, assigned %d times", j.revoked, j.joins)
	}
}

// While a rebalance lasts nothing is delivered, since it may be somebody else's
// by then, and a commit waits for its end.
func TestARebalanceHoldsRecordsAndCommits(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	cl := kclient(t, f)
	put(t, cl, "a", 0, "before")
	j := joinIdle(t, newCluster(t, f, lively), group("a"))
	next := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ev, err := j.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		j.take(ev)
	}
	next() // the assignment
	next() // the record
	rejoins, release := make(chan struct{}), make(chan struct{})
	f.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(rejoins)
		f.SleepControl(func() { <-release })
		return nil, nil, false
	})
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.RebalanceInProgress, Count: 1})
	<-rejoins
	put(t, cl, "a", 0, "during")
	m := j.Member.(*member)
	for queued := false; !queued; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		queued = len(m.queue) > 0
		m.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if ev, err := j.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("came during the rebalance: %+v %v", ev, err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := j.Commit(ctx, map[string]map[int32]int64{"a": {0: 1}}); !errors.Is(err, record.ErrUnavailable) {
		t.Errorf("a commit during the rebalance: %v", err)
	}
	result := make(chan error, 1)
	go func() { result <- j.commit("a", 0, 1) }()
	close(release)
	if err := <-result; err != nil {
		t.Errorf("a commit over the rebalance: %v", err)
	}
	next()
	j.wants("a", 0, "before", "during")
	if got := committed(t, f, "g", "a")[0]; got != 1 {
		t.Errorf("committed %d", got)
	}
}
