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
	// One request at a time per connection: brokers answer in order anyway.
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

// producerSettings returns the settings of connections that records are written
// over. What sarama's own producer would heed is not among them: the package
// makes its batches itself.
func producerSettings(base *sarama.Config) *sarama.Config {
	conf := *base
	conf.Net.ReadTimeout = bulkTimeout
	// The order of a partition does not rest on this: it has one batch on its
	// way at a time.
	conf.Net.MaxOpenRequests = maxFlying
	return &conf
}
