package kafkaws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/kafka"
	"github.com/kafkaws/kafkaws/record"
)

// What outlives a configuration lives in these pools. A user of one thing holds
// a reference to the next: handlers to their sessions, sessions to the hub that
// reads for them and the producer that writes for them, and those to the
// cluster. So the last session of a handler that is gone keeps all it needs.
var (
	sessionPools = caddy.NewUsagePool() // *sessions
	hubs         = caddy.NewUsagePool() // *hub
	producers    = caddy.NewUsagePool() // *producer
	clusters     = caddy.NewUsagePool() // *cluster

	// draining has, as keys, the *sessions that no handler is configured for
	// any more and that have not ended yet.
	draining = caddy.NewUsagePool()
)

// acquire returns the value of a key, made by construct if there is none, and
// what gives it back.
func acquire[T caddy.Destructor](pool *caddy.UsagePool, key string, construct func() (T, error)) (T, func(), error) {
	value, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return construct() })
	if err != nil {
		var none T
		return none, nil, err
	}
	return value.(T), func() { _, _ = pool.Delete(key) }, nil
}

// keyOf returns a key that tells configurations apart without showing what is
// in them.
func keyOf(parts ...any) string {
	hash := sha256.New()
	encoder := json.NewEncoder(hash)
	for _, part := range parts {
		// Parts are configuration, which was JSON before.
		_ = encoder.Encode(part)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// sessionsKey tells which handlers serve their sessions together: those of the
// same server that are configured alike. h is resolved, and its codecs and
// transforms are still text.
func (h *Handler) sessionsKey(ctx caddy.Context) string {
	var server string
	if srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server = srv.Name()
	}
	var generation string
	if h.OnReload == onReloadDrain {
		generation = uuid.NewString()
	}
	return keyOf(server, h, generation)
}

// join takes part in the sessions of that key.
func (h *Handler) join(key string) error {
	last, releaseLogger := acquireLasting()
	last.add(h.logger)
	served, releaseSessions, err := acquire(sessionPools, key, func() (*sessions, error) { return newSessions(h.resolved) })
	if err != nil {
		last.remove(h.logger)
		releaseLogger()
		return err
	}
	h.sessions = served
	h.release = func() {
		last.remove(h.logger)
		releaseSessions()
		releaseLogger()
	}
	return nil
}

// cluster is a Kafka cluster that handlers share.
type cluster struct {
	*kafka.Cluster
	release func()
}

func acquireCluster(c Cluster) (*cluster, func(), error) {
	return acquire(clusters, keyOf(c), func() (*cluster, error) {
		last, release := acquireLasting()
		made, err := kafka.New(kafka.Config{
			Brokers:  c.Brokers,
			ClientID: c.ClientID,
			Version:  c.Version,
			Logger:   last.logger(),
		})
		if err != nil {
			release()
			return nil, err
		}
		return &cluster{made, release}, nil
	})
}

// Destruct ends the cluster's connections; not in the caller's time, because
// Caddy's configuration is locked while it waits.
func (c *cluster) Destruct() error {
	go func() {
		c.Close()
		c.release()
	}()
	return nil
}

// hub is a gateway.Hub that handlers of one cluster and with the same consumer
// settings share.
type hub struct {
	*gateway.Hub
	source  record.Source
	groups  record.Groups
	release func()
}

func acquireHub(c Cluster, consumer Consumer) (*hub, func(), error) {
	return acquire(hubs, keyOf(c, consumer), func() (*hub, error) {
		origin, releaseCluster, err := acquireCluster(c)
		if err != nil {
			return nil, err
		}
		last, releaseLogger := acquireLasting()
		log := sampled(last.logger())
		source := origin.Source(consumer.Isolation == isolationCommitted)
		return &hub{
			source: source,
			groups: origin.Groups(consumer.Isolation == isolationCommitted),
			Hub: gateway.NewHub(gateway.HubConfig{
				Source:      source,
				KeepReading: time.Duration(consumer.KeepReading),
				Buffer:      consumer.Buffer,
				BufferTotal: consumer.BufferTotal,
				Skipped: func(topic string, err error) {
					skippedRecords.Inc()
					log.Warn("a record could not be transformed or encoded and was skipped", zap.String("topic", topic), zap.Error(err))
				},
				Fetched: func(records int) {
					catchUpFetches.Inc()
					catchUpFetchedRecords.Add(float64(records))
				},
				Encoded: func(records int) { catchUpEncodedRecords.Add(float64(records)) },
			}),
			release: func() {
				releaseCluster()
				releaseLogger()
			},
		}, nil
	})
}

// Destruct ends all reading.
func (h *hub) Destruct() error {
	h.Close()
	h.release()
	return nil
}

// producer is a kafka.Producer that handlers of one cluster and with the same
// producer settings share.
type producer struct {
	*kafka.Producer
	patience time.Duration
	release  func()
	closed   chan struct{}
}

func acquireProducer(h *Handler) (*producer, func(), error) {
	key := keyOf(h.Cluster, h.Producer, h.PublishTimeout, h.DrainTimeout, h.Limits.MaxMessageSize)
	return acquire(producers, key, func() (*producer, error) {
		target, release, err := acquireCluster(h.Cluster)
		if err != nil {
			return nil, err
		}
		return &producer{
			Producer: target.NewProducer(kafka.ProducerConfig{
				Acks:            h.Producer.Acks,
				Compression:     h.Producer.Compression,
				CreateTopics:    h.Producer.CreateTopics,
				MaxMessageBytes: int(h.Limits.MaxMessageSize) + recordOverhead,
				Timeout:         time.Duration(h.PublishTimeout),
			}),
			patience: time.Duration(h.DrainTimeout),
			release:  release,
			closed:   make(chan struct{}),
		}, nil
	})
}

// recordOverhead is what a batch adds to the bytes of a record of the largest
// size that a client may send.
const recordOverhead = 1 << 10

// Destruct writes what was accepted and closes the producer, not in the
// caller's time.
func (p *producer) Destruct() error {
	go func() {
		defer close(p.closed)
		ctx, cancel := context.WithTimeout(context.Background(), p.patience)
		defer cancel()
		// What could not be written was reported to whom it concerned.
		_ = p.Close(ctx)
		p.release()
	}()
	return nil
}

var (
	_ caddy.Destructor = (*cluster)(nil)
	_ caddy.Destructor = (*hub)(nil)
	_ caddy.Destructor = (*producer)(nil)
)
