package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// readSize is what a client reads at once. A frame that is larger makes its
// buffer grow.
const readSize = 32 << 10

// client is one session. It reads as much as there is, and goes over the frames
// in place.
type client struct {
	fleet  *fleet
	conn   net.Conn
	buf    []byte
	held   int   // bytes of buf that are filled
	topics []int // that it subscribed to, by their places among the writer's

	received atomic.Int64
	began    int64   // how much of received it had not to receive
	next     []int64 // by stream, the number that comes next
	lost     int64
	repeated int64 // came again, or too late
	latency  histogram

	// arrived, if there is one, hears once when a value came.
	arrived chan time.Time
	pongs   chan time.Time // has room for as many as the fleet says
	done    chan struct{}  // closed when reading has ended
	err     error          // why; set before
}

// fill reads what there is.
func (c *client) fill() error {
	if c.held == len(c.buf) {
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, err := c.conn.Read(c.buf[c.held:])
	c.held += n
	return err
}

// keep leaves only the rest in the buffer.
func (c *client) keep(rest []byte) { c.held = copy(c.buf, rest) }

// read goes on until the connection ends.
func (c *client) read() {
	defer close(c.done)
	for {
		if c.err = c.takeFrames(); c.err != nil {
			return
		}
		if c.err = c.fill(); c.err != nil {
			return
		}
	}
}

// begin has a client that does not read yet begin at these numbers. What is before
// counts as received.
func (c *client) begin(next []int64) {
	copy(c.next, next)
	for _, n := range next {
		c.began += n
	}
	c.received.Store(c.began)
}

// close disconnects, and waits for the reader.
func (c *client) close() {
	_ = c.conn.SetReadDeadline(time.Now())
	<-c.done
	c.hangUp()
}

// hangUp leaves no port behind that waits for the last packets: thousands in
// each run would take up the ports of the next.
func (c *client) hangUp() {
	conn := c.conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// takeFrames takes the whole frames that the buffer holds.
func (c *client) takeFrames() error {
	if c.held == 0 {
		return nil
	}
	var now time.Time
	var taken int64
	rest := c.buf[:c.held]
	for {
		f, after, ok, err := nextFrame(rest)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		rest = after
		if now.IsZero() {
			now = time.Now()
		}
		n, err := c.take(f, now)
		if err != nil {
			return err
		}
		taken += n
	}
	c.keep(rest)
	if taken > 0 && c.arrived != nil {
		c.arrived <- now
		c.arrived = nil
	}
	c.received.Add(taken)
	return nil
}

// take takes one frame and returns how many values were in it.
func (c *client) take(f frame, now time.Time) (taken int64, err error) {
	switch f.op {
	case opText, opBinary:
		payload := f.payload
		if f.deflated {
			if payload, err = c.fleet.inflater.inflate(payload); err != nil {
				return 0, err
			}
		}
		return c.takeValues(payload, now.UnixMicro())
	case opPing:
		_, err = c.conn.Write(appendClientFrame(nil, opPong, f.payload))
	case opPong:
		select {
		case c.pongs <- now:
		default:
			err = errors.New("a pong too many")
		}
	case opClose:
		err = errors.New("closed without a code")
		if len(f.payload) >= 2 {
			err = fmt.Errorf("closed with %d %s", binary.BigEndian.Uint16(f.payload), f.payload[2:])
		}
	}
	return 0, err
}

// takeValues takes the values in a message, which may be several.
func (c *client) takeValues(message []byte, now int64) (taken int64, err error) {
	size := c.fleet.load.size
	for {
		i := bytes.IndexByte(message, marker)
		if i < 0 {
			return taken, nil
		}
		if len(message) < i+size {
			return taken, fmt.Errorf("a value was cut short: %q", message)
		}
		stream, number, micros, err := parseValue(message[i : i+size])
		if err != nil {
			return taken, err
		}
		if stream >= len(c.next) {
			return taken, fmt.Errorf("a record of stream %d", stream)
		}
		c.count(stream, number)
		if micros >= c.fleet.since.Load() && micros < c.fleet.until.Load() {
			c.latency.add(now - micros)
		}
		taken++
		message = message[i+size:]
	}
}

func (c *client) count(stream int, number int64) {
	switch next := c.next[stream]; {
	case number < next:
		c.repeated++
		return
	case number > next:
		c.lost += number - next
	}
	c.next[stream] = number + 1
}

// judge looks at a client that was closed, given how many values each stream has.
func (c *client) judge(written []int64) (v verdict) {
	v.Repeated, v.Lost = c.repeated, c.lost
	for _, t := range c.topics {
		for s := t * c.fleet.load.partitions; s < (t+1)*c.fleet.load.partitions; s++ {
			v.Lost += max(0, written[s]-c.next[s]) // what is missing at the end leaves no gap
		}
	}
	if !errors.Is(c.err, os.ErrDeadlineExceeded) {
		v.Ended, v.Why = 1, c.err.Error()
	}
	return v
}
