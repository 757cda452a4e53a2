package gateway

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/record"
)

func TestSessionsGetEveryRecordInOrder(t *testing.T) {
	r := newRig(t, nil)
	const subscribers, rounds = 50, 40
	values := numbered(50, 100)
	var wg sync.WaitGroup
	for range subscribers {
		ws := r.dial("a", "b")
		wg.Go(func() {
			next := map[string]int{}
			for range 2 * rounds * len(values) {
				_, p, err := ws.ReadMessage()
				if err != nil {
					t.Error(err)
					return
				}
				topic, rest, _ := strings.Cut(string(p), " ")
				if want := values[next[topic]%len(values)]; rest != want {
					t.Errorf("%s: got %.40s, want %.40s", topic, rest, want)
					return
				}
				next[topic]++
			}
		})
	}
	for _, topic := range []string{"a", "b"} {
		wg.Go(func() {
			named := make([]string, len(values))
			for i, v := range values {
				named[i] = topic + " " + v
			}
			for round := range rounds {
				r.source.feed(topic, 0, int64(round*len(values)), named...)
			}
		})
	}
	wg.Wait()
}

func TestLongRecordsAndControlFramesDoNotMix(t *testing.T) {
	r := newRig(t, nil)
	ws := r.dial("a")
	sizes := []int{1, 125, 126, 65_535, 65_536, 70_000, 300_000, 1_000_000, 3, 16_384, 16_380}
	pongs := make(chan string, 1000)
	ws.SetPongHandler(func(p string) error { pongs <- p; return nil })
	go func() {
		for i, size := range sizes {
			r.source.feed("a", 0, int64(i), strings.Repeat(string(rune('a'+i)), size))
			_ = ws.WriteControl(websocket.PingMessage, []byte{byte(i)}, time.Now().Add(patience))
		}
	}()
	for i, size := range sizes {
		if got, want := read(t, ws), strings.Repeat(string(rune('a'+i)), size); got != want {
			t.Fatalf("record %d of %d bytes came as %d bytes", i, size, len(got))
		}
	}
	// The last pong may be behind the last record.
	r.source.feed("a", 0, 100, "end")
	if got := read(t, ws); got != "end" {
		t.Fatal(got)
	}
	if len(pongs) < len(sizes)-1 {
		t.Errorf("%d pongs for %d pings", len(pongs), len(sizes))
	}
}

func TestStalledClientDelaysNobodyAndIsClosed(t *testing.T) {
	const buffer = 8 << 20
	r := newRig(t, func(h *HubConfig, p *PoolConfig) { h.Buffer, p.SlowClient = buffer, SlowDisconnect })
	// stalled reads nothing; its socket takes some and then blocks.
	stalled := r.dial("a")
	good := r.dial("a")
	done := make(chan error, 1)
	const records, size = 40_000, 1000
	go func() {
		for range records {
			if _, _, err := good.ReadMessage(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	values := numbered(100, size)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range records / 100 {
			r.source.feed("a", 0, int64(i*100), values...)
			for !r.source.sink("a").Ready() {
				<-r.source.resume
			}
		}
	}()
	if err := <-done; err != nil {
		t.Fatal("the client that reads: ", err)
	}
	<-sent
	if held := r.hub.held.Load(); held > 2*buffer {
		t.Errorf("the tail holds %d bytes, the buffer is %d", held, buffer)
	}
	if code := r.awaitEnd(); code != CloseRecordsLost {
		t.Errorf("the stalled session ended with %d", code)
	}
	_ = stalled
}

func TestSlowClientGetsAllWhileItStaysInTheBuffer(t *testing.T) {
	r := newRig(t, nil)
	ws := r.dial("a")
	values := numbered(200, 20_000) // 4 MB: more than sockets hold
	r.source.feed("a", 0, 0, values...)
	for i, want := range values {
		if got := read(t, ws); got != want {
			t.Fatalf("record %d: got %.30s", i, got)
		}
	}
}

func TestCloseCodes(t *testing.T) {
	zeros := bytes.Repeat([]byte{0}, 2<<20)
	var bomb bytes.Buffer
	w, _ := flate.NewWriter(&bomb, 9)
	_, _ = w.Write(zeros)
	_ = w.Flush()
	for _, tc := range []struct {
		name string
		send []byte // raw, unmasked frames are masked with zeros
		code int
	}{
		{"message over the limit", frame(0x81, strings.Repeat("x", 1<<20+1)), CloseTooBig},
		{"length of 2^62", []byte{0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, CloseTooBig},
		{"not UTF-8", frame(0x81, "a b\xff"), CloseNotDecodable},
		{"not UTF-8, message not ended", frame(0x01, "a \xf4\x90\x80\x80"), CloseNotDecodable},
		{"text ends inside a character", frame(0x81, "a \xe2\x82"), CloseNotDecodable},
		{"not decodable", frame(0x81, "nonsense"), CloseNotDecodable},
		{"illegal topic", frame(0x81, "a/b x"), ClosePolicy},
		{"forbidden topic", frame(0x81, "forbidden x"), ClosePolicy},
		{"unknown opcode", frame(0x83, "x"), CloseProtocolError},
		{"reserved bit", frame(0xc1, "x"), CloseProtocolError},
		{"empty fragments without end", append(frame(0x01, "a"), bytes.Repeat(frame(0x00, ""), 1_000_000)...), ClosePolicy},
		{"pings without end", bytes.Repeat(frame(0x89, ""), 200_000), ClosePolicy},
		{"client closes", frame(0x88, "\x0b\xb8bye"), 3000},
		{"client closes without a code", frame(0x88, ""), websocket.CloseNoStatusReceived},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil)
			ws := r.dial()
			go func() { _, _ = ws.NetConn().Write(tc.send) }()
			if code, reason := readClose(t, ws); code != tc.code {
				t.Errorf("closed with %d %q, want %d", code, reason, tc.code)
			}
			if code := r.awaitEnd(); code != tc.code {
				t.Errorf("session ended with %d, want %d", code, tc.code)
			}
		})
	}
	t.Run("compression bomb", func(t *testing.T) {
		r := newRig(t, nil)
		r.deflate = Deflate{On: true}
		ws := r.dial()
		go func() { _, _ = ws.NetConn().Write(frame(0xc1, bomb.String())) }()
		if code, _ := readClose(t, ws); code != CloseTooBig {
			t.Errorf("closed with %d", code)
		}
	})
	t.Run("corrupt compression", func(t *testing.T) {
		r := newRig(t, nil)
		r.deflate = Deflate{On: true}
		ws := r.dial()
		go func() { _, _ = ws.NetConn().Write(frame(0xc1, "\xff\xff\xff\xff")) }()
		if code, _ := readClose(t, ws); code != CloseNotDecodable {
			t.Errorf("closed with %d", code)
		}
	})
}

// frame makes a client's frame, masked with zeros.
func frame(first byte, payload string) []byte {
	var out []byte
	switch n := len(payload); {
	case n <= 125:
		out = []byte{first, 0x80 | byte(n)}
	case n <= 0xffff:
		out = binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(n))
	default:
		out = binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, uint64(n))
	}
	return append(append(out, 0, 0, 0, 0), payload...)
}

func TestPublish(t *testing.T) {
	t.Run("in order", func(t *testing.T) {
		r := newRig(t, nil)
		got := make(chan string, 100)
		r.producer.publish = func(rec *record.Record, done func(record.Outcome)) error {
			got <- rec.Topic + "=" + string(rec.Value)
			go done(record.Outcome{})
			return nil
		}
		ws := r.dial()
		for _, m := range []string{"t 1", "", "t 2"} {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []string{"t=1", "t=2"} {
			if have := <-got; have != want {
				t.Errorf("published %s, want %s", have, want)
			}
		}
	})
	t.Run("window", func(t *testing.T) {
		r := newRig(t, func(_ *HubConfig, p *PoolConfig) { p.MaxInFlight = 3 })
		pending := make(chan func(record.Outcome), 100)
		r.producer.publish = func(_ *record.Record, done func(record.Outcome)) error {
			pending <- done
			return nil
		}
		ws := r.dial()
		for range 10 {
			if err := ws.WriteMessage(websocket.TextMessage, []byte("t x")); err != nil {
				t.Fatal(err)
			}
		}
		var dones []func(record.Outcome)
		for range 3 {
			dones = append(dones, <-pending)
		}
		// The fourth comes only once there is room.
		for range 7 {
			if len(pending) != 0 {
				t.Fatal("more in flight than allowed")
			}
			dones[0](record.Outcome{})
			dones = append(dones[1:], <-pending)
		}
		for _, done := range dones {
			done(record.Outcome{})
		}
	})
	for err, code := range map[error]int{
		record.ErrUnknownTopic:   CloseUnknownTopic,
		record.ErrTooLarge:       CloseTooBig,
		record.ErrUnavailable:    CloseTryLater,
		record.ErrUnknownOutcome: CloseUnknownOutcome,
		record.ErrRefused:        CloseRefused,
	} {
		t.Run(err.Error(), func(t *testing.T) {
			for _, late := range []bool{false, true} {
				r := newRig(t, nil)
				r.producer.publish = func(_ *record.Record, done func(record.Outcome)) error {
					if !late {
						return err
					}
					go done(record.Outcome{Err: err})
					return nil
				}
				ws := r.dial()
				_ = ws.WriteMessage(websocket.TextMessage, []byte("t x"))
				if got, _ := readClose(t, ws); got != code {
					t.Errorf("closed with %d, want %d", got, code)
				}
			}
		})
	}
}

func TestDrainWaitsForAcknowledgements(t *testing.T) {
	r := newRig(t, nil)
	pending := make(chan func(record.Outcome), 1)
	r.producer.publish = func(_ *record.Record, done func(record.Outcome)) error {
		pending <- done
		return nil
	}
	publisher, listener := r.dial("a"), r.dial("a")
	if err := publisher.WriteMessage(websocket.TextMessage, []byte("t x")); err != nil {
		t.Fatal(err)
	}
	done := <-pending
	r.pool.Drain(CloseRestart, "changed", 0)
	if code, _ := readClose(t, listener); code != CloseRestart {
		t.Errorf("closed with %d", code)
	}
	if _, err := r.pool.Open(context.Background(), SessionConfig{Encoding: r.encoding}); !errors.Is(err, ErrDraining) {
		t.Errorf("a draining pool opened a session: %v", err)
	}
	r.source.feed("a", 0, 0, "still served")
	if got := read(t, publisher); got != "still served" {
		t.Error(got)
	}
	done(record.Outcome{})
	if code, _ := readClose(t, publisher); code != CloseRestart {
		t.Errorf("closed with %d", code)
	}
	<-r.pool.Done()
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	r := newRig(t, func(_ *HubConfig, p *PoolConfig) { p.PingInterval = 100 * time.Millisecond })
	silent := r.dial("a") // reads nothing, so answers no ping
	talking := r.dial("a")
	go func() {
		for {
			if _, _, err := talking.ReadMessage(); err != nil {
				return
			}
		}
	}()
	if code := r.awaitEnd(); code != closeGone {
		t.Errorf("ended with %d", code)
	}
	// A session gives its place back after it has told its end.
	for r.pool.Sessions() != 1 {
		time.Sleep(time.Millisecond)
	}
	_ = silent
}

func TestTopicsAreReadOnceAndKept(t *testing.T) {
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) { h.KeepReading = 0 })
	first := r.dial("a")
	second := r.dial("a") // a second reading would panic
	first.Close()
	r.awaitEnd()
	r.source.feed("a", 0, 0, "on")
	if got := read(t, second); got != "on" {
		t.Error(got)
	}
	second.Close()
	if got := <-r.source.stopped; got != "a" {
		t.Errorf("stopped reading %s", got)
	}
	if held := r.hub.held.Load(); held != 0 {
		t.Errorf("%d bytes held for nobody", held)
	}
}

func TestPositionsAreFixedBeforeTheHandshake(t *testing.T) {
	r := newRig(t, nil)
	r.source.silent["a"] = true
	ctx, cancel := context.WithCancel(context.Background())
	opened := make(chan error, 1)
	go func() {
		_, err := r.pool.Open(ctx, SessionConfig{Encoding: r.encoding, Topics: []string{"a"}})
		opened <- err
	}()
	for r.source.sink("a") == nil {
		runtime.Gosched()
	}
	select {
	case err := <-opened:
		t.Fatal("opened without positions", err)
	default:
	}
	cancel()
	if err := <-opened; !errors.Is(err, record.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestUnencodableRecordsAreSkipped(t *testing.T) {
	skipped := make(chan string, 1)
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) {
		h.Skipped = func(topic string, err error) { skipped <- topic }
	})
	ws := r.dial("a")
	r.source.feed("a", 0, 0, "1", "unencodable", "3")
	if got := read(t, ws) + read(t, ws); got != "13" {
		t.Error(got)
	}
	if got := <-skipped; got != "a" {
		t.Error(got)
	}
}

func TestDeflate(t *testing.T) {
	for _, bits := range []int{0, 8, 9, 12, 15} {
		r := newRig(t, nil)
		r.deflate = Deflate{On: true, MinSize: 10, WindowBits: bits}
		ws := r.dial("a")
		values := append(numbered(20, 5000), "short", "incompressible \x01\x02\x7f")
		r.source.feed("a", 0, 0, values...)
		for i, want := range values {
			if got := read(t, ws); got != want {
				t.Fatalf("window %d: record %d: got %.40q", bits, i, got)
			}
		}
	}
}

// TestDeflateKeepsTheWindow inflates with a window as small as the client has.
func TestDeflateKeepsTheWindow(t *testing.T) {
	// Distances of a deflate stream show only to a decoder. A message whose
	// only repetition is farther back than the window must not shrink by it.
	random := make([]byte, 600)
	for i := range random {
		random[i] = byte(i*i*31 + i*7 + i>>3)
	}
	message := append(append([]byte(nil), random...), random...)
	wide, ok := newDeflater(Deflate{On: true}).compress(message)
	if !ok || len(wide) > 1000 {
		t.Fatalf("the repetition is not found at all: %d bytes", len(wide))
	}
	narrow, _ := newDeflater(Deflate{On: true, WindowBits: 9}).compress(message)
	if len(narrow) < 1100 {
		t.Errorf("%d bytes: refers back farther than 512 bytes", len(narrow))
	}
}

func TestTornConnectionsLeaveNothing(t *testing.T) {
	r := newRig(t, nil)
	for range 200 {
		ws := r.dial("a")
		_ = ws.NetConn().(*net.TCPConn).SetLinger(0)
		_ = ws.NetConn().Close()
	}
	for range 200 {
		r.awaitEnd()
	}
	// The last is about to give its place back. goleak looks after the goroutines.
	r.pool.Drain(CloseGoingAway, "", 0)
	select {
	case <-r.pool.Done():
	case <-time.After(patience):
		t.Errorf("%d sessions left", r.pool.Sessions())
	}
}

func TestEarlyBytesAreRead(t *testing.T) {
	s := newSession(NewPool(PoolConfig{}), SessionConfig{})
	near, far := net.Pipe()
	conn, _ := s.Conn(func([]byte) (net.Conn, []byte, error) { return near, []byte("early"), nil })
	if _, err := conn.Write([]byte("HTTP/1.1 101")); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = far.Write([]byte(" late"))
		far.Close()
	}()
	all, err := io.ReadAll(conn)
	if err != nil || string(all) != "early late" {
		t.Errorf("%q, %v", all, err)
	}
}

// TestReplayJoinsTheTailExactly has sessions begin at the first record while
// records come in: each gets every record once, in order per partition.
func TestReplayJoinsTheTailExactly(t *testing.T) {
	const partitions, stored, live = 3, 500, 1500
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) { h.Buffer = 64 << 10 })
	r.source.stored = map[int32][]string{}
	value := func(p, i int) string { return fmt.Sprintf("%d %d", p, i) }
	for p := range partitions {
		for i := range stored {
			r.source.stored[int32(p)] = append(r.source.stored[int32(p)], value(p, i))
		}
	}
	var wg sync.WaitGroup
	for range 20 {
		ws := r.dial("a", "&earliest")
		wg.Go(func() {
			next := [partitions]int{}
			for range partitions * (stored + live) {
				_, message, err := ws.ReadMessage()
				if err != nil {
					t.Error(err)
					return
				}
				var p, i int
				_, _ = fmt.Sscan(string(message), &p, &i)
				if next[p] != i {
					t.Errorf("partition %d: got %d, want %d", p, i, next[p])
					return
				}
				next[p]++
			}
		})
	}
	for i := stored; i < stored+live; i++ {
		for p := range partitions {
			r.source.mu.Lock()
			r.source.stored[int32(p)] = append(r.source.stored[int32(p)], value(p, i))
			r.source.mu.Unlock()
			r.source.feed("a", int32(p), int64(i), value(p, i))
		}
	}
	wg.Wait()
}

// TestEarliestInASecondEncoding follows a topic that did not exist when it was
// first asked for, in an encoding whose tail begins after its first records.
func TestEarliestInASecondEncoding(t *testing.T) {
	r := newRig(t, nil)
	r.source.silent["a"] = true
	r.encodings = map[string]*Encoding{"other": {ID: "other", Codec: rawCodec{}}}
	first := make(chan *websocket.Conn)
	go func() { first <- r.dial("a", "&earliest") }()
	for r.source.sink("a") == nil {
		runtime.Gosched()
	}
	r.source.sink("a").Missing()
	ws := <-first
	r.source.sink("a").Started(record.Started{Next: map[int32]int64{0: 0}})
	r.source.mu.Lock()
	r.source.stored = map[int32][]string{0: {"1", "2"}}
	r.source.mu.Unlock()
	r.source.feed("a", 0, 0, "1", "2")
	if got := read(t, ws) + read(t, ws); got != "12" {
		t.Error(got)
	}
	later := r.dial("a", "&encoding=other&earliest")
	if got := read(t, later) + read(t, later); got != "12" {
		t.Error(got)
	}
}
