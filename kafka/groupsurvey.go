package kafka

import (
	"fmt"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// survey finds out, once and before the member joins, how many partitions of its topics
// the group has begun. One that comes after them was made later: the group has read the
// topic without it, and is to be given all of it. What the group has committed when a
// partition is assigned would not tell that: the first members of a new group begin
// their partitions at the same time.
func (m *member) survey() error {
	if m.begun != nil || m.spec.Start.Kind == record.StartEarliest || !m.c.version.IsAtLeast(sarama.V0_10_2_0) {
		return nil // it is known, makes no difference, or cannot be asked for
	}
	coordinator, err := m.client.Coordinator(m.spec.Group)
	if err != nil {
		return fmt.Errorf("looking up what the group has committed: %w", err)
	}
	answer, err := coordinator.FetchOffset(sarama.NewOffsetFetchRequest(m.c.version, m.spec.Group, nil)) // all
	if err != nil {
		_ = coordinator.Close()
		return fmt.Errorf("looking up what the group has committed: %w", err)
	}
	blocks, code := answer.Blocks, answer.Err
	for _, g := range answer.Groups { // since KIP-709
		blocks, code = g.Blocks, g.Err
	}
	if code != sarama.ErrNoError && code != sarama.ErrGroupIDNotFound {
		if code == sarama.ErrNotCoordinatorForConsumer {
			_ = m.client.RefreshCoordinator(m.spec.Group)
		}
		return fmt.Errorf("looking up what the group has committed: %w", code)
	}
	begun := map[string]int32{}
	for topic, partitions := range blocks {
		for partitions[begun[topic]] != nil && partitions[begun[topic]].Offset >= 0 {
			begun[topic]++
		}
		for id, b := range partitions {
			if id >= begun[topic] && b.Offset >= 0 {
				delete(begun, topic) // it has left some out, so it may have these
				break
			}
		}
	}
	m.mu.Lock()
	m.begun = begun
	m.mu.Unlock()
	return nil
}

// later reports whether a partition was made when the group was reading its topic
// already. The caller holds m.mu.
func (m *member) later(key topicPartition) bool {
	if n := m.begun[key.topic]; n > 0 && key.id >= n {
		return true
	}
	s := m.topics[key.topic]
	return s != nil && key.id >= s.partitions
}
