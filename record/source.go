package record

import (
	"context"
	"errors"
	"time"
)

// Batch is a run of records of one partition in offset order, as Kafka returned
// them. Offsets may have holes (compaction, transactions), so Next, not the last
// record's offset, says where reading goes on; a batch may carry no record at
// all and still move Next.
type Batch struct {
	// Partition is the partition that all records belong to.
	Partition int32
	// Records are the records, in offset order. They may be kept: their bytes
	// belong to the batch and are not used again by whoever read them. A small
	// slice of them may hold a whole response in memory, though.
	Records []Record
	// Next is the offset after the batch: the next one that will be read.
	Next int64
	// Epoch is the leader epoch (KIP-101) under which the last part of the
	// batch was written, be it records that are not shown: the epoch of what is
	// at Next-1. It is NoEpoch where it is not known.
	Epoch int32
	// Unreadable tells that there are no records because what Kafka has there is
	// corrupt, or larger than the gateway takes. Only Fetch has such batches; a
	// Sink is told by Lost.
	Unreadable bool
}

// Started tells where the reading of a topic begins.
type Started struct {
	// TopicID is the id of the topic that is read, the zero one where the
	// brokers tell none (before Kafka 2.8).
	TopicID TopicID
	// Next are the offsets at which reading begins, by partition.
	Next map[int32]int64
}

// Loss tells that reading does not simply go on in a partition.
type Loss struct {
	// Partition is the partition's number.
	Partition int32
	// From is the next offset that the sink would have got.
	From int64
	// Next is the offset that it gets next. Where it is above From, what is
	// between will not be delivered. Where it is below From or equal, which
	// only LossTruncated and LossRecreated have, the log from Next on is not the
	// one that was delivered: it is delivered anew.
	Next int64
	// Reason tells what has happened.
	Reason LossReason
}

// LossReason tells why records are lost.
type LossReason uint8

// The reasons of a Loss.
const (
	// LossExpired: Kafka has deleted the records, by retention or on demand,
	// before they were read.
	LossExpired LossReason = iota + 1
	// LossTruncated: records that had been delivered, or were about to be, are
	// no longer in the log: it was cut, as an unclean leader election does, and
	// others may have been written at their offsets since.
	LossTruncated
	// LossRecreated: the topic was deleted and made again. Next is 0.
	LossRecreated
	// LossUnreadable: a record batch cannot be read: it is corrupt, or larger
	// than the gateway takes.
	LossUnreadable
	// LossSkipped: the reader was too slow, and was moved on. It is not Kafka's
	// doing; no Source tells it.
	LossSkipped
)

// String returns the reason in a word, as clients are told it.
func (r LossReason) String() string {
	switch r {
	case LossExpired:
		return "expired"
	case LossTruncated:
		return "truncated"
	case LossRecreated:
		return "recreated"
	case LossUnreadable:
		return "unreadable"
	case LossSkipped:
		return "skipped"
	}
	return "unknown"
}

// Point is a place in every partition of a topic: PointEarliest, PointLatest, or
// a time in milliseconds since 1970; see PointAt.
type Point int64

// The Points that are no time. They are those of Kafka's protocol.
const (
	// PointLatest is the end of each partition, which for a reader of committed
	// records is before the first transaction that is still open: its records
	// come to be seen later.
	PointLatest Point = -1
	// PointEarliest is the first record that Kafka still has of each partition.
	PointEarliest Point = -2
)

// PointAt returns the Point of the first record of each partition whose
// timestamp is not before t, or, where there is none yet, PointLatest's. Times
// before 1970 are 1970.
func PointAt(t time.Time) Point {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++ // timestamps have no fractions of it
	}
	return Point(max(ms, 0))
}

// Topic describes a topic.
type Topic struct {
	// ID is the topic's id, the zero one where the brokers tell none (before
	// Kafka 2.8).
	ID TopicID
	// Epochs are the leader epochs of all partitions, by partition; NoEpoch
	// where the brokers tell none (before Kafka 2.1).
	Epochs map[int32]int32
}

// Sink receives what is read of one topic. Its methods are called by one
// goroutine at a time for each partition and must not block.
type Sink interface {
	// Missing tells, before any other method is called, that the brokers know
	// no such topic. Reading begins with its first record when it is made.
	Missing()
	// Started tells the offsets at which reading begins. It is called once
	// before the first Deliver; again, with the new partitions alone, whenever
	// the topic has grown or a partition that had no leader got one; and again,
	// with the new id, when the topic was made again, after Lost was told of
	// each of its partitions. Next may be empty then. A partition that is found
	// after the reading began starts at 0.
	Started(s Started)
	// Deliver hands over records. The sink takes them even when Ready is false.
	Deliver(b Batch)
	// Ready reports whether the sink has room. While it is false, the topic's
	// partitions are left out of the fetches; other topics go on. A sink that
	// becomes ready again calls Reading.Resume.
	Ready() bool
	// Lost tells that records of a partition are lost to the sink, and where
	// reading goes on.
	Lost(l Loss)
}

// Reading is one topic being read into a Sink.
type Reading interface {
	// Resume tells that the sink is ready again. It does not block.
	Resume()
	// Stop ends the reading. No method of the sink is called after it has
	// returned. It does not wait for the network.
	Stop()
}

// Outcome is what became of a record that was to be written.
type Outcome struct {
	// Partition and Offset are the record's place when Err is nil. Offset is
	// -1 where Kafka acknowledged the record without telling its offset (a
	// duplicate that the idempotent producer sent again).
	Partition int32
	Offset    int64
	// Timestamp is the record's time in Kafka, to the millisecond: the broker's
	// where the topic has message.timestamp.type=LogAppendTime, otherwise the
	// one that the record was sent with. It is the zero time when Err is not
	// nil, and where it is not known, as where Offset is -1.
	Timestamp time.Time
	// Err is nil for a record that Kafka acknowledged; else it wraps one of
	// the errors below where one of them applies.
	Err error
}

// Errors that describe why Kafka did not take a record or a topic cannot be
// read. They are wrapped, so compare with errors.Is.
var (
	// ErrUnknownTopic means that Kafka has no topic of that name, and that the
	// gateway may not create it.
	ErrUnknownTopic = errors.New("unknown topic")
	// ErrOffsetGone means that a partition does not have an offset: its
	// record was deleted, or the log ends before it.
	ErrOffsetGone = errors.New("offset out of range")
	// ErrUnavailable means that no broker did in time what it was asked for. A
	// record was not written, and will not be: it was never sent, or brokers
	// turned it away each time.
	ErrUnavailable = errors.New("kafka is unreachable")
	// ErrTooLarge means that the record is larger than the producer or the
	// broker takes.
	ErrTooLarge = errors.New("record too large")
	// ErrUnknownOutcome means that the record may or may not have been
	// written, or may still be: it was sent, and no answer came, or none that
	// tells. What was never sent has failed with another error.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrRefused means that Kafka answered with an error that trying again
	// does not mend: the rights of the gateway, an invalid record.
	ErrRefused = errors.New("refused by kafka")
	// ErrClosed means that the producer or the cluster was closed.
	ErrClosed = errors.New("closed")
)

// Source reads topics.
type Source interface {
	// Read begins to read every partition of a topic into sink, from its end
	// on: the offsets that the partitions had at the time of the call or
	// later, which the sink is told by Started. Everything that is written
	// after the first Started is delivered, also of partitions that had no
	// leader then. A topic that does not exist is waited for, and then read
	// from its first record. Read does not block.
	Read(topic string, sink Sink) Reading
	// Exists reports whether the topic exists, from a cache that is at most
	// seconds old where it can. It returns ErrUnknownTopic (wrapped) when the
	// brokers say that there is none, ErrUnavailable when none of them answers
	// before ctx is done.
	Exists(ctx context.Context, topic string) error
	// Describe returns what the brokers say about a topic, from a cache when
	// that is no older than maxAge. Partitions may have no leader. It fails as
	// Exists does.
	Describe(ctx context.Context, topic string, maxAge time.Duration) (Topic, error)
	// Offsets returns the offset of a point in each partition of a topic. For a
	// time, all records from it on that are written after the call are at the
	// offset or behind it. Partitions without a leader are waited for. It
	// returns ErrRefused where the topic is stored in a format without
	// timestamps (before Kafka 0.10) and a time is asked for, and otherwise
	// fails as Exists does.
	Offsets(ctx context.Context, topic string, at Point) (map[int32]int64, error)
	// Verify tells where a reader goes on who has all records of a partition
	// before offset, the last of which were written under a leader epoch. That
	// is offset, when the log still has the same before it, or has deleted it
	// meanwhile, or it cannot be told; otherwise the log was cut, and it is the
	// offset, below, from which on the log is another one as far as that can be
	// told. It fails as Fetch does, but for offsets that are not in the log.
	Verify(ctx context.Context, topic string, partition int32, offset int64, epoch int32) (int64, error)
	// Fetch reads some records of a partition, from an offset on, once, apart
	// from all Readings. The batch may be empty where there is none yet. It
	// returns ErrOffsetGone for an offset that the partition does not have,
	// and otherwise fails as Exists does.
	Fetch(ctx context.Context, topic string, partition int32, offset int64) (Batch, error)
	// Unreachable returns the time since which none of the brokers has answered
	// anything that it was asked, and the zero time while they answer: from the
	// first answer on of any of them. An outage shows after some seconds, and only
	// if Unreachable is called again and again, about twice a second. While
	// nothing is asked of the brokers, it is not noticed that they are gone. It
	// does not wait for them.
	Unreachable() time.Time
}

// Producer writes records.
type Producer interface {
	// Publish writes a record. The records of one caller and one partition
	// are written in the order of the calls. r and its bytes belong to the
	// producer until done has been called, once, from another goroutine; done
	// must not block. Publish may wait, until ctx is done at the latest, for
	// the topic to be looked up or created; an error that it returns itself
	// means that the record was not and will not be written, and done is not
	// called.
	Publish(ctx context.Context, r *Record, done func(Outcome)) error
}
