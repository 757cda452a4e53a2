package embedded

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// maxRequest is the largest request, in bytes, that the broker reads: the
// default of Kafka's socket.request.max.bytes.
const maxRequest = 100 << 20

// tracker counts a broker's open connections.
type tracker struct {
	mu    sync.Mutex
	n     int
	since time.Time // when n became 0
}

func newTracker() *tracker { return &tracker{since: time.Now()} }

func (t *tracker) add(d int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += d
	if t.n == 0 {
		t.since = time.Now()
	}
}

// open returns the number of open connections.
func (t *tracker) open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// idle returns for how long there has been no connection; 0 while there is one.
func (t *tracker) idle() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n > 0 {
		return 0
	}
	return time.Since(t.since)
}

// listener counts the connections it accepts and guards each of them.
type listener struct {
	net.Listener
	conns *tracker
}

// Accept returns the next connection, counted until it is closed.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.conns.add(1)
	return &conn{Conn: c, conns: l.conns}, nil
}

// conn guards the broker against what is no Kafka request. kfake, a tool for
// tests, trusts its peer: it would panic, and take Caddy along, on a kind of
// request that does not exist, and reserve whatever size the peer names, which
// for a browser on the wrong port is the letters "GET ".
type conn struct {
	net.Conn
	conns *tracker
	once  sync.Once

	// The rest is Read's, which one goroutine calls.
	head [8]byte // of the request being read: its size, kind and version
	pend []byte  // what of head has not been handed on
	left int     // how many bytes of the request follow head
}

// Read reads on in the current request, or begins the next one. It fails when
// that one cannot be a Kafka request.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.pend) == 0 && c.left == 0 {
		if _, err := io.ReadFull(c.Conn, c.head[:]); err != nil {
			return 0, err
		}
		size, err := checkRequest(c.head)
		if err != nil {
			brokerLogger().Warn("closing a connection that does not speak Kafka",
				zap.Stringer("remote", c.RemoteAddr()), zap.Error(err))
			return 0, err
		}
		c.pend, c.left = c.head[:], size-4
	}
	if len(c.pend) > 0 {
		n := copy(p, c.pend)
		c.pend = c.pend[n:]
		return n, nil
	}
	if len(p) > c.left {
		p = p[:c.left]
	}
	n, err := c.Conn.Read(p)
	c.left -= n
	return n, err
}

// Close closes the connection; further calls do nothing.
func (c *conn) Close() error {
	var err error
	c.once.Do(func() {
		err = c.Conn.Close()
		c.conns.add(-1)
	})
	return err
}

// checkRequest returns the size of the request that begins with head: four
// bytes of size, then what they count, which begins with two bytes each of kind
// and version.
func checkRequest(head [8]byte) (int, error) {
	size := int32(binary.BigEndian.Uint32(head[:])) // #nosec G115 -- signed on the wire
	kind := int16(binary.BigEndian.Uint16(head[4:]))
	version := int16(binary.BigEndian.Uint16(head[6:]))
	// 8 is the smallest header there is: kind, version and correlation id.
	if size < 8 || size > maxRequest {
		return 0, fmt.Errorf("a request of %d bytes", size)
	}
	// A version newer than the broker's is no error: clients learn from the
	// answer which version to speak.
	if version < 0 || kmsg.RequestForKey(kind) == nil {
		return 0, fmt.Errorf("a request of unknown kind %d, version %d", kind, version)
	}
	return int(size), nil
}
