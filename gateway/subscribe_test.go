package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/record"
)

// command is what a client of these tests asks for, and event what it is told.
type command struct {
	Subscribe, Unsubscribe []string
	From                   record.Positions
	Nth                    int64
	Fail                   bool
}

type event struct {
	Kind      string
	Positions record.Positions
}

// commander has its client's commands carried out. Their filters are everyNth unless
// it has others.
type commander struct{ filters map[int64]Filter }

func (cm commander) Receive(s *Session, _ bool, message []byte) {
	var c command
	if err := json.Unmarshal(message, &c); err != nil {
		panic(err)
	}
	if c.Unsubscribe != nil {
		s.Unsubscribe(nil, c.Unsubscribe...)
		return
	}
	sub := Subscription{Topics: c.Subscribe}
	if c.From != nil {
		sub.Start = record.Start{Kind: record.StartPositions, Positions: c.From}
	}
	if c.Nth > 0 {
		sub.Filter = made(everyNth(c.Nth))
		if f := cm.filters[c.Nth]; f != nil {
			sub.Filter = made(f)
		}
	}
	if c.Fail {
		sub.Check = func(context.Context, string) error { return record.ErrUnknownTopic }
	}
	s.Subscribe(sub)
}

func (commander) Tell(dst []byte, e Event) []byte {
	told := event{Kind: strings.TrimPrefix(fmt.Sprintf("%T", e), "gateway.")}
	switch e := e.(type) {
	case Begun:
		told.Positions = e.Positions
	case Ended:
		told.Positions = e.Positions
	case Progress:
		told.Positions = e.Positions
	case Failed:
		told.Kind += ": " + e.Err.Error()
	}
	p, err := json.Marshal(told)
	if err != nil {
		panic(err)
	}
	return append(append(dst, '!'), p...)
}

func request(t *testing.T, ws *websocket.Conn, c command) {
	t.Helper()
	if err := ws.WriteJSON(c); err != nil {
		t.Fatal(err)
	}
}

// hear returns the next event, of one of the kinds, that a client is told, and hands
// the records before it to take.
func hear(t *testing.T, ws *websocket.Conn, take func(value string), kinds ...string) event {
	t.Helper()
	for {
		text, told := strings.CutPrefix(read(t, ws), "!")
		if !told {
			take(text)
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		for _, kind := range kinds {
			if e.Kind == kind {
				return e
			}
		}
	}
}

func noRecord(t *testing.T) func(string) {
	return func(value string) { t.Fatalf("got the record %q", value) }
}

// TestSubscriptionsComeAndGo: a client that ends its subscription and begins it
// again at the positions that it was told gets every record once, whatever comes
// meanwhile, and none in between.
func TestSubscriptionsComeAndGo(t *testing.T) {
	const rounds, records = 40, 4_000
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) { h.Buffer, h.BufferTotal = 16<<10, 64<<10 })
	r.talk = commander{}
	ws := r.dial()
	hear(t, ws, noRecord(t), "Opened")
	request(t, ws, command{Subscribe: []string{"t"}})
	at := hear(t, ws, noRecord(t), "Begun").Positions
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for i := 0; i < records; i += 10 {
			values := make([]string, 10)
			for j := range values {
				values[j] = strconv.Itoa(i + j)
			}
			r.source.feed("t", 0, int64(i), values...)
		}
	}()
	want := 0
	take := func(value string) {
		if value != strconv.Itoa(want) {
			t.Fatalf("got %s, want %d", value, want)
		}
		want++
	}
	for range rounds {
		request(t, ws, command{Unsubscribe: []string{"t"}})
		at = hear(t, ws, take, "Ended").Positions
		if got := at["t"].Offsets[0]; got != int64(want) {
			t.Fatalf("told of %d at %d", got, want)
		}
		request(t, ws, command{Subscribe: []string{"t"}, From: at})
		if got := hear(t, ws, noRecord(t), "Begun").Positions["t"].Offsets[0]; got != int64(want) {
			t.Fatalf("begins at %d, want %d", got, want)
		}
		// Some of its records.
		for range 50 {
			if want == records {
				break
			}
			text := read(t, ws)
			if text[0] != '!' {
				take(text)
			}
		}
	}
	<-fed
	for want < records {
		if text := read(t, ws); text[0] != '!' {
			take(text)
		}
	}
}

// TestSubscriptionReplaces: another subscription to a topic takes the place of the
// one before it.
func TestSubscriptionReplaces(t *testing.T) {
	r := newRig(t, nil)
	r.talk = commander{}
	ws := r.dial("t")
	hear(t, ws, noRecord(t), "Begun")
	r.source.feed("t", 0, 0, "a", "b", "c")
	for _, want := range []string{"a", "b", "c"} {
		if got := read(t, ws); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	request(t, ws, command{Subscribe: []string{"t"}, From: record.Positions{"t": {Offsets: map[int32]int64{0: 1}}}, Nth: 2})
	hear(t, ws, noRecord(t), "Begun")
	if got := read(t, ws); got != "c" {
		t.Fatalf("got %q, want c", got)
	}
	r.source.feed("t", 0, 3, "d", "e")
	var got []string
	hear(t, ws, func(value string) { got = append(got, value) }, "CaughtUp")
	for len(got) < 1 {
		got = append(got, read(t, ws))
	}
	if fmt.Sprint(got) != "[e]" {
		t.Fatalf("got %v, want e alone", got)
	}
}

// TestSubscriptionFails: a subscription that cannot begin leaves the others alone.
func TestSubscriptionFails(t *testing.T) {
	r := newRig(t, nil)
	r.talk = commander{}
	ws := r.dial("t")
	hear(t, ws, noRecord(t), "Begun")
	request(t, ws, command{Subscribe: []string{"u"}, Fail: true})
	hear(t, ws, noRecord(t), "Failed: unknown topic")
	r.source.feed("t", 0, 0, "a")
	if got := read(t, ws); got != "a" {
		t.Fatalf("got %q", got)
	}
}

// TestProgress: a session that is led past many records without seeing any is told
// where it is, and at the latest with the pings.
func TestProgress(t *testing.T) {
	r := newRig(t, func(_ *HubConfig, p *PoolConfig) { p.PingInterval = 200 * time.Millisecond })
	r.talk = commander{}
	ws := r.dial()
	hear(t, ws, noRecord(t), "Opened")
	request(t, ws, command{Subscribe: []string{"t"}, Nth: 1 << 40})
	hear(t, ws, noRecord(t), "Begun")
	// Offset 0 matches; all others do not.
	r.source.feed("t", 0, 0, numbered(3, 10)...)
	if got := read(t, ws); !strings.Contains(got, `"i":0`) {
		t.Fatalf("got %q", got)
	}
	if at := hear(t, ws, noRecord(t), "Progress").Positions["t"].Offsets[0]; at != 3 {
		t.Fatalf("told of %d, want 3", at)
	}
	r.source.deliver("t", record.Batch{Next: 9, Epoch: 4})
	at := hear(t, ws, noRecord(t), "Progress").Positions["t"]
	if at.Offsets[0] != 9 || at.Epochs[0] != 4 {
		t.Fatalf("told of %v, want 9 in epoch 4", at)
	}
}

// TestTooManyFilters: so many sessions as there may be filters, each with its own,
// and one more.
func TestTooManyFilters(t *testing.T) {
	r := newRig(t, nil)
	r.talk = commander{}
	var first *websocket.Conn
	for i := range maxFilters {
		ws := r.dial()
		hear(t, ws, noRecord(t), "Opened")
		request(t, ws, command{Subscribe: []string{"t"}, Nth: int64(i + 1)})
		hear(t, ws, noRecord(t), "Begun")
		if first == nil {
			first = ws
		}
	}
	again, more := r.dial(), r.dial()
	request(t, again, command{Subscribe: []string{"t"}, Nth: 5})
	hear(t, again, noRecord(t), "Begun")
	request(t, more, command{Subscribe: []string{"t"}, Nth: maxFilters + 1})
	hear(t, more, noRecord(t), "Failed: "+ErrTooManyFilters.Error())
	request(t, first, command{Unsubscribe: []string{"t"}})
	hear(t, first, noRecord(t), "Ended")
	request(t, more, command{Subscribe: []string{"t"}, Nth: maxFilters + 1})
	hear(t, more, noRecord(t), "Begun")
	r.source.feed("t", 0, 0, numbered(11, 10)...)
	for _, want := range []string{`"i":0`, `"i":5`, `"i":10`} {
		if got := read(t, again); !strings.Contains(got, want) {
			t.Fatalf("got %q, want %s", got, want)
		}
	}
}

// holdingTalk has its clients follow a topic, each time with another filter, and
// does not get round to telling them so before it may.
type holdingTalk struct {
	sessions      chan *Session
	checked, told *atomic.Int64
	gate          chan struct{}
}

func (h holdingTalk) Receive(s *Session, _ bool, message []byte) {
	select {
	case h.sessions <- s:
	default:
	}
	n, err := strconv.ParseInt(string(message), 10, 64)
	if err != nil {
		panic(err)
	}
	s.Subscribe(Subscription{
		Topics: []string{"t"}, Filter: made(everyNth(n)),
		Start: record.Start{Kind: record.StartPositions, Positions: record.Positions{"t": {Offsets: map[int32]int64{0: 0}}}},
		Check: func(context.Context, string) error { h.checked.Add(1); return nil },
	})
}

func (h holdingTalk) Tell(dst []byte, e Event) []byte {
	if _, ok := e.(Begun); !ok {
		return dst
	}
	h.told.Add(1)
	<-h.gate
	return append(dst, "begun"...)
}

// newHoldingRig makes a rig whose clients' subscriptions to t are not carried out
// before release is called, which the end of the test does too.
func newHoldingRig(t *testing.T) (r *rig, talk holdingTalk, release func()) {
	t.Helper()
	r = newRig(t, nil)
	talk = holdingTalk{make(chan *Session, 1), new(atomic.Int64), new(atomic.Int64), make(chan struct{})}
	release = sync.OnceFunc(func() { close(talk.gate) })
	t.Cleanup(release)
	r.talk = talk
	r.source.fed["t"] = map[int32][]record.Record{0: nil}
	return r, talk, release
}

// TestSubscriptionsWait: what a client asks for is not begun with while what it asked
// for before is not carried out, and the client is not read from when that is much.
func TestSubscriptionsWait(t *testing.T) {
	const asked = 90
	r, talk, release := newHoldingRig(t)
	ws := r.dial()
	for i := range asked {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(strconv.Itoa(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	s := <-talk.sessions
	full := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return talk.told.Load() == 1 && len(s.talking.asked) == maxAsked && len(s.talking.orders) == maxOrders && s.paused.Load()
	}
	// One is being carried out, and others are ready.
	for most := int64(1 + maxOrders); !full(); time.Sleep(time.Millisecond) {
		if n := talk.checked.Load(); n > most {
			t.Fatalf("%d subscriptions were begun with", n)
		}
	}
	s.mu.Lock()
	for _, o := range s.talking.orders {
		if o.Start.Positions != nil || o.Filter != nil || o.Check != nil {
			t.Error("an order still has what its followers were made of")
		}
	}
	s.mu.Unlock()
	r.hub.mu.Lock()
	tp := r.hub.topics["t"]
	r.hub.mu.Unlock()
	tp.mu.Lock()
	if n := len(tp.chains[""].sieves); n != 1+maxOrders {
		t.Errorf("%d filters are in use", n)
	}
	tp.mu.Unlock()
	release()
	for range asked {
		if got := read(t, ws); got != "begun" {
			t.Fatalf("got %q", got)
		}
	}
}

// TestSubscriptionsWaitInVain: a session ends while its client is not read from.
func TestSubscriptionsWaitInVain(t *testing.T) {
	r, talk, _ := newHoldingRig(t)
	ws := r.dial()
	for i := range 2 * maxAsked {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(strconv.Itoa(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	s := <-talk.sessions
	for !s.paused.Load() {
		time.Sleep(time.Millisecond)
	}
	s.kill()
	r.awaitEnd()
}

// TestUnreachableIsTold: sessions that talk are told when no broker answers, and
// when one does again, also those that begin at that very moment.
func TestUnreachableIsTold(t *testing.T) {
	r := newRig(t, func(_ *HubConfig, p *PoolConfig) { p.PingInterval = 32 * time.Millisecond })
	r.talk = commander{}
	set := func(since time.Time) {
		r.source.mu.Lock()
		defer r.source.mu.Unlock()
		r.source.unreachable = since
	}
	for range 50 {
		ws := r.dial()
		hear(t, ws, noRecord(t), "Opened")
		set(time.Now())
		hear(t, ws, noRecord(t), "Unreachable")
		late := r.dial()
		hear(t, late, noRecord(t), "Unreachable")
		set(time.Time{})
		hear(t, ws, noRecord(t), "Reachable")
		hear(t, late, noRecord(t), "Reachable")
		_, _ = ws.Close(), late.Close()
	}
}

// TestOffsetGoneIsTold: a client that comes with positions which Kafka does not have
// is told, where the site does not let it go on elsewhere, and stays.
func TestOffsetGoneIsTold(t *testing.T) {
	r := newRig(t, func(_ *HubConfig, p *PoolConfig) { p.OnGap = GapClose })
	r.talk = commander{}
	r.source.fed["t"] = map[int32][]record.Record{0: nil}
	ws := r.dial()
	hear(t, ws, noRecord(t), "Opened")
	request(t, ws, command{Subscribe: []string{"t"}, From: record.Positions{"t": {Offsets: map[int32]int64{0: 7}}}})
	hear(t, ws, noRecord(t), "Failed: "+record.ErrOffsetGone.Error())
	request(t, ws, command{Subscribe: []string{"t"}})
	hear(t, ws, noRecord(t), "Begun")
}

// gated holds records up until it is told to let one pass.
type gated struct{ entered, pass chan struct{} }

func (g gated) Transform(context.Context, *record.Record) (bool, error) {
	g.entered <- struct{}{}
	<-g.pass
	return true, nil
}

// TestFilterComesMeanwhile: a filter that comes while a record is being transformed
// is asked about that record.
func TestFilterComesMeanwhile(t *testing.T) {
	r := newRig(t, nil)
	r.talk = commander{}
	gate := gated{make(chan struct{}), make(chan struct{})}
	r.encoding.Chain = &Chain{ID: "gated", Steps: []Transform{gate}}
	first := r.dial("t")
	hear(t, first, noRecord(t), "Begun")
	r.source.feed("t", 0, 0, "a")
	<-gate.entered
	ws := r.dial()
	request(t, ws, command{Subscribe: []string{"t"}, Nth: 1})
	hear(t, ws, noRecord(t), "Begun")
	gate.pass <- struct{}{}
	<-gate.entered // it passes the chain once more
	gate.pass <- struct{}{}
	for _, ws := range []*websocket.Conn{first, ws} {
		if got := read(t, ws); got != "a" {
			t.Fatalf("got %q, want a", got)
		}
	}
}

// TestTopicIsGone: a client that comes back to a topic which was deleted, at a node
// that reads it still, is told what it has lost and waits with it.
func TestTopicIsGone(t *testing.T) {
	r := newRig(t, nil)
	r.talk = commander{}
	ws := r.dial("t")
	hear(t, ws, noRecord(t), "Begun")
	r.source.feed("t", 0, 0, "a", "b", "c")
	for range 3 {
		read(t, ws)
	}
	r.source.mu.Lock()
	r.source.gone = true
	r.source.mu.Unlock()
	late := r.dial()
	hear(t, late, noRecord(t), "Opened")
	request(t, late, command{Subscribe: []string{"t"}, From: record.Positions{"t": {Offsets: map[int32]int64{0: 1}}}})
	if at := hear(t, late, noRecord(t), "Begun").Positions["t"].Offsets[0]; at != 3 {
		t.Errorf("begins at %d, want 3", at)
	}
	hear(t, late, noRecord(t), "Gap")
	r.source.sink("t").Lost(record.Loss{From: 3, Next: 0, Reason: record.LossRecreated})
	r.source.feed("t", 0, 0, "again")
	for _, ws := range []*websocket.Conn{ws, late} {
		hear(t, ws, noRecord(t), "Gap")
		if got := read(t, ws); got != "again" {
			t.Errorf("got %q, want again", got)
		}
	}
}
