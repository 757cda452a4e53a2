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
	// KeepReading is how long a topic is read on after its last subscriber.
	KeepReading time.Duration
	// Buffer is how many bytes of frames each tail may hold.
	Buffer int64
	// BufferTotal is how many bytes of frames all tails may hold together.
	BufferTotal int64
	// Skipped, if set, is told of records that could not be transformed or
	// encoded. It must be quick, and safe for concurrent use.
	Skipped func(topic string, err error)
}

func (c *HubConfig) skipped(topic string, err error) {
	if c.Skipped != nil {
		c.Skipped(topic, err)
	}
}

// Hub reads topics, each once however many sessions follow it, and holds their
// tails.
type Hub struct {
	cfg HubConfig

	// held is how many bytes all tails hold, and tails how many there are.
	held       atomic.Int64
	blocks     *blocks
	tails      atomic.Int64
	reclaiming sync.Mutex

	mu     sync.Mutex
	topics map[string]*topic
	closed bool
}

// NewHub returns a hub that reads nothing yet.
func NewHub(cfg HubConfig) *Hub {
	h := &Hub{cfg: cfg, topics: make(map[string]*topic)}
	h.blocks = newBlocks(h)
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

// follow makes s follow the topics, from the end that each has at this moment or
// from where start says. It returns once all positions are known, or with
// ErrUnavailable when ctx is done before.
func (h *Hub) follow(ctx context.Context, s *Session, names []string, start record.Start) error {
	followers := make([]*follower, 0, len(names))
	undo := func() {
		for _, f := range followers {
			f.leave()
		}
	}
	// Reading of all topics begins before the first is waited for.
	for _, name := range names {
		t, err := h.open(name)
		if err != nil {
			undo()
			return err
		}
		followers = append(followers, t.tailOf(s.encoding).follow(s))
		t.mu.Unlock()
	}
	for _, f := range followers {
		if err := f.settle(ctx, start); err != nil {
			undo()
			return err
		}
	}
	s.followers = followers
	return nil
}
