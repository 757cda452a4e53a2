package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"
)

const dialTime = 30 * time.Second

// endpoint is where and how a target is spoken to.
type endpoint struct {
	addr, path, subprotocol string
	hello, welcome          string      // a first message, and what its answer contains
	tls                     *tls.Config // nil is none
	deflate                 bool
}

// dial connects a client and takes it through the target's greeting. It returns
// how long the handshake took, from the request to its answer.
func (f *fleet) dial(e endpoint, topics []int) (c *client, handshake time.Duration, err error) {
	conn, err := net.DialTimeout("tcp", e.addr, dialTime)
	if err != nil {
		return nil, 0, err
	}
	c = &client{
		fleet: f, conn: conn, topics: topics, buf: make([]byte, readSize), next: make([]int64, f.load.streams()),
		pongs: make(chan time.Time, f.pongs), done: make(chan struct{}),
	}
	if e.tls != nil {
		c.conn = tls.Client(conn, e.tls)
	}
	if handshake, err = c.greet(e); err != nil {
		c.hangUp()
		return nil, 0, err
	}
	return c, handshake, nil
}

// greet does the handshakes, of TLS and of WebSocket, and says hello where the
// protocol wants it.
func (c *client) greet(e endpoint) (handshake time.Duration, err error) {
	_ = c.conn.SetDeadline(time.Now().Add(dialTime))
	if t, ok := c.conn.(*tls.Conn); ok {
		if err := t.Handshake(); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	if err := c.upgrade(e); err != nil {
		return 0, err
	}
	if e.hello != "" {
		if err := c.sayHello(e); err != nil {
			return 0, err
		}
	}
	return time.Since(start), c.conn.SetDeadline(time.Time{})
}

func (c *client) upgrade(e endpoint) error {
	request := "GET " + e.path + " HTTP/1.1\r\nHost: " + e.addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if e.subprotocol != "" {
		request += "Sec-WebSocket-Protocol: " + e.subprotocol + "\r\n"
	}
	if e.deflate {
		request += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	if _, err := c.conn.Write([]byte(request + "\r\n")); err != nil {
		return err
	}
	end := []byte("\r\n\r\n")
	for !bytes.Contains(c.buf[:c.held], end) {
		if err := c.fill(); err != nil {
			return fmt.Errorf("reading the handshake: %w", err)
		}
	}
	head, _, _ := bytes.Cut(c.buf[:c.held], end)
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || !bytes.Contains(head, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
		return fmt.Errorf("the handshake was answered with %q", head)
	}
	if bytes.Contains(head, []byte("server_no_context_takeover")) != e.deflate {
		return fmt.Errorf("compression was not negotiated as it was offered: %q", head)
	}
	c.keep(c.buf[len(head)+len(end) : c.held])
	return nil
}

func (c *client) sayHello(e endpoint) error {
	if _, err := c.conn.Write(appendClientFrame(nil, opText, []byte(e.hello))); err != nil {
		return err
	}
	for {
		f, rest, ok, err := nextFrame(c.buf[:c.held])
		if err != nil {
			return err
		}
		if ok {
			answer := f.payload
			if f.deflated {
				if answer, err = c.fleet.inflater.inflate(answer); err != nil {
					return err
				}
			}
			if !strings.Contains(string(answer), e.welcome) {
				return fmt.Errorf("the greeting was answered with %q", answer)
			}
			c.keep(rest)
			return nil
		}
		if err := c.fill(); err != nil {
			return fmt.Errorf("reading the answer to the greeting: %w", err)
		}
	}
}
