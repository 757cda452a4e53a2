package embedded

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
)

// retained is how many bytes of records a partition keeps, about: enough for
// first steps, and an end to what a forgotten demonstration takes of memory.
// Whole segments go, so a partition may hold one segment more.
const (
	retained        = "67108864" // 64 MiB
	retainedSegment = "16777216" // 16 MiB
)

// retainedCheck is how often the broker looks for what it need not keep, in
// milliseconds. A variable for tests.
var retainedCheck = "30000"

// lingerIdle is for how long a broker that no configuration has any more must be
// without any connection until it closes. The clients of sessions that drain may
// dial it anew, between one connection and the next. A variable for tests.
var lingerIdle = 5 * time.Second

// brokers holds the running brokers by the address they listen on. References:
// one for every app that has started and not been cleaned up, except that the
// last app's is passed on to linger, which holds it for the connected clients.
//
// brokersMu makes taking a reference and giving one back exclude each other. The
// pool alone would let a new broker try the port while the old one, out of the
// pool already, has not closed its listener yet.
var (
	brokers   = caddy.NewUsagePool()
	brokersMu sync.Mutex
)

// broker is a running broker. It outlives the configuration that started it.
type broker struct {
	address string
	cluster *kfake.Cluster
	conns   *tracker
	// apps counts the started apps that hold the broker; guarded by brokersMu.
	apps int
}

// acquire returns the broker on address with a reference for an app, and whether
// it was running already.
func acquire(address string) (b *broker, kept bool, err error) {
	brokersMu.Lock()
	defer brokersMu.Unlock()
	v, kept, err := brokers.LoadOrNew(address, func() (caddy.Destructor, error) {
		return startBroker(address)
	})
	if err != nil {
		return nil, false, err
	}
	b = v.(*broker)
	b.apps++
	return b, kept, nil
}

// release gives an app's reference back. It does not block: Caddy's
// configuration is locked while it runs.
func release(b *broker) {
	brokersMu.Lock()
	defer brokersMu.Unlock()
	b.apps--
	if b.apps > 0 {
		b.unref()
		return
	}
	go b.linger()
}

// unref gives a reference back to the pool; the last one closes the broker. The
// caller holds brokersMu.
func (b *broker) unref() {
	if _, err := brokers.Delete(b.address); err != nil {
		brokerLogger().Warn("closing the broker", zap.String("address", b.address), zap.Error(err))
	}
}

// linger holds the last app's reference for the clients that are connected:
// sessions of a removed handler drain into the broker after the configuration
// has gone. It ends when no client has been connected for lingerIdle, or when a
// new configuration has taken the broker again.
func (b *broker) linger() {
	log := brokerLogger().With(zap.String("address", b.address))
	if n := b.conns.open(); n > 0 {
		log.Info("embedded Kafka broker is not configured any more; it closes once its clients have gone",
			zap.Int("connections", n))
	}
	tick := time.NewTicker(lingerIdle / 10)
	defer tick.Stop()
	for range tick.C {
		brokersMu.Lock()
		if b.apps > 0 {
			b.unref()
			brokersMu.Unlock()
			return
		}
		if b.conns.idle() >= lingerIdle {
			b.unref()
			brokersMu.Unlock()
			log.Info("embedded Kafka broker closed, its records are gone")
			return
		}
		brokersMu.Unlock()
	}
}

// startBroker listens on address and serves Kafka there.
func startBroker(address string) (*broker, error) {
	b := &broker{address: address, conns: newTracker()}
	var err error
	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID("kafka_embedded"),
		kfake.DefaultNumPartitions(1),
		kfake.WithLogger(logger{}),
		kfake.MaxVersions(versions()),
		kfake.BrokerConfigs(map[string]string{
			"log.retention.bytes":    retained,
			"log.segment.bytes":      retainedSegment,
			"log.cleaner.backoff.ms": retainedCheck,
		}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			ln, err := net.Listen(network, address)
			if err != nil {
				return nil, err
			}
			return &listener{Listener: ln, conns: b.conns}, nil
		}),
	)
	if err != nil {
		return nil, listenError(address, err)
	}
	return b, nil
}

// versions returns the requests that the broker takes: what Kafka's newest
// release takes, less where kfake answers null for a list that may not be null,
// at which the Java client gives up: the configuration of a topic that was
// created (CreateTopics from version 5 on), and the eligible leaders of a
// partition (DescribeTopicPartitions; clients ask for Metadata in its place).
func versions() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(kmsg.CreateTopics.Int16(), 4)
	v.SetMaxKeyVersion(kmsg.DescribeTopicPartitions.Int16(), -1)
	return v
}

// Destruct closes the listener, all connections and the broker. Its records are
// gone. The pool calls it with the last reference.
func (b *broker) Destruct() error {
	b.cluster.Close()
	return nil
}

// createTopics creates those of the topics that do not exist.
func (b *broker) createTopics(topics []Topic, log *zap.Logger) error {
	for _, t := range topics {
		// Kafka's own retention settings of a topic; naming them is what makes
		// kfake look after retention at all.
		err := b.cluster.CreateTopic(t.Name, int32(t.Partitions), map[string]string{"retention.bytes": retained}) // #nosec G115 -- 1 to MaxPartitions
		if err == nil {
			continue
		}
		if !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("creating topic %q: %w", t.Name, err)
		}
		if n := len(b.cluster.PartitionInfos(t.Name)); n != t.Partitions {
			log.Warn("topic exists with another number of partitions and keeps it; restart Caddy to begin anew",
				zap.String("topic", t.Name), zap.Int("partitions", n), zap.Int("configured", t.Partitions))
		}
	}
	return nil
}

// listenError says what is most likely the matter when a broker cannot listen,
// and what to do about it.
func listenError(address string, err error) error {
	const elsewhere = "choose another address with kafka_embedded's listen, and the same one in kafka_websocket's brokers"
	if addressInUse(err) {
		return fmt.Errorf("cannot listen on %s: %w: most likely another Caddy with kafka_embedded, or a Kafka, runs there; stop it, or %s",
			address, err, elsewhere)
	}
	return fmt.Errorf("cannot listen on %s: %w: the address must belong to this machine and the port be free to use; %s",
		address, err, elsewhere)
}

func addressInUse(err error) bool {
	// Windows' own number, WSAEADDRINUSE; package syscall's EADDRINUSE is an
	// invented one there.
	const wsaEADDRINUSE = syscall.Errno(10048)
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaEADDRINUSE)
}

// Interface guard
var _ caddy.Destructor = (*broker)(nil)
