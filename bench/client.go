package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

const (
	readSize = 32 << 10
	dialTime = 30 * time.Second
)

// client is one subscriber. It reads as much as there is, and goes over the
// frames in place.
type client struct {
	fleet *fleet
	conn  net.Conn
	buf   []byte
	held  int // bytes of buf that are filled

	received atomic.Int64
	next     []int64 // by partition, the number that comes next
	lost     int64
	repeated int64 // came again, or too late
	latency  histogram
	err      error // why it ended
}

// dial connects a client and takes it through the target's greeting.
func (f *fleet) dial(e endpoint) (*client, error) {
	conn, err := net.DialTimeout("tcp", e.addr, dialTime)
	if err != nil {
		return nil, err
	}
	c := &client{fleet: f, conn: conn, buf: make([]byte, readSize), next: make([]int64, f.partitions)}
	if err := c.greet(e); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// greet does the handshake and says hello where the protocol wants it.
func (c *client) greet(e endpoint) error {
	_ = c.conn.SetDeadline(time.Now().Add(dialTime))
	request := "GET " + e.path + " HTTP/1.1\r\nHost: " + e.addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if e.subprotocol != "" {
		request += "Sec-WebSocket-Protocol: " + e.subprotocol + "\r\n"
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
	c.keep(c.buf[len(head)+len(end) : c.held])
	if e.hello != "" {
		if err := c.sayHello(e); err != nil {
			return err
		}
	}
	return c.conn.SetDeadline(time.Time{})
}

func (c *client) sayHello(e endpoint) error {
	if _, err := c.conn.Write(clientFrame(opText, []byte(e.hello))); err != nil {
		return err
	}
	for {
		_, payload, rest, ok, err := nextFrame(c.buf[:c.held])
		if err != nil {
			return err
		}
		if ok {
			if !strings.Contains(string(payload), e.welcome) {
				return fmt.Errorf("the greeting was answered with %q", payload)
			}
			c.keep(rest)
			return nil
		}
		if err := c.fill(); err != nil {
			return fmt.Errorf("reading the answer to the greeting: %w", err)
		}
	}
}

// fill reads what there is.
func (c *client) fill() error {
	if c.held == len(c.buf) {
		return errors.New("a frame is larger than what is read at once")
	}
	n, err := c.conn.Read(c.buf[c.held:])
	c.held += n
	return err
}

// keep leaves only the rest in the buffer.
func (c *client) keep(rest []byte) { c.held = copy(c.buf, rest) }

// read goes on until the connection ends.
func (c *client) read() {
	for {
		if c.err = c.takeFrames(); c.err != nil {
			return
		}
		if c.err = c.fill(); c.err != nil {
			return
		}
	}
}

// takeFrames takes the whole frames that the buffer holds.
func (c *client) takeFrames() error {
	if c.held == 0 {
		return nil
	}
	var now, taken int64
	rest := c.buf[:c.held]
	for {
		op, payload, after, ok, err := nextFrame(rest)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		rest = after
		switch op {
		case opText, opBinary:
			if now == 0 {
				now = time.Now().UnixMicro()
			}
			n, err := c.takeValues(payload, now)
			if err != nil {
				return err
			}
			taken += n
		case opPing:
			if _, err := c.conn.Write(clientFrame(opPong, payload)); err != nil {
				return err
			}
		case opClose:
			if len(payload) < 2 {
				return errors.New("closed without a code")
			}
			return fmt.Errorf("closed with %d %s", binary.BigEndian.Uint16(payload), payload[2:])
		}
	}
	c.keep(rest)
	c.received.Add(taken)
	return nil
}

// takeValues takes the values in a message, which may be several.
func (c *client) takeValues(message []byte, now int64) (taken int64, err error) {
	size := c.fleet.valueSize
	for {
		i := bytes.IndexByte(message, marker)
		if i < 0 {
			return taken, nil
		}
		if len(message) < i+size {
			return taken, fmt.Errorf("a value was cut short: %q", message)
		}
		partition, number, micros, err := parseValue(message[i : i+size])
		if err != nil {
			return taken, err
		}
		if partition >= len(c.next) {
			return taken, fmt.Errorf("a record of partition %d", partition)
		}
		c.count(partition, int64(number))
		if micros >= c.fleet.since.Load() {
			c.latency.add(now - micros)
		}
		taken++
		message = message[i+size:]
	}
}

func (c *client) count(partition int, number int64) {
	switch next := c.next[partition]; {
	case number < next:
		c.repeated++
		return
	case number > next:
		c.lost += number - next
	}
	c.next[partition] = number + 1
}
