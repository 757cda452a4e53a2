package kafka

import (
	"encoding/binary"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// partitioner chooses partitions as Kafka's Java client does, so that the keys
// of existing users stay where they are: by murmur2 for records with a key, in
// turn for those without. A record that names its partition gets it. There is
// one for each topic, used by one goroutine.
type partitioner struct {
	turn int32
}

func newPartitioner(string) sarama.Partitioner { return &partitioner{} }

// RequiresConsistency implements sarama.Partitioner.
func (*partitioner) RequiresConsistency() bool { return true }

// MessageRequiresConsistency implements sarama.DynamicConsistencyPartitioner: a
// record without a key may go wherever there is a leader.
func (*partitioner) MessageRequiresConsistency(m *sarama.ProducerMessage) bool {
	return m.Key != nil || m.Partition != record.AnyPartition
}

// Partition implements sarama.Partitioner.
func (p *partitioner) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	switch {
	case m.Partition != record.AnyPartition:
		if m.Partition < 0 || m.Partition >= n {
			return -1, fmt.Errorf("choosing partition %d of %d: %w", m.Partition, n, sarama.ErrInvalidPartition)
		}
		return m.Partition, nil
	case m.Key != nil:
		// Not by Encode, which is the sign that the record is being sent.
		key, ok := m.Key.(payload)
		if !ok {
			return -1, fmt.Errorf("choosing a partition: a key of type %T: %w", m.Key, sarama.ErrInvalidPartition)
		}
		return partitionOf(key.b, n), nil
	}
	p.turn = (p.turn + 1) % n
	return p.turn, nil
}

// partitionOf returns the partition, of n, that a key belongs to.
func partitionOf(key []byte, n int32) int32 {
	// The sign is masked, not negated: that is how the Java client does it.
	return int32(murmur2(key)&0x7fffffff) % n
}

// murmur2 is Austin Appleby's 32 bit MurmurHash2 with the seed that Kafka uses.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
	)
	h := seed ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		k = (k ^ k>>24) * m
		h = h*m ^ k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
