package main

import (
	"net"
	"strings"
	"testing"
	"time"
)

// serverFrame frames what a server sends.
func serverFrame(op byte, payload string) []byte {
	f := clientFrame(op, []byte(payload))
	head := len(f) - len(payload) - 4
	f[1] &^= 0x80
	return append(f[:head:head], payload...)
}

// hear has a client hear what a server writes in pieces of a size, and judges it.
func hear(t *testing.T, piece, each int, frames ...[]byte) (*fleet, verdict) {
	t.Helper()
	f := newFleet(&options{partitions: 2, size: 40})
	f.since.Store(0)
	here, there := net.Pipe()
	c := &client{fleet: f, conn: here, buf: make([]byte, readSize), next: make([]int64, 2)}
	f.clients = append(f.clients, c)
	f.readers.Go(c.read)
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
	return f, f.judge(each)
}

func message(partition, number int) string {
	return `{"message":"` + string(newValue(40, partition, number, time.Now().UnixMicro()-5000)) + `"}`
}

func TestWhatGoesWrongIsCounted(t *testing.T) {
	text := func(messages ...string) []byte { return serverFrame(opText, strings.Join(messages, "\n")) }
	for _, test := range []struct {
		name   string
		each   int
		frames [][]byte
		want   verdict
	}{
		{"nothing", 4, [][]byte{text(message(0, 0)), text(message(1, 0), message(0, 1)), text(message(1, 1))}, verdict{}},
		{"a gap", 3, [][]byte{text(message(0, 0)), text(message(0, 2))}, verdict{Lost: 1}},
		{"the end", 3, [][]byte{text(message(0, 0)), text(message(0, 1))}, verdict{Lost: 1}},
		{"twice", 2, [][]byte{text(message(0, 0)), text(message(0, 0)), text(message(0, 1))}, verdict{Repeated: 1}},
		{"order", 3, [][]byte{text(message(0, 0)), text(message(0, 2)), text(message(0, 1))}, verdict{Lost: 1, Repeated: 1}},
		{
			"closed", 1,
			[][]byte{text(message(0, 0)), serverFrame(opClose, "\x0f\xa0fell behind")},
			verdict{Ended: 1, Why: "closed with 4000 fell behind"},
		},
	} {
		for _, piece := range []int{1, 7, 1000} {
			if _, got := hear(t, piece, test.each, test.frames...); got != test.want {
				t.Errorf("%s, in pieces of %d: %+v, want %+v", test.name, piece, got, test.want)
			}
		}
	}
}

func TestLatency(t *testing.T) {
	f, _ := hear(t, 1000, 1, serverFrame(opText, message(0, 0)))
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

func TestFloodsThatAreTooLargeAreRefused(t *testing.T) {
	if _, err := parseOptions([]string{"-records", "1000000"}); err == nil || !strings.Contains(err.Error(), "does not stay within") {
		t.Errorf("got %v", err)
	}
	if _, err := parseOptions(nil); err != nil {
		t.Error(err)
	}
}
