package kafkatest

import (
	"fmt"
	"testing"

	"github.com/kafkaws/kafkaws/internal/tcpproxy"
)

// Proxied puts a proxy in front of each node, on which a test can cut, refuse,
// swallow or delay what clients and the node say to each other; see
// [Broker.Proxy]. Clients that begin at the proxy's address stay on proxies: the
// node has another listener behind it that names the proxy as its address.
// [Broker.Addr] leads past it, and so do other nodes and this package itself.
func Proxied() Option {
	return func(s *settings) { s.proxied = true }
}

// Proxy is the proxy in front of a node that was started with [Proxied], nil
// without. It outlives the node's restarts.
func (b *Broker) Proxy() *tcpproxy.Proxy { return b.proxy }

func (b *Broker) startProxy(t testing.TB) {
	t.Helper()
	if b.settings.proxied {
		b.proxy = tcpproxy.Start(t, "") // leads somewhere as soon as there is a port
	}
}

// listenBehindProxy adds the listener of which only the proxy knows.
func (b *Broker) listenBehindProxy(config map[string]string) {
	if b.proxy == nil {
		return
	}
	behind := fmt.Sprintf("127.0.0.1:%d", b.proxiedPort)
	config["listeners"] += ",PROXIED://" + behind
	config["advertised.listeners"] += ",PROXIED://" + b.proxy.Addr()
	if config["listener.security.protocol.map"] == "" { // ZooKeeper's have none yet
		config["listener.security.protocol.map"] = "PLAINTEXT:PLAINTEXT"
		config["inter.broker.listener.name"] = "PLAINTEXT"
	}
	config["listener.security.protocol.map"] += ",PROXIED:PLAINTEXT"
	b.proxy.SetTarget(behind)
}
