package kafkatest

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Cluster is several nodes of Apache Kafka that replicate each other's topics.
type Cluster struct {
	// Nodes are the cluster's brokers, each of which can be killed and
	// restarted. Any of them may be asked to make topics and records.
	Nodes []*Broker
}

// StartCluster starts a cluster of n nodes for this test alone and waits until
// they have found each other. Topics are kept on up to three of them.
func StartCluster(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	inst := install(t, current)
	dir := tempDir(t)
	t.Cleanup(func() { _ = os.Remove(dir) }) // runs last, and fails where a log was kept
	c := &Cluster{}
	for i := range n {
		b := newBroker(inst, filepath.Join(dir, strconv.Itoa(i+1)), newSettings(opts))
		b.id = i + 1
		b.startProxy(t)
		c.Nodes = append(c.Nodes, b)
		t.Cleanup(func() { b.cleanUp(t) })
	}
	for _, b := range c.Nodes {
		b.peers = c.Nodes
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := startAll(ctx, c.Nodes); err != nil {
		t.Fatalf("starting %d nodes of Apache Kafka %s: %v", n, inst.version, err)
	}
	return c
}

// ProxyAddrs are the addresses of the proxies in front of all nodes; see
// [Proxied].
func (c *Cluster) ProxyAddrs() []string {
	addrs := make([]string, 0, len(c.Nodes))
	for _, b := range c.Nodes {
		addrs = append(addrs, b.proxy.Addr())
	}
	return addrs
}

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, 0, len(c.Nodes))
	for _, b := range c.Nodes {
		addrs = append(addrs, b.Addr())
	}
	return addrs
}
