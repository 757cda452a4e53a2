package kafkaws_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// neighbour is a session that must not notice what others do to the server.
type neighbour struct {
	*publisher
	topic string
}

func startNeighbour(t testing.TB, s *site, broker *kafkatest.Broker) *neighbour {
	t.Helper()
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	return &neighbour{s.dial("topics="+topic).publish(topic, "neighbour", 10*time.Millisecond), topic}
}

// fine checks that the neighbour goes on to hear what it publishes.
func (n *neighbour) fine() {
	n.t.Helper()
	mustHear(n.t, []*listener{n.listener}, int(n.sent.Load())+3)
}

func TestBadInputHarmsNobodyElse(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), open)
	other := startNeighbour(t, s, broker)

	for _, topic := range []string{"..", ".", "a/b", "a b", "naïve", strings.Repeat("x", 250), "x\x00y", "a\nlevel=error"} {
		if status, _ := s.refused("topics="+url.QueryEscape(topic), nil); status != http.StatusBadRequest {
			t.Errorf("subscribing to %.20q was answered with %d, want 400", topic, status)
		}
		c := s.dial("")
		c.send(message(topic, "", "x"))
		c.expectClose(websocket.ClosePolicyViolation)
		// A name is data, wherever it is logged.
		if strings.Contains(s.Log(), "\nlevel=error") {
			t.Fatal("a topic's name made a line of the log")
		}
	}

	big := s.dial("")
	// The server stops to read it before its end.
	_ = big.WriteMessage(websocket.TextMessage, []byte(message(other.topic, "", strings.Repeat("x", 10<<20))))
	big.expectClose(websocket.CloseMessageTooBig)
	pieces := s.dial("")
	w, err := pieces.NextWriter(websocket.TextMessage)
	for err == nil {
		_, err = io.WriteString(w, strings.Repeat("x", 64<<10))
	}
	pieces.expectClose(websocket.CloseMessageTooBig)

	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		garbage := make([]byte, 1+random.IntN(300))
		for i := range garbage {
			garbage[i] = byte(random.Uint32())
		}
		c := s.dial("")
		if _, err := c.NetConn().Write(garbage); err != nil {
			t.Fatal(err)
		}
		// What looks like the beginning of a frame waits for the rest.
		if err := c.NetConn().(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for err = nil; err == nil; {
			_, _, err = c.ReadMessage()
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatalf("after %x the session goes on", garbage)
		}
	}
	noHTTP, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer noHTTP.Close()
	if _, err := noHTTP.Write([]byte("\x16\x03\x01 GET nothing\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, noHTTP); err != nil {
		t.Logf("bytes that are not HTTP: %v", err)
	}
	other.fine()
	waitFor(t, "one session is left", func() bool { return s.sessions() == "1" })
}

// TestFloodOfPings has a client that pings and never reads.
func TestFloodOfPings(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), open)
	other := startNeighbour(t, s, broker)
	flooder := s.dial("")
	ping := []byte{0x89, 0x80, 0, 0, 0, 0}
	pings := []byte(strings.Repeat(string(ping), 10_000))
	_ = flooder.NetConn().SetWriteDeadline(time.Now().Add(patience))
	var err error
	for sent := 0; err == nil; sent += len(pings) {
		if sent > 1<<30 {
			t.Fatal("a gigabyte of pings was taken")
		}
		_, err = flooder.NetConn().Write(pings)
	}
	await(t, "the session has ended", func() bool { return s.endings()[websocket.ClosePolicyViolation] == 1 })
	other.fine()
}

// TestPeersThatVanish has clients that are gone without a word: their systems,
// like that of a client that never reads, answer no ping.
func TestPeersThatVanish(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), open+"ping_interval 1s")
	other := startNeighbour(t, s, broker)

	quietTopic := kafkatest.Topic(t)
	broker.CreateTopic(t, quietTopic, 1, nil)
	vanished := 0
	for _, last := range []string{
		"",                           // idle
		"\x81",                       // within a frame's header
		"\x81\x85aaaa",               // before its payload
		"\x01\x81aaaaa\x80\x82aaaaa", // within a fragment
	} {
		c := s.dial("topics=" + quietTopic)
		if _, err := io.WriteString(c.NetConn(), last); err != nil {
			t.Fatal(err)
		}
		vanished++
	}
	quiet := s.dial("topics=" + quietTopic).listen() // it answers pings
	await(t, "those who vanished are given up", func() bool { return s.endings()[1006] == vanished })
	if n := strings.Count(s.Log(), "no sign of life"); n != vanished {
		t.Errorf("%d sessions ended for no sign of life, want %d", n, vanished)
	}
	if !quiet.open() {
		t.Errorf("a client that answers pings was closed with %d", quiet.code)
	}
	other.fine()
}

func TestThousandConnectsLeaveNothing(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), open)
	other := startNeighbour(t, s, broker)
	come := func(i int) {
		t.Helper()
		if i%4 == 3 {
			// One that is gone in the middle of the handshake.
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = fmt.Fprintf(conn, "GET %s?topics=%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", s.path, other.topic, s.addr)
			if i%8 == 3 {
				_, _ = bufio.NewReader(conn).ReadString('\n')
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			return
		}
		c := s.dial("topics=" + other.topic)
		switch i % 4 {
		case 0: // a clean close
			_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience))
			c.expectClose(websocket.CloseNormalClosure)
		case 1: // the end of the connection
		case 2: // a reset
			_ = c.NetConn().(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
	}
	come(0)
	base, files := goroutines(s, func(int) bool { return true }), s.files()
	for i := range 1000 {
		come(i)
	}
	settle(t, s, "a thousand connects", base, files)
	if n := s.sessions(); n != "1" {
		t.Errorf("%s sessions are left, want one", n)
	}
	other.fine()
}

func TestUnknownTopicCostsFewLookups(t *testing.T) {
	const (
		clients = 1000
		// How long the answer "there is none" is believed.
		believed = 1500 * time.Millisecond
	)
	kafka := watchKafka(t, kfake.SeedTopics(1, "known"))
	s := startSite(t, kafka.ListenAddrs()[0], open)
	started := time.Now()
	for range clients {
		c := s.dial("")
		c.send(message("unknown", "", "x"))
		c.expectClose(4500)
		_ = c.Close()
	}
	took := time.Since(started)
	counts := kafka.counts()
	t.Logf("%d clients in %v cost %v", clients, took, counts)
	if n, allowed := counts["Metadata"], int64(took/believed)+2; n > allowed {
		t.Errorf("%d metadata requests in %v, allowed are %d", n, took, allowed)
	}
	if n := counts["Produce"] + counts["InitProducerID"]; n > 0 {
		t.Errorf("%d requests of a producer", n)
	}
}
