package gateway

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/record"
)

// acking is a session whose client acknowledges partition 0 by sending offsets.
type acking struct {
	t       *testing.T
	m       *fakeMember
	ws      *websocket.Conn
	answers chan error
	// received is sent to when an acknowledgement waits to be committed.
	received chan struct{}
}

// startAcking has a client be given the records of offsets 0 to 4, and take three,
// which is all that it may have.
func startAcking(t *testing.T, commit func(context.Context, map[string]map[int32]int64) error) *acking {
	r := newRig(t, nil)
	m := newFakeMember()
	m.commit = commit
	a := &acking{t: t, m: m, answers: make(chan error, 10), received: make(chan struct{}, 10)}
	r.group = &Group{Groups: m, ByClient: true, MaxUnacked: 3}
	r.talk = talker{func(s *Session, message []byte) {
		offset, _ := strconv.ParseInt(string(message), 10, 64)
		s.Ack(map[string]map[int32]int64{"t": {0: offset}}, func(err error) { a.answers <- err })
		a.received <- struct{}{}
	}}
	a.ws = r.dial()
	m.events <- groupAssigned(0)
	m.events <- groupRecords(0, 0, "0", "1", "2", "3", "4")
	a.hear("gateway.Assigned", "0", "1", "2")
	return a
}

func (a *acking) hear(want ...string) {
	a.t.Helper()
	for _, w := range want {
		if got := read(a.t, a.ws); got != w {
			a.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

func (a *acking) ack(offset int) {
	a.t.Helper()
	if err := a.ws.WriteMessage(websocket.TextMessage, []byte(strconv.Itoa(offset))); err != nil {
		a.t.Fatal(err)
	}
	select {
	case <-a.received:
	case <-time.After(patience):
		a.t.Fatal("it was not received")
	}
}

func (a *acking) answered(want error) {
	a.t.Helper()
	select {
	case err := <-a.answers:
		if !errors.Is(err, want) {
			a.t.Errorf("answered %v, want %v", err, want)
		}
	case <-time.After(patience):
		a.t.Fatal("no answer came")
	}
}

// TestAckNotedMakesRoom: what is only noted as done, because Kafka does not answer or
// has the topic no more, does not fill the client's window any longer.
func TestAckNotedMakesRoom(t *testing.T) {
	for _, err := range []error{record.ErrUnavailable, record.ErrUnknownTopic} {
		a := startAcking(t, func(context.Context, map[string]map[int32]int64) error { return err })
		a.ack(3)
		a.answered(err)
		a.hear("3", "4")
	}
}

// TestAcksWhileKafkaIsAway: acknowledgements that wait together are given up
// together, and sooner when Kafka had not answered the last ones either.
func TestAcksWhileKafkaIsAway(t *testing.T) {
	type call struct {
		next int64
		left time.Duration
	}
	calls, results := make(chan call, 20), make(chan error)
	a := startAcking(t, func(ctx context.Context, next map[string]map[int32]int64) error {
		until, _ := ctx.Deadline()
		calls <- call{next["t"][0], time.Until(until)}
		return <-results
	})
	committing := func(next int64, most time.Duration) {
		t.Helper()
		select {
		case c := <-calls:
			if c.next != next || c.left > most {
				t.Errorf("commits %d within %v, want %d within %v", c.next, c.left, next, most)
			}
		case <-time.After(patience):
			t.Fatal("it does not commit")
		}
	}
	a.ack(1)
	committing(1, ackPatience)
	a.ack(1)
	a.ack(3)
	a.ack(2)
	results <- record.ErrUnavailable
	a.answered(record.ErrUnavailable)
	committing(3, awayPatience)
	results <- record.ErrUnavailable
	for range 3 {
		a.answered(record.ErrUnavailable)
	}
	a.hear("3", "4")
	// When it is back, it has its time again.
	a.ack(4)
	committing(4, awayPatience)
	results <- nil
	a.answered(nil)
	a.ack(5)
	select {
	case c := <-calls:
		if c.left <= awayPatience {
			t.Errorf("commits within %v", c.left)
		}
	case <-time.After(patience):
		t.Fatal("it does not commit")
	}
	results <- nil
	a.answered(nil)
}

// TestAcksOfWhichOneIsWrong: where one of several may be to blame each is tried alone,
// but all of them in the time of one.
func TestAcksOfWhichOneIsWrong(t *testing.T) {
	first := make(chan struct{})
	var deadlines []time.Time
	a := startAcking(t, func(ctx context.Context, next map[string]map[int32]int64) error {
		<-first
		until, _ := ctx.Deadline()
		deadlines = append(deadlines, until)
		if next["t"][0] == 3 {
			return record.ErrRefused
		}
		return nil
	})
	a.ack(1)
	a.ack(2)
	a.ack(3)
	a.ack(2)
	close(first)
	for _, want := range []error{nil, nil, record.ErrRefused, nil} {
		a.answered(want)
	}
	if len(deadlines) != 5 {
		t.Fatalf("%d commits", len(deadlines))
	}
	for _, d := range deadlines[2:] {
		if !d.Equal(deadlines[1]) {
			t.Errorf("the deadlines are %v", deadlines)
		}
	}
}

// TestAckOfTakenPartition: a client whose partition is taken and given back while it
// acknowledges is told that, and not that Kafka refuses.
func TestAckOfTakenPartition(t *testing.T) {
	committing, told := make(chan struct{}), make(chan struct{})
	a := startAcking(t, func(context.Context, map[string]map[int32]int64) error {
		close(committing)
		<-told
		return record.ErrRefused // as it does for what is behind what Next has returned
	})
	a.ack(3)
	<-committing
	a.m.events <- record.GroupRevoked{Partitions: map[string][]int32{"t": {0}}}
	a.m.events <- groupAssigned(0)
	a.hear("gateway.Revoked", "gateway.Assigned")
	close(told)
	a.answered(ErrNotDelivered)
}

// TestTruncationKeepsUnacknowledged: of a log that was cut, what is before the cut is
// still to be acknowledged; what was behind it cannot be any more, and what comes
// instead counts anew.
func TestTruncationKeepsUnacknowledged(t *testing.T) {
	a := startAcking(t, nil)
	a.ack(3)
	a.answered(nil)
	a.hear("3", "4")
	a.m.events <- record.GroupLoss{Topic: "t", Loss: record.Loss{From: 5, Next: 4, Reason: record.LossTruncated}}
	a.m.events <- record.GroupMissing{Topic: "t"} // by then it was acted on
	a.hear("gateway.Gap", "gateway.Waiting")
	a.m.mu.Lock()
	if a.m.done[0] > 3 {
		t.Errorf("done without the client: %v", a.m.done)
	}
	a.m.mu.Unlock()
	a.ack(5)
	a.answered(ErrNotDelivered)
	a.m.events <- groupRecords(0, 4, "4 again", "5 again", "6")
	a.hear("4 again", "5 again") // beside 3
	a.ack(4)
	a.answered(nil)
	a.hear("6")
}
