package gateway

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/record"
)

// TestLossComesInItsPlace: what was read before a loss comes before it, however long
// it waits for the worker, and so does what was read of a topic before it was another
// one.
func TestLossComesInItsPlace(t *testing.T) {
	r := newRig(t, nil)
	r.talk = commander{}
	gate := gated{make(chan struct{}), make(chan struct{})}
	r.encoding.Chain = &Chain{ID: "gated", Steps: []Transform{gate}}
	ws := r.dial("t")
	hear(t, ws, noRecord(t), "Begun")
	values := []string{"0", "1", "2", "3"}
	r.source.feed("t", 0, 0, values...)
	<-gate.entered
	sink := r.source.sink("t")
	sink.Lost(record.Loss{From: 4, Next: 0, Reason: record.LossRecreated})
	sink.Started(record.Started{TopicID: topicOf(7), Next: map[int32]int64{1: 0}})
	r.source.feed("t", 0, 0, "again")
	for range values {
		gate.pass <- struct{}{}
		<-gate.entered
	}
	gate.pass <- struct{}{}
	var got []string
	take := func(value string) { got = append(got, value) }
	hear(t, ws, take, "Gap")
	if !slices.Equal(got, values) {
		t.Errorf("got %q before the gap, want %q", got, values)
	}
	if at := hear(t, ws, noRecord(t), "Progress").Positions["t"]; at.TopicID != topicOf(7) || at.Offsets[0] != 0 || at.Offsets[1] != 0 {
		t.Errorf("told of %v", at)
	}
	if got := read(t, ws); got != "again" {
		t.Errorf("got %q, want again", got)
	}
}

// TestTopicReadAgain: what sessions have read of a topic's past is forgotten once
// nobody reads the topic, because nobody notices any more that it is another one.
func TestTopicReadAgain(t *testing.T) {
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) { h.KeepReading = time.Millisecond })
	for _, stored := range [][]string{{"a", "b", "c"}, {"d", "e"}} {
		r.source.mu.Lock()
		r.source.stored = map[int32][]string{0: stored}
		r.source.mu.Unlock()
		ws := r.dial("t", "&earliest")
		for _, want := range stored {
			if got := read(t, ws); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		_ = ws.Close()
		<-r.source.stopped
	}
}

// TestLeaderComesBack: a partition that had no leader when the topic's reading began
// is read from where a session begins that came meanwhile.
func TestLeaderComesBack(t *testing.T) {
	r := newRig(t, nil)
	r.source.silent["t"] = true
	r.source.stored = map[int32][]string{0: {"other"}, 1: {"a", "b", "c"}}
	begun := make(chan *websocket.Conn, 1)
	go func() { begun <- r.dial("t", "&earliest") }()
	var sink record.Sink
	for sink == nil {
		<-time.After(time.Millisecond)
		sink = r.source.sink("t")
	}
	sink.Started(record.Started{Next: map[int32]int64{0: 1}})
	select { // a session that does not wait begins
	case ws := <-begun:
		begun <- ws
	case <-time.After(100 * time.Millisecond):
	}
	sink.Started(record.Started{Next: map[int32]int64{1: 3}})
	ws := <-begun
	var got []string
	for range 4 {
		got = append(got, read(t, ws))
	}
	slices.Sort(got)
	if want := []string{"a", "b", "c", "other"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFilterComesWhileOthersTransform: a filter that comes while records pass the
// chain of other sessions is asked about those records, whose own chain they have
// passed.
func TestFilterComesWhileOthersTransform(t *testing.T) {
	r := newRig(t, nil)
	r.talk = commander{}
	gate := gated{make(chan struct{}), make(chan struct{})}
	r.encodings = map[string]*Encoding{"gated": {ID: "raw", Codec: rawCodec{}, Chain: &Chain{ID: "gated", Steps: []Transform{gate}}}}
	other := r.dial("t", "&encoding=gated")
	hear(t, other, noRecord(t), "Begun")
	plain := r.dial("t")
	hear(t, plain, noRecord(t), "Begun")
	// Which chain is first is chance.
	for i := range int64(20) {
		value := strconv.FormatInt(i, 10)
		r.source.feed("t", 0, i, value)
		<-gate.entered
		ws := r.dial()
		hear(t, ws, noRecord(t), "Opened")
		request(t, ws, command{Subscribe: []string{"t"}, Nth: max(1, i)})
		begins := hear(t, ws, noRecord(t), "Begun").Positions["t"].Offsets[0]
		gate.pass <- struct{}{}
		if got := read(t, plain); got != value {
			t.Fatalf("got %q, want %s", got, value)
		}
		if begins == i {
			if got := read(t, ws); got != value {
				t.Fatalf("got %q, want %s", got, value)
			}
		}
		_ = ws.Close()
		if got := read(t, other); got != value {
			t.Fatalf("got %q, want %s", got, value)
		}
	}
}

// TestRefusedFilterLeavesNothing: for a session that is refused, no tail is filled.
func TestRefusedFilterLeavesNothing(t *testing.T) {
	r := newRig(t, nil)
	r.talk = commander{}
	r.encodings = map[string]*Encoding{"binary": {ID: "binary", Codec: rawCodec{binary: true}}}
	for i := range maxFilters {
		ws := r.dial()
		hear(t, ws, noRecord(t), "Opened")
		request(t, ws, command{Subscribe: []string{"t"}, Nth: int64(i) + 1})
		hear(t, ws, noRecord(t), "Begun")
	}
	late := r.dial("&encoding=binary")
	hear(t, late, noRecord(t), "Opened")
	request(t, late, command{Subscribe: []string{"t"}, Nth: maxFilters + 1})
	hear(t, late, noRecord(t), "Failed: "+ErrTooManyFilters.Error())
	if n := r.hub.tails.Load(); n != 1 {
		t.Errorf("there are %d tails, want 1", n)
	}
}

// TestMoreHappenedThanIsKept: a client that has missed more than can be told loses its
// subscription, is told so once, and may subscribe again.
func TestMoreHappenedThanIsKept(t *testing.T) {
	r := newRig(t, func(h *HubConfig, p *PoolConfig) { h.Buffer, p.OnGap = 64<<20, GapEarliest })
	fast := r.dial("t") // is told of nothing
	r.talk = commander{}
	ws := r.dial("t")
	hear(t, ws, noRecord(t), "Begun")
	last := make(chan error, 1)
	go func() {
		for {
			if _, p, err := fast.ReadMessage(); err != nil || string(p) == "last" {
				last <- err
				return
			}
		}
	}()
	next := int64(0)
	for range 64 { // until the socket is full, and more
		values := numbered(64, 8<<10)
		r.source.feed("t", 0, next, values...)
		next += int64(len(values))
	}
	sink := r.source.sink("t")
	for range maxNotices + 1 {
		sink.Lost(record.Loss{From: next, Next: next + 1, Reason: record.LossExpired})
		next++
	}
	r.source.feed("t", 0, next, "last")
	if err := <-last; err != nil {
		t.Fatal(err)
	}
	request(t, ws, command{Unsubscribe: []string{"t"}})
	for ordered := false; !ordered; <-time.After(time.Millisecond) {
		r.pool.wheel.each(func(s *Session) {
			s.mu.Lock()
			defer s.mu.Unlock()
			ordered = ordered || s.talking != nil && len(s.talking.orders) > 0
		})
	}
	request(t, ws, command{Subscribe: []string{"t"}})
	told := map[string]int{}
	for told["Begun"] == 0 {
		p := read(t, ws)
		if p[0] != '!' {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(p[1:]), &e); err != nil {
			t.Fatal(err)
		}
		told[e.Kind]++
	}
	failed := "Failed: " + record.ErrOffsetGone.Error()
	if told[failed] != 1 {
		t.Errorf("told %v", told)
	}
}
