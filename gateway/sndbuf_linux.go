package gateway

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsentLimit bounds what the kernel holds of a client's data that it has not
// sent. What waits in the kernel is lost to a slow client's cursor, takes memory
// that is not counted, and delays whatever comes behind it.
const unsentLimit = 64 << 10

// limitUnsent sets TCP_NOTSENT_LOWAT where conn is a TCP connection, or TLS
// over one. Without it everything works, with more memory in the kernel.
func limitUnsent(conn net.Conn) {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = over.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLimit)
	})
}
