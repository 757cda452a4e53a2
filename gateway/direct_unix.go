//go:build unix

package gateway

import (
	"net"
	"sync"
	"syscall"
)

// direct writes to a plain TCP socket without ever waiting: to learn at once
// that a client's socket is full is what lets a session let go of the tail's
// memory before it waits. The zero value is of no use.
type direct struct{ raw syscall.RawConn }

// newDirect returns a direct that is not ok where conn is not a plain TCP socket.
func newDirect(conn net.Conn) direct {
	tcp, isTCP := conn.(*net.TCPConn)
	if !isTCP {
		return direct{}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return direct{}
	}
	return direct{raw}
}

// ok reports whether there is a socket to write to.
func (d direct) ok() bool { return d.raw != nil }

// write writes what the socket takes now, and returns how much that was.
func (d direct) write(p []byte) (int, error) {
	a := attempts.Get().(*attempt)
	defer attempts.Put(a)
	a.p = p
	err := d.raw.Write(a.try)
	a.p = nil
	switch {
	case err != nil:
		return 0, err
	case a.err == syscall.EAGAIN:
		return 0, nil
	case a.err != nil:
		return 0, a.err
	}
	return a.n, nil
}

// attempt is one write: its argument, its results, and the function to pass on,
// bound once, so that a write allocates nothing.
type attempt struct {
	p   []byte
	n   int
	err error
	try func(fd uintptr) bool
}

var attempts = sync.Pool{New: func() any {
	a := new(attempt)
	a.try = a.write
	return a
}}

func (a *attempt) write(fd uintptr) bool {
	for {
		a.n, a.err = syscall.Write(int(fd), a.p)
		if a.err != syscall.EINTR {
			return true // also when it would block: the caller waits elsewhere
		}
	}
}
