package gateway

import "errors"

const (
	// maxMissing is how many topics that do not exist a hub waits for: their names
	// come from clients, and the brokers are asked for each of them again and again.
	maxMissing = 10_000
	// maxSought is up to how many topics that nobody knows of yet whether they exist
	// are read on after their last session, so that one that comes back need not wait
	// from the beginning.
	maxSought = 10_000
)

// ErrTooManyMissing means that as many topics are waited for that do not exist as
// may be.
var ErrTooManyMissing = errors.New("too many topics that do not exist are waited for")

// standing is what is known of whether a topic exists.
type standing int32

const (
	topicSought  standing = iota // nothing yet
	topicMissing                 // it did not when it was looked for, and is waited for
	topicCrowded                 // the same, but too many others are waited for
	topicFound                   // it exists, or did
	topicGone                    // it is no longer read
	standings
)

// stand notes what is known, and returns of how many topics of the hub that is
// known. The lock is held, or nobody else has the topic yet.
func (t *topic) stand(as standing) int64 {
	t.hub.standing[t.standing.Load()].Add(-1)
	t.standing.Store(int32(as))
	return t.hub.standing[as].Add(1)
}

// stands reports what is known.
func (t *topic) stands() standing { return standing(t.standing.Load()) }

// Missing is called by the source when the brokers say that there is no such
// topic: it will be read from its first record. Nothing is kept of one that nobody
// waits for, or too many others are waited for.
func (t *topic) Missing() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stands() != topicSought {
		return
	}
	if t.stand(topicMissing) > maxMissing {
		t.stand(topicCrowded)
	}
	t.settle.Do(func() {
		t.missing = true
		close(t.settled)
	})
	for _, tl := range t.tails {
		tl.followers.hurry()
	}
}

// fleeting reports whether the topic is not to be read on without a session.
func (t *topic) fleeting() bool {
	switch t.stands() {
	case topicMissing, topicCrowded:
		return true
	case topicSought:
		return t.hub.standing[topicSought].Load() > maxSought
	default:
		return false
	}
}
