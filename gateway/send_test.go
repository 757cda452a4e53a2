package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// talkFunc takes the clients' messages, and tells nothing.
type talkFunc func(s *Session, binary bool, message []byte)

func (f talkFunc) Receive(s *Session, binary bool, message []byte) { f(s, binary, message) }

func (talkFunc) Tell(dst []byte, _ Event) []byte { return dst }

// TestReceive: a session may take the messages itself, and answer each.
func TestReceive(t *testing.T) {
	for _, deflate := range []bool{false, true} {
		t.Run(fmt.Sprintf("deflate-%t", deflate), func(t *testing.T) {
			r := newRig(t, nil)
			r.talk = talkFunc(func(s *Session, binary bool, message []byte) {
				s.Send(Message{Binary: binary, Compress: true, Data: message})
				clear(message) // it is used again
			})
			r.deflate.On = deflate
			ws := r.dial()
			long := bytes.Repeat([]byte("again and "), 10_000)
			for _, message := range [][]byte{nil, []byte("short"), long, {0, 0x7f}, long} {
				for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
					if err := ws.WriteMessage(kind, message); err != nil {
						t.Fatal(err)
					}
					got, answer, err := ws.ReadMessage()
					if err != nil {
						t.Fatal(err)
					}
					if got != kind || !bytes.Equal(answer, message) {
						t.Errorf("sent %d %.20q, got %d %.20q", kind, message, got, answer)
					}
				}
			}
		})
	}
}

// TestSendPausesReading: who asks for more answers than it takes is not read
// from, and loses none.
func TestSendPausesReading(t *testing.T) {
	const messages = 1000
	sessions := make(chan *Session, messages)
	r := newRig(t, nil)
	r.talk = talkFunc(func(s *Session, _ bool, message []byte) {
		s.mu.Lock()
		waiting := len(s.side)
		s.mu.Unlock()
		if waiting >= maxSide {
			t.Errorf("a message was read while %d bytes waited", waiting)
		}
		sessions <- s
		s.Send(Message{Data: message})
	})
	ws := r.dial()
	pad := strings.Repeat("x", 32<<10)
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%d %s", i, pad)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	s := <-sessions
	tick, late := time.NewTicker(time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !s.paused.Load() { // which brings no event of its own
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("reading is not paused")
		}
	}
	for i := range messages {
		if got, want := read(t, ws), fmt.Sprint(i, " ", pad); got != want {
			t.Fatalf("got %.20q, want %.20q", got, want)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}
