package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// What a commit may come to that is told to nobody outside.
var (
	// errAgain: it may well succeed if it is tried again.
	errAgain = errors.New("kafka did not take the commit")
	// errFenced: the group has gone on without the member.
	errFenced = errors.New("the group has gone on without the member")
)

// Done implements record.Member.
func (m *member) Done(topic string, partition int32, next int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.parts[topicPartition{topic, partition}]
	if h == nil || !h.known || m.over {
		return
	}
	h.finish(next)
	m.arm()
}

// arm has the next commit in the background made in time. The caller holds m.mu.
func (m *member) arm() {
	if m.timer != nil || !m.live || m.over {
		return // Setup arms it again
	}
	for _, h := range m.parts {
		if h.dirty() {
			m.timer = time.AfterFunc(m.spec.CommitInterval, func() { m.spawn(m.flush) })
			return
		}
	}
}

// flush commits in the background.
func (m *member) flush() {
	m.mu.Lock()
	m.timer = nil
	t, idle := m.tenure, !m.live || m.over
	m.mu.Unlock()
	if idle {
		return
	}
	err := m.commit(m.life, t)
	switch {
	case errors.Is(err, record.ErrRefused):
		m.fail(err)
		return
	case err != nil:
		m.c.log.Debug("committing in the background failed; trying again", zap.String("group", m.spec.Group), zap.Error(err))
	}
	m.mu.Lock()
	m.arm()
	m.mu.Unlock()
}

// Commit implements record.Member.
func (m *member) Commit(ctx context.Context, next map[string]map[int32]int64) error {
	wanted, err := m.note(next)
	if err != nil {
		return err
	}
	return m.secure(ctx, wanted)
}

// secure returns when Kafka has what is wanted, which is noted as done, with nil,
// or with what Commit returns.
func (m *member) secure(ctx context.Context, wanted map[*held]position) error {
	for failures := 1; ; failures++ {
		t, changed, err := m.lacking(wanted)
		switch {
		case err != nil:
			return err
		case changed == nil:
			return nil
		case t == nil:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return m.late()
			}
		}
		err = m.commit(ctx, t)
		if _, still, _ := m.lacking(wanted); still == nil {
			return nil // what is wrong is another partition's
		}
		switch {
		case errors.Is(err, errFenced) && m.holds(t):
			return fmt.Errorf("committing to consumer group %q: it has gone on without this member: %w", m.spec.Group, record.ErrNotAssigned)
		case err == nil, errors.Is(err, errFenced), errors.Is(err, errAgain):
			if !sleep(ctx, backoff(failures, 20*time.Millisecond, time.Second)) {
				return m.late()
			}
		default:
			return err
		}
	}
}

func (m *member) late() error {
	return fmt.Errorf("committing to consumer group %q: no answer came in time: %w", m.spec.Group, record.ErrUnavailable)
}

// note checks the positions of a call to Commit and notes them as done.
func (m *member) note(next map[string]map[int32]int64) (map[*held]position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := map[*held]position{}
	if m.over {
		return nil, fmt.Errorf("committing to consumer group %q: %w", m.spec.Group, record.ErrClosed)
	}
	for topic, partitions := range next {
		for id, offset := range partitions {
			h := m.parts[topicPartition{topic, id}]
			switch {
			case h == nil || !h.known: // or lost and got again, which it has not heard
				return nil, fmt.Errorf("committing topic %q, partition %d: %w", topic, id, record.ErrNotAssigned)
			case offset > h.handed:
				return nil, fmt.Errorf("committing topic %q, partition %d: what is before offset %d was not delivered: %w", topic, id, offset, record.ErrRefused)
			}
			wanted[h] = position{h, offset, h.log}
		}
	}
	for h, p := range wanted {
		if h.stale > 0 {
			delete(wanted, h) // nothing is left that it could be committed to
		}
		h.finish(p.next)
	}
	m.arm() // for what the caller does not wait for
	return wanted, nil
}

// lacking returns no channel when Kafka has all that is wanted; else what is
// closed when the tenure changes, and the tenure to commit under, nil while there
// is none. It fails when the member cannot commit any more.
func (m *member) lacking(wanted map[*held]position) (*tenure, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	met := true
	var gone error
	for h, p := range wanted {
		met = met && (h.committed >= p.next || h.log != p.log)
		if h.gone {
			gone = fmt.Errorf("committing topic %q, partition %d: it was given to another member: %w", h.key.topic, h.key.id, record.ErrNotAssigned)
		}
	}
	switch {
	case met:
		return nil, nil, nil
	case gone != nil && !m.over:
		return nil, m.changed, gone
	case m.over:
		return nil, m.changed, fmt.Errorf("committing to consumer group %q: %w", m.spec.Group, record.ErrClosed)
	case m.live:
		return m.tenure, m.changed, nil
	}
	return nil, m.changed, nil
}

// holds reports whether a tenure lasts.
func (m *member) holds(t *tenure) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live && m.tenure == t
}

// commit commits all that is done, under a tenure, and waits for the answer as
// long as ctx allows. Its error wraps errAgain, errFenced, or what Commit
// returns.
func (m *member) commit(ctx context.Context, t *tenure) error {
	answer := make(chan error, 1)
	if !m.spawn(func() {
		select {
		case m.pushing <- struct{}{}:
			answer <- m.send(t)
			<-m.pushing
		case <-ctx.Done():
			answer <- errAgain
		}
	}) {
		return fmt.Errorf("committing to consumer group %q: %w", m.spec.Group, record.ErrClosed)
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("committing to consumer group %q: %w", m.spec.Group, errAgain)
	}
}

// position is what is to be committed of a partition.
type position struct {
	held *held
	next int64
	log  int
}

// send makes one request.
func (m *member) send(t *tenure) error {
	m.mu.Lock()
	var all []position
	for _, h := range m.parts {
		if h.dirty() {
			all = append(all, position{h, h.done, h.log})
		}
	}
	m.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	req := sarama.NewOffsetCommitRequest(m.client.conf, m.spec.Group)
	req.ConsumerGroupGeneration, req.ConsumerID = t.generation, t.id
	for _, p := range all {
		// The epoch is left open, which a consumer that compares epochs takes
		// for unknown. sarama's own default of 0 would have it see a log that
		// was cut (KIP-320).
		req.AddBlockWithLeaderEpoch(p.held.key.topic, p.held.key.id, p.next, noEpoch, 0, "")
	}
	coordinator, err := m.client.Coordinator(m.spec.Group)
	if err != nil {
		return m.verdict("", err)
	}
	answer, err := coordinator.CommitOffset(req)
	if err != nil {
		_ = coordinator.Close()
		return m.verdict("", err)
	}
	err = m.accept(all, answer)
	if kerr := kerror(err); kerr == sarama.ErrNotCoordinatorForConsumer || kerr == sarama.ErrConsumerCoordinatorNotAvailable {
		_ = m.client.RefreshCoordinator(m.spec.Group)
	}
	return err
}

// accept notes what was committed, and returns the worst of what was not.
func (m *member) accept(all []position, answer *sarama.OffsetCommitResponse) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var worst error
	for _, p := range all {
		err := sarama.ErrIncompleteResponse
		if code, ok := answer.Errors[p.held.key.topic][p.held.key.id]; ok {
			err = code
		}
		if err == sarama.ErrNoError {
			if p.log == p.held.log {
				p.held.committed = max(p.held.committed, p.next)
			}
			continue
		}
		err = m.verdict(p.held.key.topic, err)
		if worst == nil || errors.Is(worst, errAgain) || errors.Is(err, errFenced) {
			worst = err
		}
	}
	return worst
}

// verdict says what an error of a commit means.
func (m *member) verdict(topic string, err error) error {
	var means error
	text := ""
	switch kerror(err) {
	case sarama.ErrIllegalGeneration, sarama.ErrUnknownMemberId, sarama.ErrFencedInstancedId:
		means = errFenced
	case sarama.ErrUnknownTopicOrPartition:
		means, text = record.ErrUnknownTopic, fmt.Sprintf(": topic %q", topic)
	case sarama.ErrTopicAuthorizationFailed:
		means, text = record.ErrRefused, fmt.Sprintf(": the gateway has no right to topic %q (READ)", topic)
	case sarama.ErrGroupAuthorizationFailed:
		means, text = record.ErrRefused, ": the gateway has no right to the group (READ)"
	default:
		means = errAgain
	}
	return fmt.Errorf("committing to consumer group %q%s: %w (%w)", m.spec.Group, text, means, err)
}
