//go:build !unix

package gateway

import (
	"net"
	"syscall"
)

// direct is for systems whose sockets can be asked to write without waiting;
// elsewhere all writes go through the session's own buffer.
type direct struct{ raw syscall.RawConn }

func newDirect(net.Conn) direct { return direct{} }

func (direct) ok() bool { return false }

func (direct) write([]byte) (int, error) { return 0, nil }
