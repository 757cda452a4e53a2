package kafka

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

func TestAMemberReadsAndCommits(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	cl := kclient(t, f)
	put(t, cl, "a", 0, numbered("x", 0, 10)...)
	c := newCluster(t, f, lively)
	j := join(t, c, group("a"))
	j.wants("a", 0, numbered("x", 0, 10)...)
	put(t, cl, "a", 1, "y0")
	j.wants("a", 1, "y0")
	if err := j.commit("a", 0, 4); err != nil {
		t.Fatal(err)
	}
	if got := committed(t, f, "g", "a")[0]; got != 4 {
		t.Fatalf("committed %d", got)
	}
	// A smaller position is no step back, one that was not delivered no step
	// forward.
	if err := j.commit("a", 0, 2); err != nil {
		t.Fatal(err)
	}
	if err := j.commit("a", 0, 11); !errors.Is(err, record.ErrRefused) {
		t.Fatal(err)
	}
	if err := j.commit("a", 7, 1); !errors.Is(err, record.ErrNotAssigned) {
		t.Fatal(err)
	}
	j.Done("a", 0, 1)
	j.Done("a", 1, 100)
	j.Done("b", 1, 100)
	j.leave()
	if got := committed(t, f, "g", "a"); got[0] != 4 || got[1] != 1 {
		t.Fatalf("committed %v", got)
	}
	if err := j.commit("a", 0, 5); !errors.Is(err, record.ErrClosed) {
		t.Fatal(err)
	}
	j.until("the end", func() bool { return errors.Is(j.over, record.ErrClosed) })

	// Whoever comes next goes on from there.
	k := join(t, c, group("a"))
	k.wants("a", 0, numbered("x", 4, 10)...)
	put(t, cl, "a", 1, "y1")
	k.wants("a", 1, "y1")
}

func TestPartitionsStayWhereTheyCan(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(8, "a"))
	cl := kclient(t, f)
	for p := range int32(8) {
		put(t, cl, "a", p, "0", "1", "2")
	}
	c := newCluster(t, f, lively)
	first := join(t, c, calling(group("a"), "first"))
	first.holds(8)
	for p := range int32(8) {
		first.at("a", p, 3)
		if err := first.commit("a", p, 1); err != nil {
			t.Fatal(err)
		}
	}
	second := join(t, newCluster(t, f, lively), calling(group("a"), "second"))
	first.holds(4)
	second.holds(4)
	if first.joins != 1 || first.revoked != 1 {
		t.Errorf("the first was assigned to %d times, and revoked %d times", first.joins, first.revoked)
	}
	second.mu.Lock()
	moved := slices.Collect(maps.Keys(second.next))
	second.mu.Unlock()
	for _, key := range moved {
		// What was committed does not come again, what was not does.
		second.wants("a", key.id, "1", "2")
		if err := first.commit("a", key.id, 3); !errors.Is(err, record.ErrNotAssigned) {
			t.Errorf("committing what moved: %v", err)
		}
		if err := first.Rewind("a", key.id, 0, 0); !errors.Is(err, record.ErrNotAssigned) {
			t.Errorf("rewinding what moved: %v", err)
		}
	}
	// What stayed can be noted as done, and nothing of it comes twice.
	first.mu.Lock()
	kept := slices.Collect(maps.Keys(first.next))
	first.mu.Unlock()
	for _, key := range kept {
		if err := first.commit("a", key.id, 3); err != nil {
			t.Error(err)
		}
		put(t, cl, "a", key.id, "3")
		first.wants("a", key.id, "0", "1", "2", "3")
	}
	second.leave()
	first.holds(8)
	for _, key := range moved {
		first.until("what the second had not committed", func() bool { return len(first.values[key]) == 5 })
	}
	first.leave()
}

func TestWhereAGroupBegins(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	put(t, kclient(t, f), "a", 0, numbered("v", 0, 10)...)
	c := newCluster(t, f, lively)
	for name, at := range map[string]struct {
		start record.Start
		next  int64
	}{
		"zero":           {record.Start{}, 10},
		"latest":         {record.Start{Kind: record.StartLatest}, 10},
		"earliest":       {record.Start{Kind: record.StartEarliest}, 0},
		"newest":         {record.Start{Kind: record.StartNewest, Newest: 3}, 7},
		"newest and all": {record.Start{Kind: record.StartNewest, Newest: 30}, 0},
		"ago":            {record.Start{Kind: record.StartAgo, Ago: time.Hour}, 0},
		"time to come":   {record.Start{Kind: record.StartTime, Time: time.Now().Add(time.Hour)}, 10},
		"positions":      {record.Start{Kind: record.StartPositions, Positions: record.Positions{"a": {Offsets: map[int32]int64{0: 6}}}}, 6},
		"other topic":    {record.Start{Kind: record.StartPositions, Positions: record.Positions{"b": {Offsets: map[int32]int64{0: 6}}}}, 10},
		"made again":     {record.Start{Kind: record.StartPositions, Positions: record.Positions{"a": {TopicID: record.TopicID{1}, Offsets: map[int32]int64{0: 6}}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			spec := group("a")
			spec.Group, spec.Start = name, at.start
			j := join(t, c, spec)
			j.holds(1)
			if got := j.starts[topicPartition{"a", 0}]; got != at.next {
				t.Fatalf("began at %d, not %d", got, at.next)
			}
			// It is the group's from then on, be anything done or not.
			if got := committed(t, f, name, "a")[0]; got != at.next {
				t.Fatalf("committed %d, not %d", got, at.next)
			}
			j.leave()
			spec.Start = record.Start{Kind: record.StartNewest, Newest: 1}
			k := join(t, c, spec)
			k.holds(1)
			if got := k.starts[topicPartition{"a", 0}]; got != at.next {
				t.Fatalf("began at %d for the second, not %d", got, at.next)
			}
		})
	}
}

func TestRewind(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	cl := kclient(t, f)
	put(t, cl, "a", 0, numbered("v", 0, 6)...)
	j := join(t, newCluster(t, f, lively), group("a"))
	j.at("a", 0, 6)
	if err := j.commit("a", 0, 2); err != nil {
		t.Fatal(err)
	}
	if err := j.Rewind("a", 0, 7, 0); !errors.Is(err, record.ErrRefused) {
		t.Fatal(err)
	}
	if err := j.Rewind("a", 0, -1, 0); !errors.Is(err, record.ErrRefused) {
		t.Fatal(err)
	}
	j.mu.Lock()
	j.next[topicPartition{"a", 0}] = 3 // what the checks expect
	j.mu.Unlock()
	const delay = 300 * time.Millisecond
	begun := time.Now()
	if err := j.Rewind("a", 0, 3, delay); err != nil {
		t.Fatal(err)
	}
	// What was delivered before counts only up to there.
	if err := j.commit("a", 0, 5); !errors.Is(err, record.ErrRefused) {
		t.Fatal(err)
	}
	j.Done("a", 0, 6)
	put(t, cl, "a", 0, "v6")
	j.wants("a", 0, append(numbered("v", 0, 6), numbered("v", 3, 7)...)...)
	if d := time.Since(begun); d < delay {
		t.Errorf("it came again after %v", d)
	}
	j.leave()
	if got := committed(t, f, "g", "a")[0]; got != 3 {
		t.Fatalf("committed %d", got)
	}
}

func TestACommittedOffsetThatIsGone(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	cl := kclient(t, f)
	put(t, cl, "a", 0, numbered("v", 0, 10)...)
	put(t, cl, "a", 1, "w")
	adm := kadm.NewClient(cl)
	offsets := kadm.Offsets{}
	offsets.AddOffset("a", 0, 2, -1)
	offsets.AddOffset("a", 1, 40, -1)
	if err := adm.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
		t.Fatal(err)
	}
	before := kadm.Offsets{}
	before.AddOffset("a", 0, 5, -1)
	if _, err := adm.DeleteRecords(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	j := join(t, newCluster(t, f, lively), group("a"))
	j.wants("a", 0, numbered("v", 5, 10)...)
	j.wants("a", 1, "w")
	want := []record.Loss{{Partition: 0, From: 2, Next: 5, Reason: record.LossExpired}, {Partition: 1, From: 40, Next: 0, Reason: record.LossTruncated}}
	j.until("both losses", func() bool { return len(j.lost) == 2 })
	for _, l := range j.lost {
		if l.Topic != "a" || l.Loss != want[l.Loss.Partition] {
			t.Errorf("lost %+v", l)
		}
	}
	// A log that is another one lets the commit go back.
	if err := j.commit("a", 1, 1); err != nil {
		t.Fatal(err)
	}
	if got := committed(t, f, "g", "a"); got[0] != 2 || got[1] != 1 {
		t.Fatalf("committed %v", got)
	}
}

func TestTopicsThatAreMadeLater(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	cl := kclient(t, f)
	put(t, cl, "a", 0, "old")
	c := newCluster(t, f, lively)
	spec := group("a", "later")
	spec.Start = record.Start{Kind: record.StartLatest}
	j := join(t, c, spec)
	j.holds(1)
	j.until("a topic that is missing", func() bool { return slices.Equal(j.missing, []string{"later"}) })
	put(t, cl, "a", 0, "new")
	j.wants("a", 0, "new")
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 2, 1, nil, "later"); err != nil {
		t.Fatal(err)
	}
	put(t, kclient(t, f), "later", 1, "first")
	j.wants("later", 1, "first")
	grow(t, f, "a", 3)
	put(t, kclient(t, f), "a", 2, "grown")
	j.wants("a", 2, "grown")
	j.holds(5)
	if j.revoked != 0 {
		t.Errorf("revoked %d times", j.revoked)
	}
}

func TestAMemberIsKeptOut(t *testing.T) {
	for key, code := range map[kmsg.Key]*kerr.Error{
		kmsg.JoinGroup:       kerr.InconsistentGroupProtocol,
		kmsg.FindCoordinator: kerr.GroupAuthorizationFailed,
		kmsg.OffsetCommit:    kerr.TopicAuthorizationFailed,
	} {
		t.Run(key.Name(), func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a"))
			f.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: code, Count: -1})
			j := join(t, newCluster(t, f, lively), group("a"))
			j.until("the end", func() bool { return j.over != nil })
			if !errors.Is(j.failed, record.ErrRefused) || !errors.Is(j.over, record.ErrClosed) {
				t.Fatal(j.failed, j.over)
			}
		})
	}
	t.Run("closed", func(t *testing.T) {
		c := newCluster(t, newFake(t, kfake.SeedTopics(1, "a")), lively)
		j := join(t, c, group("a"))
		j.holds(1)
		c.Close()
		j.until("the end", func() bool { return errors.Is(j.failed, record.ErrClosed) })
		k := join(t, c, group("a"))
		k.until("the end", func() bool { return errors.Is(k.failed, record.ErrClosed) })
	})
}

// A partition that is added while the group has no member is read from its first
// record, like one that is added later. A group that has committed nothing, or left
// partitions out, begins them as it is told.
func TestPartitionsThatWereAddedMeanwhile(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	cl := kclient(t, f)
	for p := range int32(2) {
		put(t, cl, "a", p, "old")
	}
	spec := group("a")
	spec.Start = record.Start{Kind: record.StartLatest}
	first := join(t, newCluster(t, f, lively), spec)
	first.holds(2)
	if at := first.starts; at[topicPartition{"a", 0}] != 1 || at[topicPartition{"a", 1}] != 1 {
		t.Errorf("a new group begins at %v", at)
	}
	first.leave()
	grow(t, f, "a", 4)
	put(t, kclient(t, f), "a", 2, "grown")
	second := join(t, newCluster(t, f, lively), spec)
	second.wants("a", 2, "grown")
	second.holds(4)
	second.leave()

	// Of partition 0 another group has nothing, but of 1.
	offsets := kadm.Offsets{}
	offsets.AddOffset("a", 1, 0, -1)
	if err := kadm.NewClient(cl).CommitAllOffsets(t.Context(), "partial", offsets); err != nil {
		t.Fatal(err)
	}
	spec.Group = "partial"
	third := join(t, newCluster(t, f, lively), spec)
	third.holds(4)
	if at := third.starts; at[topicPartition{"a", 0}] != 1 || at[topicPartition{"a", 1}] != 0 || at[topicPartition{"a", 2}] != 1 {
		t.Errorf("a group that has left partitions out begins at %v", at)
	}
}
