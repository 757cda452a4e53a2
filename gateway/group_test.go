package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// fakeMember is a member of a group to which the test says what happens.
type fakeMember struct {
	events chan record.GroupEvent
	behind []record.GroupEvent // that NextChange has overtaken

	mu      sync.Mutex
	done    map[int32]int64
	commits []map[string]map[int32]int64
	rewinds []int64
	changed chan struct{}
	left    chan struct{}
	refuse  error // of commits
	foreign int32 // a partition that it does not have; 0 is none
	// commit, if set, is asked instead of all that.
	commit func(context.Context, map[string]map[int32]int64) error
}

func newFakeMember() *fakeMember {
	return &fakeMember{
		events: make(chan record.GroupEvent, 100), done: map[int32]int64{},
		changed: make(chan struct{}, 1000), left: make(chan struct{}),
	}
}

func (m *fakeMember) Join(record.Membership) record.Member { return m }

func (m *fakeMember) Next(ctx context.Context) (record.GroupEvent, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if len(m.behind) > 0 {
		e := m.behind[0]
		m.behind = m.behind[1:]
		return e, nil
	}
	select {
	case e := <-m.events:
		return e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// NextChange expects no change to be among what was overtaken before.
func (m *fakeMember) NextChange(ctx context.Context) (record.GroupEvent, error) {
	for ctx.Err() == nil {
		select {
		case e := <-m.events:
			switch e.(type) {
			case record.GroupRecords, record.GroupLoss:
				m.behind = append(m.behind, e)
			default:
				return e, nil
			}
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

func (m *fakeMember) Done(_ string, partition int32, next int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done[partition] = next
	m.changed <- struct{}{}
}

func (m *fakeMember) Commit(ctx context.Context, next map[string]map[int32]int64) error {
	if m.commit != nil {
		return m.commit(ctx, next)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := next["t"][m.foreign]; ok && m.foreign > 0 {
		return record.ErrNotAssigned
	}
	if m.refuse == nil {
		m.commits = append(m.commits, next)
	}
	return m.refuse
}

func (m *fakeMember) Rewind(_ string, _ int32, offset int64, _ time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rewinds = append(m.rewinds, offset)
	return nil
}

func (m *fakeMember) Leave(context.Context) { close(m.left) }

// awaitDone waits until a partition is done up to an offset.
func (m *fakeMember) awaitDone(t *testing.T, partition int32, next int64) {
	t.Helper()
	late := time.After(patience)
	for {
		m.mu.Lock()
		got := m.done[partition]
		m.mu.Unlock()
		if got == next {
			return
		}
		select {
		case <-m.changed:
		case <-late:
			t.Fatalf("partition %d is done up to %d, want %d", partition, got, next)
		}
	}
}

func groupRecords(partition int32, first int64, values ...string) record.GroupRecords {
	b := record.Batch{Partition: partition, Next: first + int64(len(values))}
	for i, v := range values {
		b.Records = append(b.Records, record.Record{Topic: "t", Partition: partition, Offset: first + int64(i), Value: []byte(v)})
	}
	return record.GroupRecords{Topic: "t", Batch: b}
}

func groupAssigned(partitions ...int32) record.GroupAssigned {
	next := map[int32]int64{}
	for _, p := range partitions {
		next[p] = 0
	}
	return record.GroupAssigned{Partitions: map[string][]int32{"t": partitions}, Next: map[string]map[int32]int64{"t": next}}
}

// talker notes the events of a session, in the client's order, as messages.
type talker struct{ receive func(*Session, []byte) }

func (t talker) Receive(s *Session, _ bool, message []byte) { t.receive(s, message) }

func (talker) Tell(dst []byte, e Event) []byte {
	switch e := e.(type) {
	case Opened, Closing:
		return dst
	default:
		return fmt.Appendf(dst, "%T", e)
	}
}

// TestGroupDeliversThenIsDone: what was written to the socket is done, and the
// member leaves with its session.
func TestGroupDeliversThenIsDone(t *testing.T) {
	r := newRig(t, nil)
	m := newFakeMember()
	r.group = &Group{Groups: m}
	ws := r.dial()
	m.events <- groupAssigned(0)
	m.events <- groupRecords(0, 0, "a", "unencodable", "b")
	m.events <- record.GroupRecords{Topic: "t", Batch: record.Batch{Next: 5}}
	for _, want := range []string{"a", "b"} {
		if got := read(t, ws); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	m.awaitDone(t, 0, 5)
	ws.Close()
	r.awaitEnd()
	select {
	case <-m.left:
	case <-time.After(patience):
		t.Fatal("the member has not left")
	}
}

// TestGroupWaitsForSocket: nothing is done that the client's socket has not taken.
func TestGroupWaitsForSocket(t *testing.T) {
	r := newRig(t, nil)
	m := newFakeMember()
	r.group = &Group{Groups: m}
	ws := r.dial()
	m.events <- groupAssigned(0)
	values := numbered(2000, 10_000)
	m.events <- groupRecords(0, 0, values...)
	got := 0
	for range values {
		if v := read(t, ws); v != values[got] {
			t.Fatalf("got %.40q, want %.40q", v, values[got])
		}
		got++
		m.mu.Lock()
		done := m.done[0]
		m.mu.Unlock()
		// What the kernels of both sides hold is written.
		if done > int64(got)+2000*2/3 {
			t.Fatalf("%d records are done, and %d were read", done, got)
		}
	}
	m.awaitDone(t, 0, 2000)
}

// TestGroupAcknowledgedByClient: with acknowledgements of its own a client is given
// so many records, what it acknowledges is committed, and what it wants again comes
// again.
func TestGroupAcknowledgedByClient(t *testing.T) {
	r := newRig(t, nil)
	m := newFakeMember()
	r.group = &Group{Groups: m, ByClient: true, MaxUnacked: 3}
	answers := make(chan error, 10)
	r.talk = talker{func(s *Session, message []byte) {
		var kind string
		var offset int64
		fmt.Sscan(string(message), &kind, &offset)
		done := func(err error) { answers <- err }
		if kind == "ack" {
			s.Ack(map[string]map[int32]int64{"t": {0: offset}}, done)
		} else {
			s.Nack("t", 0, offset, time.Second, done)
		}
	}}
	ws := r.dial()
	say := func(message string, want error) {
		t.Helper()
		if err := ws.WriteMessage(1, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if err := <-answers; err != want {
			t.Fatalf("%s: got %v, want %v", message, err, want)
		}
	}
	hear := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := read(t, ws); got != w {
				t.Fatalf("got %q, want %q", got, w)
			}
		}
	}
	m.events <- groupAssigned(0, 1)
	m.events <- groupRecords(0, 0, "0", "1", "2", "3", "4")
	hear("gateway.Assigned", "0", "1", "2")
	say("nack 7", ErrNotDelivered)
	say("ack 4", ErrNotDelivered) // it is read, and waits for room
	say("ack 1", nil)
	hear("3")
	// 1, 2 and 3 are not acknowledged; 4 waits for room, and comes again with them.
	say("nack 2", nil)
	m.events <- groupRecords(0, 2, "2", "3", "4")
	hear("2", "3")
	say("ack 3", nil)
	hear("4")
	m.mu.Lock()
	m.refuse = record.ErrNotAssigned
	m.mu.Unlock()
	say("ack 4", record.ErrNotAssigned)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Equal(m.rewinds, []int64{2}) || len(m.commits) != 2 || m.commits[1]["t"][0] != 3 {
		t.Errorf("rewinds %v, commits %v", m.rewinds, m.commits)
	}
	if len(m.done) != 0 {
		t.Errorf("done without the client: %v", m.done)
	}
}

// TestGroupEvents: the client is told what happens to its membership, among the
// records.
func TestGroupEvents(t *testing.T) {
	r := newRig(t, nil)
	m := newFakeMember()
	r.group = &Group{Groups: m}
	r.talk = talker{}
	ws := r.dial()
	m.events <- record.GroupMissing{Topic: "t"}
	m.events <- groupAssigned(0)
	m.events <- groupRecords(0, 0, "a")
	m.events <- record.GroupLoss{Topic: "t", Loss: record.Loss{From: 1, Next: 9, Reason: record.LossExpired}}
	m.events <- record.GroupRevoked{Partitions: map[string][]int32{"t": {0}}}
	m.events <- record.GroupFailed{Err: record.ErrRefused}
	for _, want := range []string{"gateway.Waiting", "gateway.Assigned", "a", "gateway.Gap", "gateway.Revoked"} {
		if got := read(t, ws); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if code, _ := readClose(t, ws); code != CloseRefused {
		t.Errorf("closed with %d", code)
	}
	m.awaitDone(t, 0, 9)
}

// TestGroupLossClosesOlder: a client that cannot be told is closed, once: whoever
// comes next goes on behind the gap.
func TestGroupLossClosesOlder(t *testing.T) {
	r := newRig(t, nil)
	m := newFakeMember()
	r.group = &Group{Groups: m}
	ws := r.dial()
	m.events <- groupAssigned(0)
	m.events <- record.GroupLoss{Topic: "t", Loss: record.Loss{From: 1, Next: 9, Reason: record.LossExpired}}
	if code, _ := readClose(t, ws); code != CloseRecordsLost {
		t.Errorf("closed with %d", code)
	}
	m.awaitDone(t, 0, 9)
}

// TestGroupAcknowledgesBesideLostPartition: a client that does not know yet that it
// has lost a partition is told so, and the others that it acknowledges count.
func TestGroupAcknowledgesBesideLostPartition(t *testing.T) {
	r := newRig(t, nil)
	m := newFakeMember()
	m.foreign = 1
	r.group = &Group{Groups: m, ByClient: true, MaxUnacked: 2}
	answers := make(chan error, 1)
	r.talk = talker{func(s *Session, _ []byte) {
		s.Ack(map[string]map[int32]int64{"t": {0: 2, 1: 1}}, func(err error) { answers <- err })
	}}
	ws := r.dial()
	m.events <- groupAssigned(0)
	m.events <- groupRecords(0, 0, "0", "1", "2")
	for _, want := range []string{"gateway.Assigned", "0", "1"} {
		if got := read(t, ws); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if err := ws.WriteMessage(1, []byte("ack")); err != nil {
		t.Fatal(err)
	}
	if err := <-answers; !errors.Is(err, record.ErrNotAssigned) {
		t.Errorf("got %v", err)
	}
	if got := read(t, ws); got != "2" { // there is room again
		t.Errorf("got %q", got)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.commits) != 1 || m.commits[0]["t"][0] != 2 {
		t.Errorf("commits %v", m.commits)
	}
}

// TestGroupLossKeepsUnacknowledged: what the client has not acknowledged is not done
// because something behind it is lost.
func TestGroupLossKeepsUnacknowledged(t *testing.T) {
	r := newRig(t, nil)
	m := newFakeMember()
	r.group = &Group{Groups: m, ByClient: true, MaxUnacked: 9}
	answers := make(chan error, 1)
	r.talk = talker{func(s *Session, _ []byte) {
		s.Ack(map[string]map[int32]int64{"t": {0: 1}}, func(err error) { answers <- err })
	}}
	ws := r.dial()
	m.events <- groupAssigned(0)
	m.events <- groupRecords(0, 0, "0")
	m.events <- record.GroupLoss{Topic: "t", Loss: record.Loss{From: 1, Next: 9, Reason: record.LossUnreadable}}
	m.events <- record.GroupMissing{Topic: "other"} // by then it was acted on
	for _, want := range []string{"gateway.Assigned", "0", "gateway.Gap", "gateway.Waiting"} {
		if got := read(t, ws); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	m.mu.Lock()
	if len(m.done) != 0 {
		t.Errorf("done before the client was: %v", m.done)
	}
	m.mu.Unlock()
	if err := ws.WriteMessage(1, []byte("ack")); err != nil {
		t.Fatal(err)
	}
	if err := <-answers; err != nil {
		t.Error(err)
	}
	m.awaitDone(t, 0, 9) // and the loss with it
}

// TestGroupLeavesWhenClosing: a client that does not answer the Close frame does not
// keep its partitions from the others meanwhile.
func TestGroupLeavesWhenClosing(t *testing.T) {
	r := newRig(t, nil)
	m := newFakeMember()
	r.group = &Group{Groups: m}
	ws := r.dial()
	m.events <- groupAssigned(0)
	begun := time.Now()
	m.events <- record.GroupFailed{Err: record.ErrRefused}
	select {
	case <-m.left:
	case <-time.After(patience):
		t.Fatal("the member has not left")
	}
	if took := time.Since(begun); took >= closePatience {
		t.Errorf("the member left after %v, which is when the client is given up", took)
	}
	if code, _ := readClose(t, ws); code != CloseRefused {
		t.Errorf("closed with %d", code)
	}
}

// TestGroupFullWindow: a client that has acknowledged nothing of all that it may have
// is told all the same what happens to its membership. What was taken from it no
// longer counts, whether it fills the window alone or waits for room itself.
func TestGroupFullWindow(t *testing.T) {
	for _, rest := range [][]string{nil, {"2", "3"}} {
		r := newRig(t, nil)
		m := newFakeMember()
		r.group = &Group{Groups: m, ByClient: true, MaxUnacked: 2}
		r.talk = talker{}
		ws := r.dial()
		hear := func(want ...string) {
			t.Helper()
			for _, w := range want {
				if got := read(t, ws); got != w {
					t.Fatalf("got %q, want %q", got, w)
				}
			}
		}
		m.events <- groupAssigned(0, 1)
		m.events <- groupRecords(0, 0, append([]string{"0", "1"}, rest...)...)
		hear("gateway.Assigned", "0", "1")
		m.events <- groupRecords(1, 0, "other")
		m.events <- record.GroupMissing{Topic: "t"}
		m.events <- record.GroupRevoked{Partitions: map[string][]int32{"t": {0}}}
		hear("gateway.Waiting", "gateway.Revoked", "other")
		// It comes back, and begins anew.
		m.events <- groupAssigned(0)
		m.events <- groupRecords(0, 0, "0", "1")
		hear("gateway.Assigned", "0")
		m.events <- record.GroupFailed{Err: record.ErrRefused}
		if code, _ := readClose(t, ws); code != CloseRefused {
			t.Errorf("closed with %d", code)
		}
	}
}
