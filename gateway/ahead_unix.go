//go:build unix

package gateway

import "syscall"

// aheadSize is how much of what a busy client has sent is read at once.
const aheadSize = 16 << 10

// ahead is what was read of a client beyond what was asked for. A client that
// sends much is read from in large pieces, while one that sends little, which is
// most of them, has no buffer but the smallest.
type ahead struct {
	buf  [aheadSize]byte
	rest []byte // what of buf was not taken yet
	n    int
	try  func(fd uintptr) bool // bound once, so that reading allocates nothing
}

func newAhead() *ahead {
	a := new(ahead)
	a.try = a.attempt
	return a
}

func (a *ahead) attempt(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), a.buf[:])
		if err == syscall.EINTR {
			continue
		}
		// An error, which is often that there is nothing, is found again by
		// whoever waits for more.
		a.n = max(n, 0)
		return true
	}
}

// fill reads what the socket has now, without waiting, and reports whether that
// was anything.
func (a *ahead) fill(raw syscall.RawConn) bool {
	a.n = 0
	if err := raw.Read(a.try); err != nil {
		return false
	}
	a.rest = a.buf[:a.n]
	return a.n > 0
}
