package main

import (
	"bytes"
	"compress/flate"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// serverFrame frames what a server sends.
func serverFrame(op byte, payload string) []byte {
	f := appendClientFrame(nil, op, []byte(payload))
	head := len(f) - len(payload) - 4
	f[1] &^= 0x80
	return append(f[:head:head], payload...)
}

// compressedFrame is a text frame as permessage-deflate makes it.
func compressedFrame(t *testing.T, payload string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, payload); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	f := serverFrame(opText, strings.TrimSuffix(b.String(), "\x00\x00\xff\xff"))
	f[0] |= compressed
	return f
}

// hear has a client hear what a server writes in pieces of a size, and judges it.
func hear(t *testing.T, piece int, written []int64, frames ...[]byte) (*fleet, verdict) {
	t.Helper()
	f := newFleet(load{topics: 1, partitions: 2, size: 40})
	f.since.Store(0)
	here, there := net.Pipe()
	c := &client{fleet: f, conn: here, topics: []int{0}, buf: make([]byte, 64), next: make([]int64, 2), done: make(chan struct{})}
	f.clients = append(f.clients, c)
	go c.read()
	for _, frame := range frames {
		for len(frame) > 0 {
			n := min(piece, len(frame))
			if _, err := there.Write(frame[:n]); err != nil {
				t.Fatal(err)
			}
			frame = frame[n:]
		}
	}
	f.close()
	return f, f.judge(written)
}

func message(stream, number int) string {
	return `{"message":"` + string(newValue(40, stream, number, time.Now().UnixMicro()-5000)) + `"}`
}

func TestWhatGoesWrongIsCounted(t *testing.T) {
	text := func(messages ...string) []byte { return serverFrame(opText, strings.Join(messages, "\n")) }
	deflated := func(messages ...string) []byte { return compressedFrame(t, strings.Join(messages, "\n")) }
	for _, test := range []struct {
		name    string
		written []int64
		frames  [][]byte
		want    verdict
	}{
		{"nothing", []int64{2, 2}, [][]byte{text(message(0, 0)), text(message(1, 0), message(0, 1)), text(message(1, 1))}, verdict{}},
		{"a gap", []int64{3, 0}, [][]byte{text(message(0, 0)), text(message(0, 2))}, verdict{Lost: 1}},
		{"the end", []int64{3, 0}, [][]byte{text(message(0, 0)), text(message(0, 1))}, verdict{Lost: 1}},
		{"a partition", []int64{1, 2}, [][]byte{text(message(0, 0))}, verdict{Lost: 2}},
		{"twice", []int64{2, 0}, [][]byte{text(message(0, 0)), text(message(0, 0)), text(message(0, 1))}, verdict{Repeated: 1}},
		{"order", []int64{3, 0}, [][]byte{text(message(0, 0)), text(message(0, 2)), text(message(0, 1))}, verdict{Lost: 1, Repeated: 1}},
		{"nothing, compressed", []int64{2, 1}, [][]byte{deflated(message(0, 0), message(0, 1)), deflated(message(1, 0))}, verdict{}},
		{"a gap, compressed", []int64{3, 0}, [][]byte{deflated(message(0, 0)), deflated(message(0, 2))}, verdict{Lost: 1}},
		{
			"closed", []int64{1, 0},
			[][]byte{text(message(0, 0)), serverFrame(opClose, "\x0f\xa0fell behind")},
			verdict{Ended: 1, Why: "closed with 4000 fell behind"},
		},
		{
			"a pong that nobody asked for", []int64{0, 0}, [][]byte{serverFrame(opPong, "")},
			verdict{Ended: 1, Why: "a pong too many"},
		},
	} {
		for _, piece := range []int{1, 7, 1000} {
			if _, got := hear(t, piece, test.written, test.frames...); got != test.want {
				t.Errorf("%s, in pieces of %d: %+v, want %+v", test.name, piece, got, test.want)
			}
		}
	}
}

func TestLatency(t *testing.T) {
	f, _ := hear(t, 1000, []int64{1, 0}, serverFrame(opText, message(0, 0)))
	if got := f.latency().millis(.5); got < 4.8 || got > 5000 {
		t.Errorf("%v ms, want 5 at least", got)
	}
}

func TestHistogram(t *testing.T) {
	for _, micros := range []int64{0, 1, 31, 32, 33, 63, 64, 1000, 12345, 1e6, 1e9} {
		if got, want := value(bucket(micros)), float64(micros); got < want*0.96 || got > want*1.04+0.5 {
			t.Errorf("%v is taken for %v", want, got)
		}
	}
	var h histogram
	for micros := range int64(1000) {
		h.add(micros)
	}
	all := new(total)
	all.add(&h)
	for share, want := range map[float64]float64{.5: .5, .99: .99} {
		if got := all.millis(share); got < want*0.95 || got > want*1.05 {
			t.Errorf("the share %v is up to %v ms, want %v", share, got, want)
		}
	}
}
