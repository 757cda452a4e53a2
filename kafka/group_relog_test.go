package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kafkaws/kafkaws/record"
)

// relogged is a member that was given three records of a partition, and whose reading
// is the test's from there.
func relogged(t *testing.T, f *kfake.Cluster) (*joined, *feed) {
	t.Helper()
	put(t, kclient(t, f), "a", 0, "0", "1", "2")
	j := joinIdle(t, newCluster(t, f, lively), group("a"))
	hear[record.GroupAssigned](j, j.Next)
	hear[record.GroupRecords](j, j.Next)
	m := j.Member.(*member)
	m.mu.Lock()
	defer m.mu.Unlock()
	return j, m.parts[topicPartition{"a", 0}].feed
}

// newLog is the first records of a log.
func newLog(n int64) record.Batch {
	b := record.Batch{Next: n}
	for i := range n {
		b.Records = append(b.Records, record.Record{Topic: "a", Offset: i, Value: []byte("new")})
	}
	return b
}

// A log that is followed by another one before anybody asked for its records leaves no
// commit behind: it would pass over records of the last one.
func TestTwoNewLogsThatWait(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	j, reading := relogged(t, f)
	reading.Lost(record.Loss{From: 3, Next: 0, Reason: record.LossRecreated})
	reading.Deliver(newLog(50))
	reading.Lost(record.Loss{From: 50, Next: 0, Reason: record.LossRecreated})
	reading.Deliver(newLog(10))
	hear[record.GroupLoss](j, j.Next)
	hear[record.GroupRecords](j, j.Next)
	if err := j.commit("a", 0, 50); err != nil {
		t.Errorf("committing what is of no log any more: %v", err)
	}
	j.Done("a", 0, 49)
	hear[record.GroupLoss](j, j.Next)
	hear[record.GroupRecords](j, j.Next)
	if err := j.commit("a", 0, 4); err != nil {
		t.Fatal(err)
	}
	if got := committed(t, f, "g", "a")[0]; got != 4 {
		t.Errorf("committed %d", got)
	}
}

// What is wanted again comes again though a cut of the log behind it waits to be told.
// What was cut off does not.
func TestRewindBeforeACutThatWaits(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		f := newFake(t, kfake.SeedTopics(1, "a"))
		j, reading := relogged(t, f)
		reading.Lost(record.Loss{From: 3, Next: 2, Reason: record.LossTruncated})
		if err := j.Rewind("a", 0, 2, delay); err != nil {
			t.Error(err)
		}
		if err := j.Rewind("a", 0, 1, delay); err != nil {
			t.Fatal(err)
		}
		if got := hear[record.GroupLoss](j, j.Next).Loss; got != (record.Loss{From: 3, Next: 1, Reason: record.LossTruncated}) {
			t.Errorf("lost %+v", got)
		}
		if got := hear[record.GroupRecords](j, j.Next).Batch; got.Records[0].Offset != 1 || got.Next != 3 {
			t.Errorf("came: %+v", got)
		}
		if err := j.commit("a", 0, 2); err != nil {
			t.Fatal(err)
		}
		if got := committed(t, f, "g", "a")[0]; got != 2 {
			t.Errorf("committed %d", got)
		}
	}
}

// Of a log that is gone nothing can come again.
func TestRewindInALogThatIsGone(t *testing.T) {
	j, reading := relogged(t, newFake(t, kfake.SeedTopics(1, "a")))
	reading.Lost(record.Loss{From: 3, Next: 0, Reason: record.LossRecreated})
	reading.Deliver(newLog(5))
	if err := j.Rewind("a", 0, 1, 0); err != nil {
		t.Error(err)
	}
	hear[record.GroupLoss](j, j.Next)
	if got := hear[record.GroupRecords](j, j.Next).Batch; got.Records[0].Offset != 0 || len(got.Records) != 5 {
		t.Errorf("came: %+v", got)
	}
}
