package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// made returns what makes a filter that was made before.
func made(f Filter) MakeFilter {
	return func(context.Context) (Filter, error) { return f, nil }
}

// TestFilterIsMadeOnceAdmitted: the filter of a session is not made before the session
// has its place in the pool, which it gives back if it gets none.
func TestFilterIsMadeOnceAdmitted(t *testing.T) {
	r := newRig(t, func(_ *HubConfig, p *PoolConfig) { p.MaxSessions, p.MaxGroupSessions = 2, 1 })
	wrong := errors.New("wrong")
	refused := func(context.Context) (Filter, error) { return nil, wrong }
	member := &Group{Groups: newFakeMember()}
	for _, cfg := range []SessionConfig{
		{Topics: []string{"t"}},
		{},
		{Group: member},
		{Talk: commander{}},
	} {
		cfg.Encoding, cfg.Filter = r.encoding, refused
		for range 3 { // there are places for two
			if s, err := r.pool.Open(t.Context(), cfg); !errors.Is(err, wrong) {
				t.Fatalf("%+v: got %v, %v", cfg, s, err)
			}
		}
	}
	if r.source.sink("t") != nil {
		t.Error("a topic is read for nobody")
	}
	// While one waits for its filter it has its place.
	making, end := make(chan struct{}), make(chan struct{})
	over := make(chan error)
	go func() {
		_, err := r.pool.Open(t.Context(), SessionConfig{Encoding: r.encoding, Group: member, Filter: func(context.Context) (Filter, error) {
			close(making)
			<-end
			return nil, ErrFiltersBusy
		}})
		over <- err
	}()
	<-making
	unasked := func(context.Context) (Filter, error) {
		t.Error("the filter of a session is made that is refused")
		return nil, wrong
	}
	if _, err := r.pool.Open(t.Context(), SessionConfig{Encoding: r.encoding, Group: member, Filter: unasked}); !errors.Is(err, ErrFullGroups) {
		t.Error(err)
	}
	other, err := r.pool.Open(t.Context(), SessionConfig{Encoding: r.encoding})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.pool.Open(t.Context(), SessionConfig{Encoding: r.encoding, Filter: unasked}); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	close(end)
	if err := <-over; !errors.Is(err, ErrFiltersBusy) {
		t.Error(err)
	}
	other.Abort()
}

// filtering has its client's topics subscribed to with a filter that waits.
type filtering struct {
	commander
	making chan context.Context
	end    chan error
}

func (f *filtering) Receive(s *Session, _ bool, message []byte) {
	s.Subscribe(Subscription{Topics: []string{string(message)}, Filter: func(ctx context.Context) (Filter, error) {
		f.making <- ctx
		return everyNth(1), <-f.end
	}})
}

// TestFilterIsNotWaitedForByTheReader: while its filter waits for others a client is
// read from, so that its pongs count; for so long as any look-up may take.
func TestFilterIsNotWaitedForByTheReader(t *testing.T) {
	r := newRig(t, nil)
	talk := &filtering{making: make(chan context.Context), end: make(chan error)}
	r.talk = talk
	ws := r.dial()
	hear(t, ws, noRecord(t), "Opened")
	if err := ws.WriteMessage(websocket.TextMessage, []byte("t")); err != nil {
		t.Fatal(err)
	}
	ctx := <-talk.making
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > settlePatience {
		t.Error("the filter is waited for without limit")
	}
	if err := ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	ws.SetPongHandler(func(string) error { // else the wait ends with that for the answer
		talk.end <- ErrFiltersBusy
		return nil
	})
	hear(t, ws, noRecord(t), "Failed: "+ErrFiltersBusy.Error())
	// It may ask again.
	if err := ws.WriteMessage(websocket.TextMessage, []byte("t")); err != nil {
		t.Fatal(err)
	}
	<-talk.making
	talk.end <- nil
	hear(t, ws, noRecord(t), "Begun")
	r.source.feed("t", 0, 0, "a")
	if got := read(t, ws); got != "a" {
		t.Errorf("got %q", got)
	}
	// Nothing is made for a client that has gone.
	if err := ws.WriteMessage(websocket.TextMessage, []byte("u")); err != nil {
		t.Fatal(err)
	}
	ctx = <-talk.making
	_ = ws.Close()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Error("the filter of a client that has gone is waited for")
	}
	talk.end <- ErrFiltersBusy
}
