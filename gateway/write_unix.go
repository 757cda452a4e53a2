//go:build unix

package gateway

import (
	"net"
	"syscall"
)

// direct writes to a plain TCP socket without ever waiting: to learn at once
// that a client's socket is full is what lets a session let go of the tail's
// memory before it waits.
type direct struct {
	raw syscall.RawConn
	// p, n and err are the arguments and results of one try; they stand here,
	// and try is bound once, so that a write allocates nothing.
	p   []byte
	n   int
	err error
	try func(fd uintptr) bool
}

// newDirect returns nil where conn is not a plain TCP socket.
func newDirect(conn net.Conn) *direct {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	d := &direct{raw: raw}
	d.try = d.attempt
	return d
}

func (d *direct) attempt(fd uintptr) bool {
	for {
		d.n, d.err = syscall.Write(int(fd), d.p)
		if d.err != syscall.EINTR {
			return true // also when it would block: the caller waits elsewhere
		}
	}
}

// write writes what the socket takes now, and returns how much that was.
func (d *direct) write(p []byte) (int, error) {
	d.p = p
	err := d.raw.Write(d.try)
	d.p = nil
	switch {
	case err != nil:
		return 0, err
	case d.err == syscall.EAGAIN:
		return 0, nil
	case d.err != nil:
		return 0, d.err
	}
	return d.n, nil
}
