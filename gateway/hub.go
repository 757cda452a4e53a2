package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// HubConfig says how topics are read and how much of them is held.
type HubConfig struct {
	// Source reads the topics.
	Source record.Source
	// KeepReading is how long a topic is read on after its last subscriber, if it
	// exists.
	KeepReading time.Duration
	// Buffer is how many bytes of frames each tail may hold.
	Buffer int64
	// BufferTotal is how many bytes of frames all tails may hold together.
	BufferTotal int64
	// Skipped, if set, is told of records that could not be transformed or
	// encoded. It must be quick, and safe for concurrent use.
	Skipped func(topic string, err error)
	// Fetched, if set, is told of each fetch for sessions that read what no tail
	// holds, and how many records it brought; Encoded, how many of them were
	// encoded, once for each encoding in use. Both must be quick, and safe for
	// concurrent use.
	Fetched, Encoded func(records int)
}

func (c *HubConfig) skipped(topic string, err error) {
	if c.Skipped != nil {
		c.Skipped(topic, err)
	}
}

func (c *HubConfig) fetched(records int) {
	if c.Fetched != nil {
		c.Fetched(records)
	}
}

func (c *HubConfig) encoded(records int) {
	if c.Encoded != nil {
		c.Encoded(records)
	}
}

// Hub reads topics, each once however many sessions follow it, and holds their
// tails.
type Hub struct {
	cfg HubConfig
	// now is the clock by which work is measured.
	now func() time.Duration

	// arrivals are the turns of clients that connect.
	arrivals *turns
	// delivery is when sessions that follow a tail were last woken up, by the clock;
	// 0 is never.
	delivery atomic.Int64
	// held is how many bytes all tails hold, and tails how many there are.
	held       atomic.Int64
	blocks     *blocks
	tails      atomic.Int64
	reclaiming sync.Mutex
	// standing is how many topics there are of each standing, topicGone left aside.
	standing [standings]atomic.Int64

	mu     sync.Mutex
	topics map[string]*topic
	closed bool
}

// NewHub returns a hub that reads nothing yet.
func NewHub(cfg HubConfig) *Hub {
	born := time.Now()
	h := &Hub{cfg: cfg, now: func() time.Duration { return time.Since(born) }, topics: make(map[string]*topic)}
	h.blocks, h.arrivals = newBlocks(h), newTurns(h, arrivalsRest)
	return h
}

// Close ends all reading. Sessions that are still there get no more records.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	topics := h.topics
	h.topics = nil
	h.mu.Unlock()
	for _, t := range topics {
		t.close()
	}
}

// open returns the topic of that name, read from now on if it was not before,
// with its lock held, so that it cannot go before a session follows it.
func (h *Hub) open(name string) (*topic, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, record.ErrClosed
	}
	t := h.topics[name]
	if t == nil {
		t = readTopic(h, name)
		h.topics[name] = t
	}
	t.mu.Lock()
	return t, nil
}

// follow makes followers of topics for s, from the end that each has at this
// moment or from where the subscription says. It returns once all positions are
// known, or with ErrUnavailable when ctx is done before, ErrTooManyMissing, or the
// error of the subscription's filter, which is made also where there are no topics.
func (h *Hub) follow(ctx context.Context, s *Session, sub Subscription) ([]*follower, error) {
	filter, err := sub.Filter.filter(ctx)
	if err != nil {
		return nil, err
	}
	followers := make([]*follower, 0, len(sub.Topics))
	undo := func() {
		for _, f := range followers {
			f.leave()
		}
	}
	// Reading of all topics begins before the first is waited for.
	for _, name := range sub.Topics {
		t, err := h.open(name)
		if err != nil {
			undo()
			return nil, err
		}
		f, err := t.follow(s, filter)
		t.mu.Unlock()
		if err != nil {
			undo()
			return nil, err
		}
		followers = append(followers, f)
	}
	for _, f := range followers {
		if err := f.settle(ctx, sub.Start); err != nil {
			undo()
			return nil, err
		}
	}
	return followers, nil
}
