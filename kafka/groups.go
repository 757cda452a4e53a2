package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

const (
	// groupPiece is what is asked of one partition of a member at a time: it is
	// read ahead of a socket that may be slow.
	groupPiece = 256 << 10
	// memberBuffer is how much a member holds that Next has not returned before
	// no more of its partitions is asked for. What was asked for before comes on
	// top of it.
	memberBuffer = 512 << 10
	// eventBytes is about what one event carries.
	eventBytes = 256 << 10
)

// Groups returns the cluster's consumer groups, for members that read with or
// without the records of transactions that are open or were aborted.
func (c *Cluster) Groups(readCommitted bool) record.Groups { return groups{c, readCommitted} }

type groups struct {
	c         *Cluster
	committed bool
}

// Join implements record.Groups.
func (g groups) Join(spec record.Membership) record.Member {
	m := &member{
		c: g.c, src: g.c.sourceOf(&g.c.grouped, g.committed, groupPiece), spec: spec, born: time.Now(),
		wake: make(chan struct{}, 1), changed: make(chan struct{}), ended: make(chan struct{}), pushing: make(chan struct{}, 1),
		parts: map[topicPartition]*held{}, topics: map[string]*sight{},
	}
	if m.spec.CommitInterval <= 0 {
		m.spec.CommitInterval = time.Second
	}
	m.life, m.abort = context.WithCancel(g.c.ctx)
	m.stay, m.quit = context.WithCancel(m.life)
	for _, topic := range spec.Topics {
		m.topics[topic] = nil
	}
	if !g.c.spawn(func() { m.run(g.committed) }) {
		m.fail(fmt.Errorf("joining consumer group %q: %w", spec.Group, record.ErrClosed))
		close(m.ended)
	}
	return m
}

// member is one member of a consumer group. sarama does the protocol of the
// group, and calls Setup, ConsumeClaim and Cleanup.
//
// sarama gives up all partitions in every rebalance. But as long as the group
// goes from one generation to the next with the member in it, nobody else can
// have had a partition that the member had before and has after it. Such
// partitions are kept: nothing of them is delivered while the rebalance lasts,
// then it goes on as if nothing had been.
type member struct {
	c    *Cluster
	src  *source
	spec record.Membership
	born time.Time

	life  context.Context // over when the connections break
	abort context.CancelFunc
	stay  context.Context // over when the member is to leave
	quit  context.CancelFunc
	ended chan struct{} // closed when run and work have ended
	work  sync.WaitGroup

	client  *groupClient
	joining atomic.Bool // between two tenures
	// pushing is held by whoever sends a commit.
	pushing chan struct{}
	wake    chan struct{} // of Next

	// mu is taken inside the locks of readings.
	mu      sync.Mutex
	over    bool          // there are no events but those in the queue
	dead    bool          // no more work begins
	changed chan struct{} // closed and made again with every change of tenure
	tenure  *tenure       // the last one; nil before the first
	live    bool          // the tenure lasts
	parts   map[topicPartition]*held
	topics  map[string]*sight // what was seen of the member's topics; nil before that
	begun   map[string]int32  // how many partitions the group had begun before; see survey
	joined  bool              // an assignment was told
	pressed bool              // partitions whose start is not known are not waited for
	grace   *time.Timer
	timer   *time.Timer // of the next commit in the background
	queue   []item
	bytes   int
	full    bool // a reading was told that there is no room
}

// tenure is a member's part in one generation of the group.
type tenure struct {
	generation int32
	id         string
}

// sight is what was seen of a topic.
type sight struct {
	partitions int32 // how many it had when it was seen first
	missing    bool
}

// run is the member's goroutine.
func (m *member) run(committed bool) {
	defer close(m.ended)
	defer m.work.Wait()
	defer m.disband()
	topics := m.legal()
	if len(topics) == 0 {
		m.fail(fmt.Errorf("joining consumer group %q: no topic is named that could exist: %w", m.spec.Group, record.ErrRefused))
		return
	}
	conf := m.c.groupSettings(m.spec.ClientID, committed)
	client, err := newGroupClient(m, conf)
	if err != nil {
		m.fail(err)
		return
	}
	m.client = client
	defer client.shut()
	defer m.abort()
	group, err := sarama.NewConsumerGroupFromClient(m.spec.Group, client)
	if err != nil {
		m.fail(fmt.Errorf("preparing a member of a consumer group: %w", err))
		return
	}
	defer func() { _ = group.Close() }() // leaves the group
	for failures := 0; m.stay.Err() == nil; {
		err := m.survey()
		if err == nil {
			m.joining.Store(true)
			err = group.Consume(m.stay, topics, m)
		}
		switch {
		case err == nil:
			failures = 0
			continue
		case m.stay.Err() != nil:
			continue
		}
		if reason, refused := groupRefusals[kerror(err)]; refused || hopeless(err) {
			m.fail(fmt.Errorf("joining consumer group %q: %s (%w): %w", m.spec.Group, reason, err, record.ErrRefused))
			return
		}
		failures++
		m.c.log.Debug("joining a consumer group failed; trying again", zap.String("group", m.spec.Group), zap.Error(err))
		sleep(m.stay, backoff(failures, 100*time.Millisecond, 2*time.Second))
	}
	if m.c.ctx.Err() != nil {
		m.fail(fmt.Errorf("reading as a member of consumer group %q: %w", m.spec.Group, record.ErrClosed))
	}
}

// legal returns the topics to join for. A name that Kafka does not take could end
// the other members of the group.
func (m *member) legal() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var topics []string
	for _, topic := range slices.Sorted(maps.Keys(m.topics)) {
		if record.ValidTopic(topic) {
			topics = append(topics, topic)
		} else {
			m.push(item{event: record.GroupMissing{Topic: topic}})
		}
	}
	return topics
}

// hopeless reports whether err says that what is configured cannot work.
func hopeless(err error) bool {
	var conf sarama.ConfigurationError
	return errors.As(err, &conf)
}

// saw notes what the brokers said about a topic.
func (m *member) saw(topic string, t *topicInfo) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ours := m.topics[topic]
	switch {
	case !ours:
		return nil // another member's
	case t.refused():
		return t.err
	case t.unknown():
		if s == nil || !s.missing {
			m.topics[topic] = &sight{missing: true}
			m.push(item{event: record.GroupMissing{Topic: topic}})
		}
	case t.err == sarama.ErrNoError && len(t.partitions) > 0:
		if s == nil {
			m.topics[topic] = &sight{partitions: int32(len(t.partitions))} //nolint:gosec // Kafka's own count
		} else {
			s.missing = false
		}
	}
	return nil
}

// fail ends the member, as far as the caller of Next is concerned.
func (m *member) fail(err error) {
	m.mu.Lock()
	lost := m.forfeit()
	if !m.over {
		m.over = true
		m.push(item{event: record.GroupFailed{Err: err}})
	}
	m.turn()
	m.mu.Unlock()
	stopAll(lost)
	m.quit()
}

// Leave implements record.Member.
func (m *member) Leave(ctx context.Context) {
	m.mu.Lock()
	m.over, m.queue, m.bytes = true, nil, 0
	m.poke()
	m.turn()
	m.mu.Unlock()
	m.quit()
	select {
	case <-m.ended:
	case <-ctx.Done():
		m.abort()
		<-m.ended
	}
	m.abort()
}

// disband lets go of what the member holds, at its end.
func (m *member) disband() {
	m.mu.Lock()
	lost := m.forfeit()
	m.live, m.dead = false, true
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.grace != nil {
		m.grace.Stop()
	}
	m.turn()
	m.mu.Unlock()
	stopAll(lost)
}

// spawn runs f in a goroutine that Leave waits for, unless the member has ended.
func (m *member) spawn(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return false
	}
	m.work.Go(f)
	return true
}

// turn tells those who wait for a change of tenure. The caller holds m.mu.
func (m *member) turn() {
	close(m.changed)
	m.changed = make(chan struct{})
}
