package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/IBM/sarama"
)

// dialer makes sarama's connections, and can break all of them at once. sarama
// itself waits for the answer to a request before it closes a connection, which
// for a long poll is far too late.
type dialer struct {
	ctx     context.Context
	abort   context.CancelFunc
	timeout time.Duration
	// patience bounds the wait for an answer that begins now; nil leaves it to
	// sarama's settings.
	patience func() time.Duration

	mu    sync.Mutex
	conns map[*trackedConn]struct{}
}

func newDialer(parent context.Context, conf *sarama.Config) *dialer {
	d := &dialer{timeout: conf.Net.DialTimeout, conns: map[*trackedConn]struct{}{}}
	d.ctx, d.abort = context.WithCancel(parent)
	context.AfterFunc(d.ctx, d.breakAll)
	return d
}

// Dial connects to a broker, unless the dialer was aborted.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	nd := net.Dialer{Timeout: d.timeout, KeepAlive: 30 * time.Second}
	c, err := nd.DialContext(d.ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t := &trackedConn{Conn: c, dialer: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	d.conns[t] = struct{}{}
	return t, nil
}

func (d *dialer) breakAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		_ = c.Conn.Close()
	}
	clear(d.conns)
}

type trackedConn struct {
	net.Conn
	dialer *dialer
}

// SetReadDeadline sets until when an answer is waited for.
func (c *trackedConn) SetReadDeadline(t time.Time) error {
	if p := c.dialer.patience; p != nil {
		if latest := time.Now().Add(p()); t.After(latest) {
			t = latest
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// Close closes the connection and forgets it.
func (c *trackedConn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.conns, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

// conn is one connection to one broker, for one purpose.
type conn struct {
	*sarama.Broker
	dialer *dialer
}

// open connects to a broker and waits until it has answered the handshakes, or
// until ctx is done.
func open(ctx context.Context, addr string, base *sarama.Config) (*conn, error) {
	return openWith(ctx, addr, base, nil)
}

// openWith is open, with the dialer's patience.
func openWith(ctx context.Context, addr string, base *sarama.Config, patience func() time.Duration) (*conn, error) {
	conf := *base
	d := newDialer(ctx, base)
	d.patience = patience
	conf.Net.Proxy.Enable = true
	conf.Net.Proxy.Dialer = d
	c := &conn{Broker: sarama.NewBroker(addr), dialer: d}
	if err := c.Open(&conf); err != nil {
		d.abort()
		return nil, fmt.Errorf("connecting to broker %s: %w", addr, err)
	}
	ok, err := c.Connected()
	if ok && err == nil {
		return c, nil
	}
	c.close()
	if err == nil {
		err = sarama.ErrNotConnected
	}
	return nil, fmt.Errorf("connecting to broker %s (is it up, and are port, tls and credentials right?): %w", addr, err)
}

// close breaks the connection at once, whatever is in flight on it.
func (c *conn) close() {
	c.dialer.abort()
	c.dialer.breakAll()
	_ = c.Close()
}

// lostConnection reports whether err says that the connection or the broker is
// gone, rather than that an answer made no sense.
func lostConnection(err error) bool {
	var ne net.Error
	var errno syscall.Errno
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, net.ErrClosed), errors.Is(err, sarama.ErrNotConnected), errors.Is(err, context.Canceled):
		return true
	case errors.As(err, &ne), errors.As(err, &errno):
		return true
	}
	return false
}

// garbled reports whether err says that an answer could not be understood: not
// that the broker is gone, and not that it or we refused the request.
func garbled(err error) bool {
	var k sarama.KError
	var conf sarama.ConfigurationError
	var enc sarama.PacketEncodingError
	switch {
	case lostConnection(err), errors.As(err, &k), errors.As(err, &conf), errors.As(err, &enc),
		errors.Is(err, sarama.ErrUnsupportedVersion):
		return false
	}
	return true
}
