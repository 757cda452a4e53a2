package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

const (
	// maxAcks is how many acknowledgements of a client may wait to be committed
	// before it is no longer read from.
	maxAcks = 256
	// ackPatience is how long Kafka has to commit those that wait together, and
	// awayPatience how long it has after it did not for that long: whoever waits
	// behind them, and a client that has gone meanwhile, is to be noticed.
	ackPatience  = 30 * time.Second
	awayPatience = 5 * time.Second
)

// ack is what a client is done with.
type ack struct {
	next map[string]map[int32]int64
	done func(error)
}

// rewind is a client's wish to get records again.
type rewind struct {
	topicPartition
	offset int64
	delay  time.Duration
	done   func(error)
}

// Ack commits what the client is done with: by topic, named as in Kafka, and
// partition, the offset behind it. done is called once, with nil when Kafka has it;
// its error wraps ErrNoGroup, ErrNotDelivered, or one of record.Member's Commit; of
// those, with record.ErrNotAssigned the partitions that the member has count all
// the same. Ack is for the goroutine that Receive is called by, which it has wait
// while too many acknowledgements do.
func (s *Session) Ack(next map[string]map[int32]int64, done func(error)) {
	m := s.member
	if m == nil || !m.ByClient {
		done(ErrNoGroup)
		return
	}
	m.mu.Lock()
	for len(m.acks) >= maxAcks && m.ctx.Err() == nil {
		m.mu.Unlock()
		s.paused.Store(true)
		select {
		case <-m.acked:
		case <-m.ctx.Done():
		}
		s.paused.Store(false)
		m.mu.Lock()
	}
	if m.leaving {
		m.mu.Unlock()
		done(record.ErrClosed)
		return
	}
	defer m.mu.Unlock()
	m.acks = append(m.acks, ack{next, done})
	if !m.committing {
		m.committing = true
		m.work.Go(m.commitAll)
	}
}

// commitAll commits acknowledgements, all that have come meanwhile at once.
func (m *member) commitAll() {
	for {
		m.mu.Lock()
		acks := m.acks
		m.acks = nil
		if len(acks) == 0 {
			m.committing = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		select {
		case m.acked <- struct{}{}:
		default:
		}
		m.commitRound(acks)
	}
}

// commitRound commits acknowledgements and answers them. It does not take longer for
// many than for one.
func (m *member) commitRound(acks []ack) {
	most := ackPatience
	if m.away {
		most = awayPatience
	}
	ctx, cancel := context.WithTimeout(m.ctx, most)
	defer cancel()
	if len(acks) > 1 {
		err := m.commit(ctx, together(acks))
		if err == nil || errors.Is(err, record.ErrUnavailable) || errors.Is(err, record.ErrClosed) {
			for _, a := range acks {
				a.done(err)
			}
			return
		}
	}
	// One of them may be wrong.
	for _, a := range acks {
		a.done(m.commit(ctx, a.next))
	}
}

// together returns what is the furthest of several acknowledgements.
func together(acks []ack) map[string]map[int32]int64 {
	all := make(map[string]map[int32]int64)
	for _, a := range acks {
		for topic, partitions := range a.next {
			if all[topic] == nil {
				all[topic] = make(map[int32]int64, len(partitions))
			}
			for p, next := range partitions {
				all[topic][p] = max(all[topic][p], next)
			}
		}
	}
	return all
}

// commit commits positions and makes room for more records.
func (m *member) commit(ctx context.Context, next map[string]map[int32]int64) error {
	if err := m.delivered(next); err != nil {
		return err
	}
	err := m.Commit(ctx, next)
	m.away = errors.Is(err, record.ErrUnavailable)
	if noted(err) {
		for topic, partitions := range next {
			for p, offset := range partitions {
				m.settle(topicPartition{topic, p}, offset)
			}
		}
		return err
	}
	if errors.Is(err, record.ErrRefused) && m.delivered(next) != nil {
		return ErrNotDelivered // by now: the partition was taken and given back meanwhile
	}
	if !errors.Is(err, record.ErrNotAssigned) {
		return err
	}
	// The client need not know yet which partitions it has lost: what it is done
	// with of the others counts.
	for topic, partitions := range next {
		for p, offset := range partitions {
			if noted(m.Commit(ctx, map[string]map[int32]int64{topic: {p: offset}})) {
				m.settle(topicPartition{topic, p}, offset)
			}
		}
	}
	return err
}

// noted reports whether the client is rid of what it has acknowledged: Kafka has it,
// or will as soon as it answers, or has the topic no more.
func noted(err error) bool {
	return err == nil || errors.Is(err, record.ErrUnavailable) || errors.Is(err, record.ErrUnknownTopic)
}

// delivered reports an error where positions are behind what the client was given.
func (m *member) delivered(next map[string]map[int32]int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, partitions := range next {
		for p, offset := range partitions {
			if h := m.held[topicPartition{topic, p}]; h != nil && offset > max(h.next, h.given) {
				return ErrNotDelivered
			}
		}
	}
	return nil
}

// settle notes that a position is done, which the member knows.
func (m *member) settle(at topicPartition, offset int64) {
	m.mu.Lock()
	h := m.held[at]
	if h == nil {
		m.mu.Unlock()
		return
	}
	m.unacked -= h.ack(offset)
	m.signal()
	next := h.next
	beyond := len(h.unacked) == 0 && next > offset // what is not shown behind it
	m.mu.Unlock()
	if beyond {
		m.Done(at.topic, at.partition, next)
	}
}

// Nack has a record, by its topic's name in Kafka, and all behind it in its
// partition delivered again, after a delay. done is called once; its error wraps
// ErrNoGroup, ErrNotDelivered, or one of record.Member's Rewind. Nack is for the
// goroutine that Receive is called by.
func (s *Session) Nack(topic string, partition int32, offset int64, delay time.Duration, done func(error)) {
	m := s.member
	if m == nil || !m.ByClient {
		done(ErrNoGroup)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rewinds) >= maxAcks {
		// It asks again and again for what it has not got yet.
		done(ErrNotDelivered)
		return
	}
	m.rewinds = append(m.rewinds, rewind{topicPartition{topic, partition}, offset, delay, done})
	m.interrupt()
}

// rewind carries out a rewind. It is called by the goroutine that reads, so nothing
// of what is read again is on its way.
func (m *member) rewind(r rewind) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.held[r.topicPartition]
	if h == nil {
		return record.ErrNotAssigned
	}
	i, found := slices.BinarySearch(h.unacked, r.offset)
	if !found {
		return ErrNotDelivered
	}
	if err := m.Rewind(r.topic, r.partition, r.offset, r.delay); err != nil {
		return err
	}
	m.unacked -= len(h.unacked) - i
	// It is another value, so that whoever is delivering records notices.
	m.held[r.topicPartition] = &held{next: r.offset, unacked: h.unacked[:i]}
	return nil
}
