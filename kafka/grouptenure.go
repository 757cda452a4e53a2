package kafka

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// Setup implements sarama.ConsumerGroupHandler: a generation of the group begins.
func (m *member) Setup(sess sarama.ConsumerGroupSession) error {
	m.joining.Store(false)
	now := &tenure{sess.GenerationID(), sess.MemberID()}
	claims := map[topicPartition]bool{}
	for topic, partitions := range sess.Claims() {
		for _, id := range partitions {
			claims[topicPartition{topic, id}] = true
		}
	}
	m.mu.Lock()
	last := m.tenure
	unbroken := last != nil && now.generation == last.generation+1 && now.id == last.id
	lost := m.revoke(func(h *held) bool { return !unbroken || !claims[h.key] })
	for key := range claims {
		if m.parts[key] == nil {
			m.parts[key] = &held{m: m, key: key, done: -1, committed: -1}
		}
	}
	m.tenure, m.live, m.pressed = now, true, false
	if m.grace != nil {
		m.grace.Stop()
	}
	m.grace = time.AfterFunc(m.c.timings.grace, m.press)
	m.announce()
	m.arm()
	m.turn()
	m.poke()
	m.mu.Unlock()
	stopAll(lost)
	return nil
}

// ConsumeClaim implements sarama.ConsumerGroupHandler: it learns the committed
// offset of a partition, and holds the partition until the generation ends.
func (m *member) ConsumeClaim(sess sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	// What would read the partition for sarama has no broker to read from. It is
	// ended before it finds out.
	if reader, ok := claim.(interface{ AsyncClose() }); ok {
		reader.AsyncClose()
	}
	m.claimed(topicPartition{claim.Topic(), claim.Partition()}, claim.InitialOffset())
	<-sess.Context().Done()
	return nil
}

// Cleanup implements sarama.ConsumerGroupHandler: a generation ends, and the
// coordinator still takes its commits. No partition is given away before it
// returns.
func (m *member) Cleanup(sess sarama.ConsumerGroupSession) error {
	cause := context.Cause(sess.Context())
	fenced := errors.Is(cause, sarama.ErrUnknownMemberId) || errors.Is(cause, sarama.ErrIllegalGeneration)
	m.mu.Lock()
	m.live = false
	t := m.tenure
	m.mu.Unlock()
	if !fenced {
		ctx, cancel := context.WithTimeout(m.life, m.c.timings.rebalance/3)
		defer cancel()
		fenced = errors.Is(m.settle(ctx, t), errFenced)
	}
	if fenced {
		m.mu.Lock()
		lost := m.revoke(func(*held) bool { return true })
		m.mu.Unlock()
		stopAll(lost)
	}
	return nil
}

// settle commits what is done, and tries again while that makes sense.
func (m *member) settle(ctx context.Context, t *tenure) error {
	for failures := 1; ; failures++ {
		err := m.commit(ctx, t)
		if !errors.Is(err, errAgain) || !sleep(ctx, backoff(failures, 20*time.Millisecond, 200*time.Millisecond)) {
			return err
		}
	}
}

// revoke takes partitions from the member and tells of it. It returns the
// readings that are to be stopped. The caller holds m.mu.
func (m *member) revoke(which func(*held) bool) []*reading {
	told := map[string][]int32{}
	var lost []*reading
	for key, h := range m.parts {
		if !which(h) {
			continue
		}
		if h.announced {
			told[key.topic] = append(told[key.topic], key.id)
		}
		lost = append(lost, m.drop(h))
	}
	if len(told) > 0 {
		m.push(item{event: record.GroupRevoked{Partitions: sorted(told)}})
	}
	return lost
}

// forfeit takes all partitions from the member without a word. The caller holds
// m.mu.
func (m *member) forfeit() []*reading {
	lost := make([]*reading, 0, len(m.parts))
	for _, h := range m.parts {
		lost = append(lost, m.drop(h))
	}
	return lost
}

// drop takes one partition from the member. The caller holds m.mu.
func (m *member) drop(h *held) *reading {
	delete(m.parts, h.key)
	h.gone = true
	return h.halt()
}

// stopAll stops readings. It is not called with a lock held.
func stopAll(all []*reading) {
	for _, r := range all {
		if r != nil {
			r.Stop()
		}
	}
}

// press has the partitions whose start is known told without the others.
func (m *member) press() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pressed = true
	m.announce()
}

// announce tells of the partitions that the member got, once it is known where
// all of them begin, and has them read. The caller holds m.mu.
func (m *member) announce() {
	if !m.live || m.over {
		return
	}
	next := map[string]map[int32]int64{}
	all := map[string][]int32{}
	for key, h := range m.parts {
		switch {
		case !h.placed && !m.pressed:
			return
		case !h.placed:
			continue
		case !h.announced:
			if next[key.topic] == nil {
				next[key.topic] = map[int32]int64{}
			}
			next[key.topic][key.id] = h.handed
		}
		all[key.topic] = append(all[key.topic], key.id)
	}
	if len(next) == 0 && m.joined {
		return
	}
	m.joined = true
	var fresh []*held
	for _, h := range m.parts {
		if h.placed && !h.announced {
			fresh = append(fresh, h)
		}
	}
	m.push(item{event: record.GroupAssigned{Partitions: sorted(all), Next: next}, fresh: fresh})
	for _, h := range fresh {
		h.announced = true
		h.open(h.handed)
	}
}

func sorted(all map[string][]int32) map[string][]int32 {
	for _, ids := range all {
		slices.Sort(ids)
	}
	return all
}
