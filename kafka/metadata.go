package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// maxCached bounds the topics that are remembered without being read: their
// names come from clients.
const maxCached = 10_000

// waiter is somebody who waits for an answer until ctx is done.
type waiter struct {
	ctx context.Context
	ch  chan *topicInfo // has room for the answer
}

type watch struct {
	watchers map[watcher]struct{}
	due      time.Time     // when the brokers are to be asked next
	period   time.Duration // how often they are asked
}

// metadata asks the brokers about topics, on a connection of its own, with one
// request at a time. It asks without end while a topic is watched, and never causes a
// topic to be created.
type metadata struct {
	c     *Cluster
	wake  chan struct{}
	doubt atomic.Bool // the broker that answered last lags behind

	mu         sync.Mutex
	running    bool
	brokers    map[int32]string
	controller int32
	cache      map[string]*topicInfo
	watched    map[string]*watch
	waiters    map[string][]waiter
	asked      map[string]time.Time // asked for once, not before that time

	// Used by the loop alone.
	conn     *conn
	addr     string
	next     int // the candidate to try next
	failures int
	question question
	turn     bool // topics that are known to exist are next
}

func newMetadata(c *Cluster) *metadata {
	return &metadata{
		c: c, wake: make(chan struct{}, 1), controller: noBroker,
		brokers: map[int32]string{}, cache: map[string]*topicInfo{}, watched: map[string]*watch{},
		waiters: map[string][]waiter{}, asked: map[string]time.Time{},
	}
}

// poke starts or wakes the loop. The caller holds m.mu.
func (m *metadata) poke() {
	if !m.running {
		m.running = m.c.spawn(m.loop)
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// watch tells w about a topic from now on, at first from what is known already.
func (m *metadata) watch(topic string, w watcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.watched[topic]
	if e == nil {
		e = &watch{watchers: map[watcher]struct{}{}}
		m.watched[topic] = e
	}
	e.watchers[w] = struct{}{}
	now := time.Now()
	if t := m.cache[topic]; t != nil && t.complete() && now.Sub(t.at) < m.c.timings.positive {
		m.c.spawn(func() { w.onMetadata(t) })
		if e.due.IsZero() {
			e.due, e.period = t.at.Add(m.c.timings.refresh), m.c.timings.refresh
		}
	} else {
		e.due = now
	}
	m.poke()
}

// unwatch ends what watch began.
func (m *metadata) unwatch(topic string, w watcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.watched[topic]; e != nil {
		delete(e.watchers, w)
		if len(e.watchers) == 0 {
			delete(m.watched, topic)
		}
	}
}

// refresh asks about a watched topic again, after a delay at the latest.
func (m *metadata) refresh(topic string, delay time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.watched[topic]; e != nil {
		if at := time.Now().Add(delay); at.Before(e.due) {
			e.due = at
		}
		m.poke()
	}
}

// suspect asks again as refresh does, and another broker where there is one.
func (m *metadata) suspect(topic string, delay time.Duration) {
	m.doubt.Store(true)
	m.refresh(topic, delay)
}

// cached returns what is known about a topic, or nil.
func (m *metadata) cached(topic string) *topicInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cache[topic]
}

// prefetch asks about a topic without waiting for the answer.
func (m *metadata) prefetch(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.asked[topic]; !ok {
		m.asked[topic] = time.Now()
		m.poke()
	}
}

// lookup returns what the brokers say about a topic, from the cache when that is
// no older than maxAge. A negative answer is believed for a short time only.
func (m *metadata) lookup(ctx context.Context, topic string, maxAge time.Duration) (*topicInfo, error) {
	if m.c.ctx.Err() != nil {
		return nil, fmt.Errorf("looking up topic %q: %w", topic, record.ErrClosed)
	}
	m.mu.Lock()
	if t := m.cache[topic]; t != nil {
		if !t.complete() {
			maxAge = min(maxAge, m.c.timings.negative)
		}
		if time.Since(t.at) < maxAge {
			m.mu.Unlock()
			return t, nil
		}
	}
	ch := make(chan *topicInfo, 1)
	m.waiters[topic] = append(m.waiters[topic], waiter{ctx, ch})
	m.asked[topic] = time.Now()
	m.poke()
	m.mu.Unlock()
	select {
	case t := <-ch:
		return t, nil
	case <-ctx.Done():
	case <-m.c.ctx.Done():
	}
	m.mu.Lock()
	if rest := slices.DeleteFunc(m.waiters[topic], func(w waiter) bool { return w.ch == ch }); len(rest) > 0 {
		m.waiters[topic] = rest
	} else {
		delete(m.waiters, topic)
		delete(m.asked, topic)
	}
	m.mu.Unlock()
	if m.c.ctx.Err() != nil {
		return nil, fmt.Errorf("looking up topic %q: %w", topic, record.ErrClosed)
	}
	return nil, fmt.Errorf("looking up topic %q: %w", topic, record.ErrUnavailable)
}

// broker returns the address of a broker, or "".
func (m *metadata) broker(id int32) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.brokers[id]
}

// loop asks until the cluster is closed.
func (m *metadata) loop() {
	defer func() {
		if m.conn != nil {
			m.conn.close()
		}
	}()
	for m.c.ctx.Err() == nil {
		names, waiters, wait := m.collect()
		if len(names) == 0 {
			t := time.NewTimer(wait)
			select {
			case <-m.wake:
			case <-t.C:
			case <-m.c.ctx.Done():
			}
			t.Stop()
			continue
		}
		m.c.silence.ask(&m.question, 0)
		answer, err := m.request(names)
		m.c.silence.end(&m.question, err == nil)
		if err != nil {
			m.giveBack(names, waiters, time.Now())
			if round := len(m.candidates()); m.failures%round == 0 {
				sleep(m.c.ctx, backoff(m.failures/round, 200*time.Millisecond, time.Second))
			}
			continue
		}
		m.failures = 0
		m.apply(answer, names, waiters)
	}
}

// apply keeps an answer and hands it out.
func (m *metadata) apply(answer *sarama.MetadataResponse, names []string, waiters map[string][]waiter) {
	now := time.Now()
	infos := make(map[string]*topicInfo, len(names))
	for _, t := range answer.Topics {
		infos[t.Name] = newTopicInfo(t, now)
	}
	type notice struct {
		w watcher
		t *topicInfo
	}
	var notices []notice
	m.mu.Lock()
	clear(m.brokers)
	for _, b := range answer.Brokers {
		m.brokers[b.ID()] = b.Addr()
	}
	m.controller = answer.ControllerID
	var absent []string
	for _, name := range names {
		t := infos[name]
		if t == nil {
			absent = append(absent, name)
			continue
		}
		m.cache[name] = t
		if e := m.watched[name]; e != nil {
			e.period = m.period(t)
			if at := now.Add(e.period); at.Before(e.due) {
				e.due = at
			}
			for w := range e.watchers {
				notices = append(notices, notice{w, t})
			}
		}
	}
	m.trim(now)
	m.mu.Unlock()

	// The watchers first: who waits for an answer may rely on their having seen it.
	for _, n := range notices {
		n.w.onMetadata(n.t)
	}
	for name, ws := range waiters {
		if t := infos[name]; t != nil {
			for _, w := range ws {
				w.ch <- t
			}
		}
	}
	if len(absent) > 0 {
		m.c.log.Debug("metadata answer lacks topics", zap.Int("topics", len(absent)))
		m.giveBack(absent, waiters, now.Add(200*time.Millisecond))
	}
}

// period returns how soon a watched topic is to be asked for again.
func (m *metadata) period(t *topicInfo) time.Duration {
	switch {
	case t.refused():
		return m.c.timings.forbidden
	case !t.complete():
		return m.c.timings.missing
	}
	return m.c.timings.refresh
}
