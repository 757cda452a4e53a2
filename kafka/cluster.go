package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// closeTimeout bounds how long Close waits for goroutines whose connections it
// has broken.
const closeTimeout = time.Second

// timings are the periods of a cluster's work; tests shorten them.
type timings struct {
	refresh   time.Duration // metadata of a topic that is read
	missing   time.Duration // metadata of a topic that is waited for
	forbidden time.Duration // a topic that the brokers refuse to us
	positive  time.Duration // how long "it exists" is believed
	negative  time.Duration // how long "there is none" is believed
	grace     time.Duration // wait for partitions without a leader before the others are read
	longPoll  time.Duration // a fetch that finds nothing
	crowdPoll time.Duration // the same, of very many partitions
	shortPoll time.Duration // the same, of partitions that the loop's fetch must not keep waiting
	busy      time.Duration // a partition of very many, after its last record
	idle      time.Duration // an auxiliary connection without work
	silence   time.Duration // missing answers until the brokers are unreachable
	outdated  time.Duration // in which metadata may be older than what a client has read
	session   time.Duration // after which the group does without a member that is not heard of
	heartbeat time.Duration // of a group's members
	rebalance time.Duration // in which a group's members have to join again
}

func defaultTimings() timings {
	return timings{
		refresh: 10 * time.Second, missing: time.Second, forbidden: 3 * time.Second,
		positive: 5 * time.Second, negative: 1500 * time.Millisecond, grace: 3 * time.Second,
		longPoll: 500 * time.Millisecond, crowdPoll: 2 * time.Second, shortPoll: 20 * time.Millisecond, busy: 5 * time.Second, idle: 10 * time.Second,
		silence: 2 * time.Second, outdated: 2 * time.Second,
		session: 10 * time.Second, heartbeat: time.Second, rebalance: 10 * time.Second,
	}
}

// Cluster is a Kafka cluster that topics are read from and records are written
// to. It is safe for concurrent use.
type Cluster struct {
	cfg     Config
	version sarama.KafkaVersion
	base    *sarama.Config
	log     *zap.Logger
	timings timings

	ctx  context.Context
	stop context.CancelFunc

	meta    *metadata
	offsets *offsets
	health  *health
	silence *silence

	mu        sync.Mutex
	closed    bool
	work      sync.WaitGroup
	closing   sync.WaitGroup // producers
	sources   [2]*source
	grouped   [2]*source // for the members of groups
	producers map[*Producer]struct{}
}

// New returns the cluster that cfg describes. It dials nothing: connections and
// goroutines begin with the first use. It fails as Config.Validate does.
func New(cfg Config) (*Cluster, error) {
	v, err := cfg.parse()
	if err != nil {
		return nil, fmt.Errorf("configuring kafka: %w", err)
	}
	log := cfg.Logger
	if log == nil {
		log = zap.NewNop()
	}
	c := &Cluster{
		cfg: cfg, version: v, base: cfg.sarama(v), log: log, timings: defaultTimings(),
		producers: map[*Producer]struct{}{},
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.health = &health{log: log, down: map[string]*outage{}}
	c.silence = &silence{c: c, open: map[*question]struct{}{}}
	c.health.silence = c.silence
	c.meta = newMetadata(c)
	c.offsets = &offsets{c: c, workers: map[int32]*offsetWorker{}}
	return c, nil
}

// Source returns the cluster's reader of topics: with readCommitted one that
// leaves out the records of transactions that are open or were aborted. There is
// one for each of the two, which all callers share.
func (c *Cluster) Source(readCommitted bool) record.Source { return c.source(readCommitted) }

func (c *Cluster) source(readCommitted bool) *source {
	return c.sourceOf(&c.sources, readCommitted, fetchBytes)
}

func (c *Cluster) sourceOf(which *[2]*source, readCommitted bool, piece int32) *source {
	i := 0
	if readCommitted {
		i = 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if which[i] == nil {
		which[i] = newSource(c, readCommitted, piece)
	}
	return which[i]
}

// Close ends everything that the cluster does, within about a second: readings
// stop, and producers are closed without waiting for the records that they have.
// Whoever wants those written closes the producers first (see Producer.Close).
// Close may be called more than once.
func (c *Cluster) Close() {
	c.mu.Lock()
	c.closed = true
	producers := make([]*Producer, 0, len(c.producers))
	for p := range c.producers {
		producers = append(producers, p)
	}
	sources := append(c.sources[:], c.grouped[:]...)
	c.mu.Unlock()

	for _, s := range sources {
		if s != nil {
			s.stopAll()
		}
	}
	c.stop() // breaks the connections, and with them the long polls
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for _, p := range producers {
		c.closing.Go(func() { _ = p.Close(now) })
	}
	done := make(chan struct{})
	go func() {
		c.closing.Wait()
		c.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout + closeTimeout/2):
		c.log.Warn("closing kafka cluster: some goroutines have not ended yet; a broker's throttling may hold them for a while")
	}
}

// spawn runs f in a goroutine that Close waits for, unless the cluster is closed.
func (c *Cluster) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Go(f)
	return true
}
