// Package tcpproxy stands between a client and a server in tests and does to
// their connections what networks do: it cuts, refuses, swallows and delays.
package tcpproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy passes connections on to one address.
type Proxy struct {
	listener net.Listener
	target   atomic.Pointer[string]
	// Sent and Received count the bytes that went to the server and came from it.
	Sent, Received atomic.Int64

	mu      sync.Mutex
	changed *sync.Cond // the mode changed, or a connection is gone
	refuse  bool
	swallow bool
	closed  bool
	delay   time.Duration
	links   map[*link]bool
	all     sync.WaitGroup
}

// link is one client with its connection to the server.
type link struct {
	client, server net.Conn // server is nil while it is dialed
	cut            bool
}

// Start starts a proxy in front of a host and port, on a port of its own of the
// loopback interface. It is gone, with its connections, when the test ends.
// An empty target refuses connections until [Proxy.SetTarget] names one.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening for a proxy: %v", err)
	}
	p := &Proxy{listener: l, links: map[*link]bool{}}
	p.changed = sync.NewCond(&p.mu)
	p.SetTarget(target)
	p.all.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is the host and port that clients dial.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget changes where connections that come from now on lead.
func (p *Proxy) SetTarget(addr string) { p.target.Store(&addr) }

// Connections counts the connections that are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Cut ends all connections that are open with a reset (RST), on both sides, and
// returns how many there were. What is under way is lost.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut()
}

func (p *Proxy) cut() int {
	n := 0
	for l := range p.links {
		if !l.cut {
			n++
			l.end()
		}
	}
	p.changed.Broadcast()
	return n
}

// end resets both sides. The proxy's lock is held.
func (l *link) end() {
	l.cut = true
	for _, c := range []net.Conn{l.client, l.server} {
		if c != nil {
			reset(c)
		}
	}
}

// reset closes a connection in such a way that the other side gets an error
// instead of an end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// Refuse resets connections as they come, or stops doing so. It leaves those
// that are open; see [Proxy.Cut].
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Blackhole swallows everything in both directions, on connections that are open
// and on new ones, which are accepted: nobody is told that the other is gone.
// Switching it off loses nothing: what was sent meanwhile then passes.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = on
	p.changed.Broadcast()
}

// Delay holds back each piece of data, in both directions, for a time. It does
// not bound the rate by more than that: a piece has up to 32 KiB.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	l := &link{client: client}
	p.mu.Lock()
	if p.refuse || p.closed {
		p.mu.Unlock()
		reset(client)
		return
	}
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !l.cut {
			_ = l.client.Close() // in order: a reset would lose what is not delivered yet
			if l.server != nil {
				_ = l.server.Close()
			}
		}
		delete(p.links, l)
		p.changed.Broadcast()
	}()

	server, err := net.Dial("tcp", *p.target.Load())
	if err != nil {
		p.fail(l)
		return
	}
	p.mu.Lock()
	l.server = server
	cut := l.cut
	p.mu.Unlock()
	if cut {
		reset(server)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, server, client, &p.Sent) })
	both.Go(func() { p.pump(l, client, server, &p.Received) })
	both.Wait()
}

// pump copies until one side ends, and hands an orderly end on.
func (p *Proxy) pump(l *link, dst, src net.Conn, count *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if !p.pass(l) {
			return
		}
		if n > 0 {
			count.Add(int64(n))
			if _, err := dst.Write(buf[:n]); err != nil {
				p.fail(l)
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) || dst.(*net.TCPConn).CloseWrite() != nil {
				p.fail(l)
			}
			return
		}
	}
}

// pass waits until data may go on, and tells whether there is still somewhere
// to go.
func (p *Proxy) pass(l *link) bool {
	p.mu.Lock()
	if d := p.delay; d > 0 {
		p.mu.Unlock()
		time.Sleep(d)
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	for p.swallow && !l.cut {
		p.changed.Wait()
	}
	return !l.cut
}

// fail passes a reset of one side on to the other.
func (p *Proxy) fail(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.end()
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed, p.swallow = true, false
	p.cut()
	p.mu.Unlock()
	p.all.Wait()
}
