package kafka

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// topicInfo is what the brokers said about a topic.
type topicInfo struct {
	name       string
	err        sarama.KError
	id         sarama.Uuid // zero where the brokers are too old to tell
	partitions []partitionInfo
	at         time.Time
}

type partitionInfo struct {
	id     int32
	leader int32 // -1 when there is none
	epoch  int32 // -1 when it is not known
}

// unknown reports whether the brokers say that there is no such topic.
func (t *topicInfo) unknown() bool {
	return t.err == sarama.ErrUnknownTopicOrPartition || t.err == sarama.ErrInvalidTopic || t.err == errUnknownTopicID
}

// refused reports whether the brokers do not let us see the topic.
func (t *topicInfo) refused() bool {
	return t.err == sarama.ErrTopicAuthorizationFailed || t.err == sarama.ErrClusterAuthorizationFailed
}

// complete reports whether the topic exists and every partition has a leader.
func (t *topicInfo) complete() bool {
	if t.err != sarama.ErrNoError || len(t.partitions) == 0 {
		return false
	}
	return !slices.ContainsFunc(t.partitions, func(p partitionInfo) bool { return p.leader < 0 })
}

// has reports whether the topic has a partition.
func (t *topicInfo) has(id int32) bool {
	return slices.ContainsFunc(t.partitions, func(p partitionInfo) bool { return p.id == id })
}

const (
	errUnknownTopicID sarama.KError = 100 // UNKNOWN_TOPIC_ID, which sarama has no name for
	noBroker          int32         = -1
)

// watcher is told what the brokers say about a topic, each time they are asked.
type watcher interface {
	onMetadata(t *topicInfo)
}

// problem returns the error that a caller gets to see for what the brokers said
// about a topic; nil when it exists.
func (t *topicInfo) problem() error {
	switch {
	case t.unknown():
		return fmt.Errorf("looking up topic %q: %w", t.name, record.ErrUnknownTopic)
	case t.refused():
		return named(fmt.Errorf("looking up topic %q: the gateway has no right to it: %w", t.name, record.ErrRefused), t.err)
	}
	return nil
}

func newTopicInfo(t *sarama.TopicMetadata, now time.Time) *topicInfo {
	info := &topicInfo{name: t.Name, err: t.Err, id: t.Uuid, at: now}
	for _, p := range t.Partitions {
		pi := partitionInfo{id: p.ID, leader: p.Leader, epoch: noEpoch}
		if p.Version >= 7 {
			pi.epoch = p.LeaderEpoch
		}
		if p.Err == sarama.ErrLeaderNotAvailable {
			pi.leader = noBroker
		}
		info.partitions = append(info.partitions, pi)
	}
	return info
}

// trim keeps the cache within bounds. The caller holds m.mu.
func (m *metadata) trim(now time.Time) {
	watched := len(m.watched) // which have to stay
	if len(m.cache) <= maxCached+watched {
		return
	}
	for _, limit := range []time.Duration{time.Minute, m.c.timings.negative, math.MinInt64} {
		for name, t := range m.cache {
			if m.watched[name] == nil && now.Sub(t.at) > limit {
				delete(m.cache, name)
			}
			if limit == math.MinInt64 && len(m.cache) <= maxCached*3/4+watched {
				break
			}
		}
		if len(m.cache) <= maxCached*3/4+watched {
			return
		}
	}
}
