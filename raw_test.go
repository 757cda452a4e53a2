package kafkaws_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Opcodes of RFC 6455 §5.2, and the bit of a frame that ends a message.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	fin = 0x80
)

// rawClient sends and receives bytes that the WebSocket library has no say in.
type rawClient struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// connect opens a connection without a word.
func (s *site) connect() *rawClient {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err == nil && s.tls != nil {
		conn = tls.Client(conn, s.tls)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &rawClient{conn, s.t, bufio.NewReader(conn)}
}

// request returns a request for an upgrade that nothing is wrong with.
func (s *site) request(query string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+s.addr+s.path+"?"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-WebSocket-Version": {"13"},
		"Sec-WebSocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	return r
}

// ask sends the request, changed by edit, on a connection of its own.
func (s *site) ask(query string, edit func(*http.Request)) (*rawClient, *http.Response) {
	s.t.Helper()
	r := s.request(query)
	if edit != nil {
		edit(r)
	}
	c := s.connect()
	if err := r.Write(c); err != nil {
		s.t.Fatal(err)
	}
	return c, c.response(r)
}

// upgraded is a connection after its handshake.
func (s *site) upgraded(query string, subprotocols ...string) *rawClient {
	s.t.Helper()
	c, resp := s.ask(query, func(r *http.Request) {
		if len(subprotocols) > 0 {
			r.Header["Sec-WebSocket-Protocol"] = subprotocols
		}
	})
	if resp.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("%s: got %s", query, resp.Status)
	}
	return c
}

// response reads the answer to a request.
func (c *rawClient) response(r *http.Request) *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, r)
	if err != nil {
		c.t.Fatalf("reading the response: %v", err)
	}
	c.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// write sends bytes as they are.
func (c *rawClient) write(p ...[]byte) {
	c.t.Helper()
	if _, err := c.Write(slices.Concat(p...)); err != nil {
		c.t.Fatal(err)
	}
}

// bytes reads exactly what is wanted.
func (c *rawClient) bytes(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.r, got); err != nil {
		c.t.Fatalf("got %q and %v, want %q", got[:n], err, want)
	}
	if string(got) != want {
		c.t.Fatalf("got  %q\nwant %q", got, want)
	}
}

// frame reads the first byte and the payload of a frame, which is not masked.
func (c *rawClient) frame() (byte, string) {
	c.t.Helper()
	var head [2]byte
	c.fill(head[:])
	size := uint64(head[1])
	switch head[1] {
	case 126:
		var n [2]byte
		c.fill(n[:])
		size = uint64(binary.BigEndian.Uint16(n[:]))
	case 127:
		var n [8]byte
		c.fill(n[:])
		size = binary.BigEndian.Uint64(n[:])
	}
	payload := make([]byte, size)
	c.fill(payload)
	return head[0], string(payload)
}

func (c *rawClient) fill(p []byte) {
	c.t.Helper()
	if _, err := io.ReadFull(c.r, p); err != nil {
		c.t.Fatalf("reading a frame: %v", err)
	}
}

// expectClose reads a Close frame with a code and a reason that a person can
// read, and then the end of the connection.
func (c *rawClient) expectClose(code int) {
	c.t.Helper()
	first, payload := c.frame()
	if first != fin|opClose || len(payload) < 2 {
		c.t.Fatalf("got the frame %#x %q, want a Close frame", first, payload)
	}
	if got := int(binary.BigEndian.Uint16([]byte(payload))); got != code {
		c.t.Fatalf("closed with %d %q, want %d", got, payload[2:], code)
	}
	c.end()
}

// end reads the end of the connection.
func (c *rawClient) end() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err != io.EOF {
		c.t.Fatalf("after the end came %#x, %v", b, err)
	}
}

// masked makes a client's frame. The mask is such that the payload stays legible.
func masked(first byte, payload string) []byte {
	frame := []byte{first, 0x80}
	switch n := len(payload); {
	case n <= 125:
		frame[1] |= byte(n)
	case n <= 0xffff:
		frame[1] |= 126
		frame = binary.BigEndian.AppendUint16(frame, uint16(n))
	default:
		frame[1] |= 127
		frame = binary.BigEndian.AppendUint64(frame, uint64(n))
	}
	frame = append(frame, 0, 0, 0, 0)
	return append(frame, payload...)
}

// entry is a line of Caddy's log.
type entry map[string]any

// has reports whether the entry has all fields, texts at least as a part.
func (e entry) has(fields entry) bool {
	for name, want := range fields {
		got, ok := e[name]
		if text, isText := want.(string); isText {
			ok = ok && strings.Contains(fmt.Sprint(got), text)
		} else {
			ok = ok && fmt.Sprint(got) == fmt.Sprint(want)
		}
		if !ok {
			return false
		}
	}
	return true
}

// logged waits for a line of the log with these fields.
func (c *caddyProcess) logged(fields entry) entry {
	c.t.Helper()
	var found entry
	await(c.t, fmt.Sprintf("a line of the log with %v", fields), func() bool {
		for line := range strings.Lines(c.Log()) {
			var e entry
			if json.Unmarshal([]byte(line), &e) == nil && e.has(fields) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}
