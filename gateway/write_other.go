//go:build !unix

package gateway

import "net"

// direct is for systems whose sockets can be asked to write without waiting;
// elsewhere all writes go through the session's own buffer.
type direct struct{}

func newDirect(net.Conn) *direct { return nil }

func (*direct) write([]byte) (int, error) { return 0, nil }
