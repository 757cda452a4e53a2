package kafkatest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range that systems give to outgoing
// connections (Linux: 32768 and up). From within it, a broker that is down for
// a moment could find its port in use by somebody's client when it comes back.
const (
	firstPort = 14000
	lastPort  = 32000
)

// freePorts finds ports that nobody listens on. They stay free only as long as
// nobody else takes them, so a start that fails for that reason is repeated.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		p := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			continue
		}
		defer l.Close() // held until all are found, so that none is found twice
		ports = append(ports, p)
	}
	return nil, fmt.Errorf("found no %d free ports between %d and %d on 127.0.0.1", n, firstPort, lastPort)
}
