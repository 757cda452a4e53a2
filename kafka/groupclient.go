package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// groupSettings returns the settings of the members of groups.
func (c *Cluster) groupSettings(clientID string, readCommitted bool) *sarama.Config {
	conf := *c.base
	if clientID != "" {
		conf.ClientID = clientID
	}
	// A broker answers a request to join when all members have joined, and reads
	// nothing else from the connection before.
	conf.Net.ReadTimeout = c.timings.rebalance + readTimeout
	conf.ChannelBufferSize = 0 // nothing is read by sarama; see groupClient
	// How often the leader of the group looks for new partitions.
	conf.Metadata.RefreshFrequency = c.timings.refresh
	// How often in a row a broker may say that it is not the coordinator, a
	// quarter of a second apart, before sarama ends the generation over it.
	conf.Metadata.Retry.Max = 8
	conf.Metadata.Retry.Backoff = 250 * time.Millisecond
	g := &conf.Consumer.Group
	g.Session.Timeout = c.timings.session
	// Members are told of a rebalance in the answer to a heartbeat, and all
	// wait for the last one.
	g.Heartbeat.Interval = c.timings.heartbeat
	g.Rebalance.Timeout = c.timings.rebalance
	g.Rebalance.Retry.Backoff = 200 * time.Millisecond
	// Members of other programs have to have one assignor in common with ours.
	// Java's consumers offer range and cooperative-sticky (since Kafka 3.0), or
	// range alone, unless they are configured otherwise. sarama gives up all
	// partitions in a rebalance as soon as one of its assignors demands it, as
	// Java's consumers do with the same list, so cooperative-sticky is safe in
	// this company. An assignor belongs to one member: it has a state.
	g.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	if c.version.IsAtLeast(sarama.V2_4_0_0) {
		g.Rebalance.GroupStrategies = append(g.Rebalance.GroupStrategies, sarama.NewBalanceStrategyCooperativeSticky())
	}
	g.Rebalance.GroupStrategies = append(g.Rebalance.GroupStrategies, sarama.NewBalanceStrategyRange())
	// Commits go by our own requests, whose answers can be seen.
	conf.Consumer.Offsets.AutoCommit.Enable = false
	conf.Consumer.Offsets.Initial = sarama.OffsetNewest // how a claim without a committed offset is known
	if readCommitted {
		conf.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	return &conf
}

// groupClient is what sarama's consumer group takes for its client. It lets
// sarama do the protocol of the group, over one connection to the coordinator,
// and nothing else: what is known of topics comes from the cluster's metadata,
// so that a topic which does not exist does not keep the member, or the whole
// group, from going on; and the records are read by fetch loops of our own, so
// sarama gets no leader to read from.
type groupClient struct {
	// Client is connected to nothing. It answers what sarama's groups do not ask.
	sarama.Client
	m     *member
	conf  *sarama.Config
	never *sarama.Broker

	// mu is held while the coordinator is looked for.
	mu    sync.Mutex
	coord *conn
	addr  string // where the coordinator was last
}

func newGroupClient(m *member, conf *sarama.Config) (*groupClient, error) {
	idle := *conf
	idle.Metadata.RefreshFrequency = 0 // no goroutine
	cl, err := sarama.NewClient(m.c.cfg.Brokers, &idle)
	if err != nil {
		return nil, fmt.Errorf("preparing a member of a consumer group: %w", err)
	}
	return &groupClient{Client: cl, m: m, conf: conf, never: sarama.NewBroker("127.0.0.1:0")}, nil
}

// Config implements sarama.Client.
func (g *groupClient) Config() *sarama.Config { return g.conf }

// RefreshMetadata implements sarama.Client. Topics that do not exist are no
// error: they have no partitions yet.
func (g *groupClient) RefreshMetadata(topics ...string) error {
	for _, topic := range topics {
		t, err := g.look(topic, time.Second)
		if err != nil {
			return err
		}
		if err := g.m.saw(topic, t); err != nil {
			return err
		}
	}
	return nil
}

// Partitions implements sarama.Client.
func (g *groupClient) Partitions(topic string) ([]int32, error) {
	t, err := g.look(topic, g.conf.Metadata.RefreshFrequency/2)
	if err != nil {
		if t = g.m.c.meta.cached(topic); t == nil {
			return nil, err // sarama calls for a rebalance then
		}
	}
	ids := make([]int32, 0, len(t.partitions))
	for i := range t.partitions {
		ids = append(ids, int32(i)) //nolint:gosec // Kafka numbers them from 0 on
	}
	return ids, nil
}

func (g *groupClient) look(topic string, maxAge time.Duration) (*topicInfo, error) {
	if !record.ValidTopic(topic) {
		return &topicInfo{name: topic, err: sarama.ErrInvalidTopic}, nil
	}
	ctx, cancel := context.WithTimeout(g.m.stay, readTimeout)
	defer cancel()
	return g.m.c.meta.lookup(ctx, topic, maxAge)
}

// LeaderAndEpoch implements sarama.Client.
func (g *groupClient) LeaderAndEpoch(string, int32) (*sarama.Broker, int32, error) {
	return g.never, noEpoch, nil
}

// GetOffset implements sarama.Client. Any committed offset may be in the log, as
// far as sarama is concerned.
func (g *groupClient) GetOffset(_ string, _ int32, time int64) (int64, error) {
	if time == sarama.OffsetNewest {
		return math.MaxInt64, nil
	}
	return 0, nil
}

// PartitionNotReadable implements sarama.Client.
func (g *groupClient) PartitionNotReadable(string, int32) bool { return false }

// Coordinator implements sarama.Client. sarama gives up after a few failures in
// a row, and all partitions with it; so the coordinator is looked for here for
// as long as the member can hope to be still in the group.
func (g *groupClient) Coordinator(string) (*sarama.Broker, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.coord != nil {
		if ok, err := g.coord.Connected(); ok && err == nil {
			return g.coord.Broker, nil
		}
	}
	return g.find()
}

// RefreshCoordinator implements sarama.Client.
func (g *groupClient) RefreshCoordinator(string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.coord != nil {
		if addr, err := g.ask(g.coord); err == nil && addr == g.addr {
			return nil
		}
	}
	_, err := g.find()
	return err
}

// find looks for the coordinator. The caller holds g.mu.
func (g *groupClient) find() (*sarama.Broker, error) {
	g.drop()
	deadline := time.Now().Add(g.conf.Consumer.Group.Session.Timeout)
	for failures := 1; ; failures++ {
		var last error
		for _, addr := range g.candidates() {
			last = g.try(addr)
			if last == nil {
				return g.coord.Broker, nil
			}
			if g.m.life.Err() != nil {
				return nil, sarama.ErrClosedClient
			}
			if forbidden(last) {
				return nil, last
			}
		}
		if time.Now().After(deadline) || !sleep(g.m.stay, backoff(failures, 100*time.Millisecond, time.Second)) {
			return nil, last
		}
	}
}

// candidates lists the addresses to ask at, the likeliest first.
func (g *groupClient) candidates() []string {
	all := g.m.c.meta.candidates()
	if g.addr != "" {
		all = append([]string{g.addr}, all...)
	}
	return all
}

// try asks one broker and connects to the coordinator that it names.
func (g *groupClient) try(addr string) error {
	cn, err := g.open(addr)
	if err != nil {
		return err
	}
	at, err := g.ask(cn)
	if err == nil && at != addr {
		cn.close()
		cn, err = g.open(at)
	}
	if err != nil {
		if cn != nil {
			cn.close()
		}
		return err
	}
	g.coord, g.addr = cn, at
	return nil
}

func (g *groupClient) open(addr string) (*conn, error) {
	cn, err := openWith(g.m.life, addr, g.conf, g.patience)
	switch {
	case err == nil:
		g.m.c.health.answered(addr)
	case g.m.life.Err() == nil:
		g.m.c.health.failed(addr, false, err)
	}
	return cn, err
}

// patience returns how long an answer is waited for. Those to heartbeats and
// commits come at once; a member that waits longer for a coordinator which is gone
// does not find the next one before that has given the member up.
func (g *groupClient) patience() time.Duration {
	if g.m.joining.Load() {
		return g.conf.Net.ReadTimeout
	}
	return g.conf.Consumer.Group.Session.Timeout / 2
}

// ask asks a broker for the address of the coordinator.
func (g *groupClient) ask(cn *conn) (string, error) {
	req := &sarama.FindCoordinatorRequest{Version: 1, CoordinatorKey: g.m.spec.Group, CoordinatorType: sarama.CoordinatorGroup}
	switch v := g.m.c.version; {
	case v.IsAtLeast(sarama.V2_4_0_0):
		req.Version = 3
	case v.IsAtLeast(sarama.V2_0_0_0):
		req.Version = 2
	}
	answer, err := cn.FindCoordinator(req)
	switch {
	case err != nil:
		return "", fmt.Errorf("looking for the group's coordinator: %w", err)
	case answer.Err != sarama.ErrNoError:
		return "", fmt.Errorf("looking for the group's coordinator: %w", answer.Err)
	case answer.Coordinator == nil:
		return "", fmt.Errorf("looking for the group's coordinator: %w", sarama.ErrConsumerCoordinatorNotAvailable)
	}
	return answer.Coordinator.Addr(), nil
}

// drop closes the connection to the coordinator. The caller holds g.mu.
func (g *groupClient) drop() {
	if g.coord != nil {
		g.coord.close()
		g.coord = nil
	}
}

// shut lets go of everything.
func (g *groupClient) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop()
	_ = g.Client.Close()
}

// forbidden reports whether a broker has refused a group, in a way that trying
// again does not mend.
func forbidden(err error) bool {
	_, known := groupRefusals[kerror(err)]
	return known
}

// groupRefusals are the answers by which a broker keeps a member out for good.
var groupRefusals = map[sarama.KError]string{
	sarama.ErrGroupAuthorizationFailed:   "the gateway has no right to the group (READ)",
	sarama.ErrTopicAuthorizationFailed:   "the gateway has no right to a topic of the group (READ and DESCRIBE)",
	sarama.ErrClusterAuthorizationFailed: "the gateway has no right to the cluster",
	sarama.ErrInvalidGroupId:             "the broker does not take the group's id",
	sarama.ErrInconsistentGroupProtocol:  "the group's members use no assignor that the gateway knows: it offers sticky, cooperative-sticky and range",
	sarama.ErrGroupMaxSizeReached:        "the group has as many members as the broker allows (group.max.size)",
	sarama.ErrInvalidSessionTimeout:      "the broker does not take the session timeout (group.min.session.timeout.ms, group.max.session.timeout.ms)",
	sarama.ErrSASLAuthenticationFailed:   "the gateway's credentials are wrong",
	sarama.ErrUnsupportedVersion:         "the broker is too old for it",
}

// kerror returns the broker's answer in err, or ErrNoError.
func kerror(err error) sarama.KError {
	if k, ok := errors.AsType[sarama.KError](err); ok {
		return k
	}
	return sarama.ErrNoError
}
