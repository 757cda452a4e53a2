package gateway

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// Handshake sends the response that switches the connection to WebSocket and
// returns the connection, with the bytes that the client sent early.
type Handshake func(response []byte) (conn net.Conn, early []byte, err error)

// errFlood ends a message that takes many more bytes on the wire than it has:
// fragments without end, which a limit on the message's size never sees.
var errFlood = errors.New("message is made of too many fragments")

// Conn is the connection that the WebSocket library holds of a session. The
// library reads from it; what it writes (the response of the handshake, then
// control frames of its own) goes where the session wants it, so that nobody
// but the flusher writes to the socket.
type Conn struct {
	net.Conn  // nil before the handshake
	session   *Session
	handshake Handshake
	early     []byte
	// more tells that the last read may have left something in the socket, and
	// ahead is what was then read of it beyond what was asked for; the reader's.
	more  bool
	ahead *ahead

	// budget is what the wire may still bring of the message that is being
	// read; it counts only while limited is set. The reader's own.
	budget  int64
	limited bool
}

// Read reads from the socket. All that comes in is a sign of life.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	c.early = nil
	n, err := c.fetch(p)
	if n > 0 {
		c.session.live()
	}
	if c.limited {
		if c.budget -= int64(n); c.budget < 0 {
			return 0, errFlood
		}
	}
	return n, err
}

// fetch reads from the socket, far ahead where a client sends much.
func (c *Conn) fetch(p []byte) (int, error) {
	if c.ahead == nil && c.more && c.session.direct.ok() {
		a := c.session.pool.aheads.Get().(*ahead)
		c.more = false
		if a.fill(c.session.direct.raw) {
			c.ahead = a
			c.more = len(a.rest) == aheadSize
		} else {
			c.session.pool.aheads.Put(a)
		}
	}
	if a := c.ahead; a != nil {
		n := copy(p, a.rest)
		if a.rest = a.rest[n:]; len(a.rest) == 0 {
			c.ahead = nil
			c.session.pool.aheads.Put(a)
		}
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.more = n == len(p)
	return n, err
}

// Write takes the response of the handshake, which is sent at once, and later
// the control frames that the WebSocket library sends of its own accord.
func (c *Conn) Write(p []byte) (int, error) {
	if c.Conn == nil {
		conn, early, err := c.handshake(p)
		if err != nil {
			return 0, err
		}
		c.early, c.handshake = early, nil
		c.session.connected(conn)
		return len(p), nil
	}
	if p[0]&0x0f == opClose {
		// Errors of the protocol, which the library finds.
		code, reason := CloseProtocolError, ""
		if len(p) >= 4 {
			code, reason = int(binary.BigEndian.Uint16(p[2:])), string(p[4:])
		}
		c.session.queueClose(p, code, reason)
		return len(p), nil
	}
	c.session.queue(p)
	return len(p), nil
}

// Close closes the socket; before the handshake there is none.
func (c *Conn) Close() error {
	if c.Conn == nil {
		return nil
	}
	return c.Conn.Close()
}

// SetDeadline does nothing: deadlines are the session's.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: deadlines are the session's.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: deadlines are the session's.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// limit starts to count what the wire brings of one message.
func (c *Conn) limit(n int64) { c.budget, c.limited = n, true }

func (c *Conn) unlimit() { c.limited = false }
