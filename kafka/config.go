package kafka

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

const (
	dialTimeout = 5 * time.Second
	// readTimeout bounds the wait for a small answer: metadata, offsets.
	readTimeout = 5 * time.Second
	// bulkTimeout bounds the wait for an answer that carries records or that
	// waits for the replicas.
	bulkTimeout = 10 * time.Second
	// maxDecompressed is the largest record batch, after decompression, that
	// is taken from a broker. Anybody who may write to a topic can write a
	// small batch that inflates to gigabytes.
	maxDecompressed = 64 << 20
)

// oldestVersion is the oldest protocol that is spoken: record batches, headers,
// transactions and metadata requests that create nothing all begin there.
var oldestVersion = sarama.V0_11_0_0

func init() {
	// The only switch of sarama's that is global to the process and that we
	// need. It is set here so that it is set before anything is read.
	sarama.MaxDecompressedBatchSize = maxDecompressed
}

// Config says which Kafka cluster is spoken to, and how. The zero value of each
// field but Brokers stands for its default.
type Config struct {
	// Brokers are the addresses, host:port, at which the cluster is looked
	// for; at least one. The other brokers are found through them.
	Brokers []string
	// ClientID is the name by which the brokers know the gateway in their logs
	// and quotas. The default is "caddy".
	ClientID string
	// Version is the newest protocol to speak, in the form x.y.z of a Kafka
	// release, at least 0.11.0.0. The default is the newest one that sarama
	// knows. A broker that is older is spoken to in its own.
	Version string
	// Logger takes what an operator should know. The default is none.
	Logger *zap.Logger
}

// Validate reports what is wrong with the configuration. It dials nothing.
func (c Config) Validate() error {
	_, err := c.parse()
	return err
}

func (c Config) parse() (sarama.KafkaVersion, error) {
	none := sarama.KafkaVersion{}
	if len(c.Brokers) == 0 {
		return none, errors.New("checking brokers: none is given: name at least one host:port")
	}
	for _, addr := range c.Brokers {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return none, fmt.Errorf("checking broker %q: it should have the form host:port: %w", addr, err)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
			return none, fmt.Errorf("checking broker %q: it should have the form host:port, with a port from 1 to 65535", addr)
		}
	}
	if c.Version == "" {
		return sarama.MaxVersion, nil
	}
	v, err := sarama.ParseKafkaVersion(c.Version)
	if err != nil {
		return none, fmt.Errorf("parsing kafka version %q: it should look like 3.9.0: %w", c.Version, err)
	}
	if !v.IsAtLeast(oldestVersion) {
		return none, fmt.Errorf("checking kafka version %q: at least %s is needed", c.Version, oldestVersion)
	}
	return v, nil
}

// sarama returns the settings that all of our connections share.
func (c Config) sarama(v sarama.KafkaVersion) *sarama.Config {
	conf := sarama.NewConfig()
	conf.ClientID = c.ClientID
	if conf.ClientID == "" {
		conf.ClientID = "caddy"
	}
	conf.Version = v
	// A registry of sarama's keeps a sampled histogram per topic and broker and
	// starts a goroutine for the whole process that never ends.
	conf.MetricRegistry = discardMetrics{}
	// A broker that does not take the connection within seconds is down for
	// everybody who waits at a browser.
	conf.Net.DialTimeout = dialTimeout
	conf.Net.ReadTimeout = readTimeout
	conf.Net.WriteTimeout = bulkTimeout
	conf.Net.KeepAlive = 30 * time.Second
	// One request at a time per connection: brokers answer in order anyway, and
	// the idempotent producer demands it.
	conf.Net.MaxOpenRequests = 1
	// The names of topics come from clients: nothing is created by naming it,
	// and the other topics of the cluster are none of our business.
	conf.Metadata.Full = false
	conf.Metadata.AllowAutoTopicCreation = false
	return conf
}

// fetchSettings returns the settings of connections that carry fetches.
func fetchSettings(base *sarama.Config) *sarama.Config {
	conf := *base
	conf.Net.ReadTimeout = bulkTimeout
	return &conf
}

// producerSettings returns the settings of a producer's client. halted reports
// that the producer is being ended by force, when there is nothing to wait for
// any more.
func producerSettings(base *sarama.Config, cfg ProducerConfig, halted func() bool) *sarama.Config {
	conf := *base
	conf.Net.ReadTimeout = bulkTimeout
	// The leader's wait for its replicas must end before ours for the leader.
	conf.Producer.Timeout = bulkTimeout / 2
	// sarama gives up a record when it finds no leader for it, and then fails
	// the next ones for ten seconds without trying. So it is to look for the
	// leader for as long as a broker's restart takes: 60 x 0.5 s.
	conf.Metadata.Retry.Max = 60
	conf.Metadata.Retry.BackoffFunc = func(_, _ int) time.Duration {
		if halted() {
			return 0
		}
		return 500 * time.Millisecond
	}
	// New partitions are written to within this time.
	conf.Metadata.RefreshFrequency = 30 * time.Second
	conf.Producer.Retry.Max = 60
	conf.Producer.Retry.BackoffFunc = func(retries, _ int) time.Duration {
		if halted() {
			return 0
		}
		return min(100*time.Millisecond*time.Duration(max(retries, 1)), time.Second)
	}
	// No Flush setting: what comes while a request is in flight is the next
	// batch, which gives small batches when idle and big ones when busy.
	conf.Producer.Return.Successes = true
	conf.Producer.Return.Errors = true
	conf.Producer.Partitioner = newPartitioner
	conf.Producer.MaxMessageBytes = cfg.MaxMessageBytes
	conf.Producer.Compression = compressions[cfg.Compression]
	// Room for all of a topic's records and sarama's own marks among them: a
	// full channel of one topic would stop the others.
	conf.ChannelBufferSize = maxTopicRecords + 64
	switch cfg.Acks {
	case "none":
		conf.Producer.RequiredAcks = sarama.NoResponse
	case "leader":
		conf.Producer.RequiredAcks = sarama.WaitForLocal
	default:
		// A lost acknowledgement must not double or reorder records.
		conf.Producer.RequiredAcks = sarama.WaitForAll
		conf.Producer.Idempotent = true
	}
	return &conf
}
