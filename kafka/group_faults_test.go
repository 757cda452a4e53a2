package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// shortSession has the group give a member up soon.
func shortSession(tm *timings) {
	lively(tm)
	tm.session, tm.rebalance = 500*time.Millisecond, 2*time.Second
}

func newFakeForShortSessions(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	return newFake(t, append(opts, kfake.GroupMinSessionTimeout(100*time.Millisecond))...)
}

// A member whose socket takes nothing stays what it is for as long as it likes,
// holds little, and does not keep the others waiting.
func TestAMemberThatIsNotAskedForEvents(t *testing.T) {
	f := newFakeForShortSessions(t, kfake.SeedTopics(4, "a"))
	cl := kclient(t, f, kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := strings.Repeat("x", 10_000)
	for p := range int32(4) {
		for range 20 {
			put(t, cl, "a", p, slices.Repeat([]string{value}, 10)...) // 2 MB
		}
	}
	c := newCluster(t, f, shortSession)
	var beats atomic.Int64
	enough := make(chan struct{})
	f.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		// Three session timeouts.
		if beats.Add(1) == int64(3*c.timings.session/c.timings.heartbeat) {
			close(enough)
		}
		return nil, nil, false
	})
	idle := joinIdle(t, c, calling(group("a"), "idle"))
	select {
	case <-enough:
	case <-time.After(patience):
		t.Fatal("no heartbeats came")
	}
	info, err := f.WaitGroupStable(t.Context(), "g", 1)
	if err != nil {
		t.Fatal(err)
	}
	if info.Epoch > 1 {
		t.Errorf("the group is at generation %d", info.Epoch)
	}
	m := idle.Member.(*member)
	m.mu.Lock()
	held, bytes := len(m.parts), m.bytes
	m.mu.Unlock()
	// What was asked for before the buffer filled comes on top of it.
	if most := memberBuffer + 4*2*groupPiece; held != 4 || bytes > most || bytes < memberBuffer {
		t.Errorf("it holds %d partitions and %d bytes", held, bytes)
	}
	// Another one gets its part though the first still asks for nothing.
	begun := time.Now()
	other := join(t, newCluster(t, f, shortSession), calling(group("a"), "other"))
	other.holds(2)
	t.Logf("handed over within %v", time.Since(begun))
	// What was revoked before it was returned is not returned.
	go idle.read()
	idle.holds(2)
	idle.mu.Lock()
	kept := slices.Collect(maps.Keys(idle.next))
	idle.mu.Unlock()
	for _, key := range kept {
		idle.at("a", key.id, 200)
	}
	other.mu.Lock()
	taken := slices.Collect(maps.Keys(other.next))
	other.mu.Unlock()
	for _, key := range taken {
		other.at("a", key.id, 200)
		if n := len(idle.values[key]); n > 0 {
			t.Errorf("%d records of %v came", n, key)
		}
	}
}

// Heartbeats that are refused end the tenure: what the member holds is revoked,
// and it joins again as a new member.
func TestAMemberThatTheGroupHasForgotten(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.UnknownMemberID, kerr.IllegalGeneration} {
		f := newFake(t, kfake.SeedTopics(1, "a"))
		cl := kclient(t, f)
		put(t, cl, "a", 0, "0", "1", "2")
		j := join(t, newCluster(t, f, lively), group("a"))
		j.wants("a", 0, "0", "1", "2")
		if err := j.commit("a", 0, 1); err != nil {
			t.Fatal(err)
		}
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: code, Count: 1})
		j.wants("a", 0, "0", "1", "2", "1", "2")
		if j.revoked != 1 || j.joins != 2 {
			t.Errorf("revoked %d times, assigned %d times", j.revoked, j.joins)
		}
	}
}

// Coordinators move, connections break and leaders change while records come:
// nothing is lost, and what was committed does not come again.
func TestAGroupThroughFaults(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(6, "a"))
	cl := kclient(t, f, kgo.MetadataMinAge(20*time.Millisecond))
	var mu sync.Mutex
	seen := map[string]int{}
	acked := map[topicPartition]int64{}
	everything := make(chan struct{})
	const n = 600
	member := func(name string) {
		j := joinIdle(t, newCluster(t, f, lively), calling(group("a"), name))
		j.onRecords = func(r record.GroupRecords) {
			mu.Lock()
			for _, rec := range r.Batch.Records {
				if rec.Offset < acked[topicPartition{r.Topic, rec.Partition}] {
					t.Errorf("%s: %s came again after it was committed", name, rec.Value)
				}
				if seen[string(rec.Value)]++; seen[string(rec.Value)] == 1 && len(seen) == n {
					close(everything)
				}
			}
			mu.Unlock()
			if j.commit(r.Topic, r.Batch.Partition, r.Batch.Next) == nil {
				mu.Lock()
				key := topicPartition{r.Topic, r.Batch.Partition}
				acked[key] = max(acked[key], r.Batch.Next)
				mu.Unlock()
			}
		}
		go j.read()
	}
	member("one")
	member("two")
	for i := range n {
		put(t, cl, "a", int32(i%6), fmt.Sprint(i))
		switch i % 60 {
		case 10:
			f.RehashCoordinators()
		case 20:
			f.ShufflePartitionLeaders()
		case 30:
			// A connection is closed instead of an answer.
			f.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("closed"), true
			})
		case 40:
			f.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("closed"), true
			})
		}
	}
	select {
	case <-everything:
	case <-time.After(2 * patience):
		mu.Lock()
		t.Errorf("%d of %d records came", len(seen), n)
		mu.Unlock()
	}
}

// What is not shown moves the position all the same, and what transactions hold
// back is not passed.
func TestAGroupAndTransactions(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	txn, plain := kclient(t, f, kgo.TransactionalID("t")), kclient(t, f)
	j := join(t, newCluster(t, f, lively), group("a"))
	inTransaction(t, txn, "a", kgo.TryAbort, "bad0", "bad1")
	inTransaction(t, txn, "a", kgo.TryCommit, "good0")
	put(t, plain, "a", 0, "good1")
	inTransaction(t, txn, "a", kgo.TryAbort, "bad2")
	end := f.PartitionInfo("a", 0).HighWatermark
	j.at("a", 0, end)
	j.wants("a", 0, "good0", "good1")
	if err := j.commit("a", 0, end); err != nil {
		t.Fatal(err)
	}
	uncommitted := &joined{
		t: t, changed: make(chan struct{}), next: map[topicPartition]int64{}, starts: map[topicPartition]int64{}, values: map[topicPartition][]string{},
	}
	spec := group("a")
	spec.Group = "all"
	uncommitted.Member = newCluster(t, f, lively).Groups(false).Join(spec)
	t.Cleanup(uncommitted.leave)
	go uncommitted.read()
	uncommitted.wants("a", 0, "bad0", "bad1", "good0", "good1", "bad2")
}

// A topic that is made again is read from its first record, and commits count
// for it.
func TestAGroupWhoseTopicIsMadeAgain(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	put(t, kclient(t, f), "a", 0, "old0", "old1", "old2")
	j := join(t, newCluster(t, f, lively), group("a"))
	j.wants("a", 0, "old0", "old1", "old2")
	if err := j.commit("a", 0, 3); err != nil {
		t.Fatal(err)
	}
	if err := f.DeleteTopic("a"); err != nil {
		t.Fatal(err)
	}
	if err := f.CreateTopic("a", 1, nil); err != nil {
		t.Fatal(err)
	}
	put(t, kclient(t, f), "a", 0, "new0")
	j.wants("a", 0, "old0", "old1", "old2", "new0")
	if len(j.lost) > 1 || len(j.lost) == 1 && j.lost[0].Loss != (record.Loss{From: 3, Reason: record.LossRecreated}) {
		t.Errorf("lost %+v", j.lost)
	}
	if err := j.commit("a", 0, 1); err != nil {
		t.Fatal(err)
	}
	if got := committed(t, f, "g", "a")[0]; got != 1 {
		t.Fatalf("committed %d", got)
	}
}

// A heartbeat that is never answered is given up in time for the next one.
func TestACoordinatorThatDoesNotAnswer(t *testing.T) {
	f := newFakeForShortSessions(t, kfake.SeedTopics(1, "a"))
	cl := kclient(t, f)
	c := newCluster(t, f, func(tm *timings) {
		lively(tm)
		tm.session = 2 * time.Second
	})
	j := join(t, c, group("a"))
	j.holds(1)
	swallowed := make(chan struct{})
	var beats atomic.Int64
	again := make(chan struct{})
	f.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		switch beats.Add(1) {
		case 1:
			close(swallowed)
			return nil, nil, true
		case int64(3 * c.timings.session / c.timings.heartbeat):
			close(again)
		}
		return nil, nil, false
	})
	for _, ch := range []chan struct{}{swallowed, again} {
		select {
		case <-ch:
		case <-time.After(patience):
			t.Fatal("no heartbeats came")
		}
	}
	put(t, cl, "a", 0, "v")
	j.wants("a", 0, "v")
	if err := j.commit("a", 0, 1); err != nil {
		t.Fatal(err)
	}
	if j.revoked != 0 {
		t.Error("the partition was taken")
	}
}

// A topic that cannot be does not keep a member from the others.
func TestTopicsWithIllegalNames(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	put(t, kclient(t, f), "a", 0, "v")
	c := newCluster(t, f, lively)
	j := join(t, c, group("a", "a", "no/good"))
	j.wants("a", 0, "v")
	if !slices.Equal(j.missing, []string{"no/good"}) {
		t.Errorf("missing %v", j.missing)
	}
	k := join(t, c, group("no/good"))
	k.until("the end", func() bool { return errors.Is(k.failed, record.ErrRefused) })
}

// Whoever leaves while no coordinator answers is not kept longer than its
// context lasts.
func TestLeavingWithoutACoordinator(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	asked := make(chan struct{})
	var once sync.Once
	f.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		once.Do(func() { close(asked) })
		return nil, nil, true // never answered
	})
	j := join(t, newCluster(t, f, lively), group("a"))
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("it does not join")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	left := make(chan struct{})
	go func() {
		j.Leave(ctx)
		close(left)
	}()
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("it has not left")
	}
	noMember(t)
}

// noMember checks that nothing of any member runs, but for what is just ending.
func noMember(t *testing.T) {
	t.Helper()
	buf := make([]byte, 4<<20)
	for end := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		running := ""
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "consumerGroup") || strings.Contains(g, "(*member)") && !strings.Contains(g, "(*joined)") {
				running = g
			}
		}
		if running == "" {
			return
		}
		if time.Now().After(end) {
			t.Errorf("still running:\n%s", running)
			return
		}
	}
}

// Nothing of a member is left when it has left.
func TestAMemberThatLeaves(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(3, "a"))
	cl := kclient(t, f)
	c := newCluster(t, f, lively)
	for i := range 20 {
		put(t, cl, "a", int32(i%3), fmt.Sprint(i))
		j := join(t, c, group("a"))
		if i%2 == 0 {
			j.holds(3)
			j.at("a", int32(i%3), 1)
			j.Done("a", int32(i%3), 1)
		}
		j.leave()
		noMember(t)
		if info := f.GroupInfo("g"); info != nil && len(info.Members) > 0 {
			t.Fatalf("the group has %d members", len(info.Members))
		}
	}
}
