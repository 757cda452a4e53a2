package gateway

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// TestMissingTopicIsLetGoOf: a topic that does not exist is not read on after its
// last session has left, however long those that exist are.
func TestMissingTopicIsLetGoOf(t *testing.T) {
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) { h.KeepReading = time.Hour })
	r.talk = commander{}
	r.source.missing = func(topic string) bool { return topic != "real" }
	a, b := r.dial(), r.dial()
	request(t, a, command{Subscribe: []string{"real", "one", "two"}})
	hear(t, a, noRecord(t), "Begun")
	request(t, b, command{Subscribe: []string{"two", "later"}})
	hear(t, b, noRecord(t), "Begun")
	stopped := func(want string) {
		t.Helper()
		select {
		case got := <-r.source.stopped:
			if got != want {
				t.Fatalf("%s is let go of, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s is still read", want)
		}
	}
	request(t, a, command{Unsubscribe: []string{"real", "two"}}) // another has two
	hear(t, a, noRecord(t), "Ended")
	request(t, a, command{Unsubscribe: []string{"one"}})
	stopped("one")
	// One that somebody has made meanwhile is as any other.
	r.source.sink("later").Started(record.Started{Next: map[int32]int64{0: 0}})
	request(t, b, command{Unsubscribe: []string{"later"}})
	hear(t, b, noRecord(t), "Ended")
	_ = b.Close()
	stopped("two")
	for _, topic := range []string{"real", "later"} {
		if r.source.sink(topic) == nil {
			t.Errorf("%s is not read any more", topic)
		}
	}
}

// TestMissingTopicNobodyWaitsFor: that a topic does not exist may be found out after
// those who had asked for it are gone.
func TestMissingTopicNobodyWaitsFor(t *testing.T) {
	r := newRig(t, nil)
	r.source.silent["t"] = true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.pool.Open(ctx, SessionConfig{Encoding: r.encoding, Topics: []string{"t"}}); !errors.Is(err, record.ErrUnavailable) {
		t.Fatal(err)
	}
	r.source.sink("t").Missing()
	select {
	case <-r.source.stopped:
	case <-time.After(patience):
		t.Fatal("it is still read")
	}
}

// TestMissingTopicsAreBounded: no more than a number of topics that do not exist are
// waited for. Those that exist do not suffer from that.
func TestMissingTopicsAreBounded(t *testing.T) {
	r := newRig(t, nil)
	r.source.stopped = make(chan string, 3*maxMissing)
	r.source.missing = func(topic string) bool { return topic != "real" }
	names := make([]string, maxMissing)
	for i := range names {
		names[i] = fmt.Sprint("missing", i)
	}
	open := func(topics ...string) (*Session, error) {
		return r.pool.Open(t.Context(), SessionConfig{Encoding: r.encoding, Topics: topics})
	}
	crowded := func(topics ...string) {
		t.Helper()
		s, err := open(topics...)
		if err == nil {
			s.Abort()
		}
		if !errors.Is(err, ErrTooManyMissing) {
			t.Fatalf("got %v", err)
		}
	}
	crowded(append(names, "one too many")...)
	for range maxMissing + 1 {
		<-r.source.stopped
	}
	all, err := open(names...)
	if err != nil {
		t.Fatal(err)
	}
	crowded("another")
	if topic := <-r.source.stopped; topic != "another" {
		t.Fatalf("%s is not read any more", topic)
	}
	for _, topic := range []string{"real", names[0]} { // which is waited for already
		s, err := open(topic)
		if err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		s.Abort()
	}
	// One that was made leaves its place to another.
	r.source.sink(names[0]).Started(record.Started{Next: map[int32]int64{0: 0}})
	s, err := open("another")
	if err != nil {
		t.Fatal(err)
	}
	s.Abort()
	all.Abort()
	for range maxMissing { // all but the one that was made
		<-r.source.stopped
	}
	if s, err = open(names...); err != nil {
		t.Fatal(err)
	}
	s.Abort()
}
