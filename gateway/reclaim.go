package gateway

import (
	"slices"
	"time"
)

// reclaim keeps what all tails hold within BufferTotal. The tails that nothing
// was put into for the longest time give up theirs first: of a topic that is
// quiet, what is new is soon found by its sessions, while a busy one's may still
// be wanted. It is called without a lock.
func (h *Hub) reclaim() {
	limit := h.cfg.BufferTotal
	if h.held.Load() <= limit {
		return
	}
	// One does it. The others go on putting, until that gets out of hand.
	if !h.reclaiming.TryLock() {
		if h.held.Load() <= limit+limit/8 {
			return
		}
		h.reclaiming.Lock()
	}
	defer h.reclaiming.Unlock()
	if h.held.Load() <= limit {
		return
	}
	// A good deal at once, so that it is not done again with the next record.
	goal := limit - limit/8
	for _, tl := range h.quietest() {
		over := h.held.Load() - goal
		if over <= 0 {
			return
		}
		tl.topic.mu.Lock()
		if tl.held > 0 { // it may have been freed meanwhile
			tl.trim(over)
			tl.idle()
		}
		tl.topic.mu.Unlock()
	}
}

// quietest returns all tails, those that nothing was put into for the longest
// time first.
func (h *Hub) quietest() []*tail {
	h.mu.Lock()
	topics := make([]*topic, 0, len(h.topics))
	for _, t := range h.topics {
		topics = append(topics, t)
	}
	h.mu.Unlock()
	type aged struct {
		tail     *tail
		appended time.Time
	}
	var all []aged
	for _, t := range topics {
		t.mu.Lock()
		for _, tl := range t.tails {
			if tl.held > 0 {
				all = append(all, aged{tl, tl.appended})
			}
		}
		t.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b aged) int { return a.appended.Compare(b.appended) })
	tails := make([]*tail, len(all))
	for i := range all {
		tails[i] = all[i].tail
	}
	return tails
}

// segmentLimit returns how large a segment may be: every tail keeps one that is
// not full, and these alone must not use up what a tail, or all of them, may hold.
func (h *Hub) segmentLimit() int {
	share := min(h.cfg.BufferTotal/max(h.tails.Load(), 1), h.cfg.Buffer) / 8
	return int(min(max(share, firstSegment), maxSegment))
}

// Held returns how many bytes the hub's tails hold, and what is held for sessions
// that read what no tail does.
func (h *Hub) Held() int64 { return h.held.Load() }

// HeldBehind returns how many bytes of Held are for sessions that read what no
// tail holds.
func (h *Hub) HeldBehind() int64 {
	h.blocks.mu.Lock()
	defer h.blocks.mu.Unlock()
	return h.blocks.held
}
