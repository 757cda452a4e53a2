package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// waitForgotten waits until ZooKeeper has given up the session of a broker that
// was killed. Kafka does not wait for that itself: a broker whose number is
// still taken ends with an error.
func (b *Broker) waitForgotten(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.zookeeper.running() {
		return nil
	}
	return poll(ctx, func() error {
		sessions, err := b.zookeeperDump()
		if err != nil {
			return fmt.Errorf("asking ZooKeeper for its sessions: %w", err)
		}
		if bytes.Contains(sessions, fmt.Appendf(nil, "/brokers/ids/%d", b.id)) {
			return errors.New("the broker's session is not over")
		}
		return nil
	})
}

// zookeeperDump returns ZooKeeper's sessions and what hangs on each.
func (b *Broker) zookeeperDump() ([]byte, error) {
	c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(b.secondPort)), time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, "dump"); err != nil {
		return nil, err
	}
	return io.ReadAll(c)
}
