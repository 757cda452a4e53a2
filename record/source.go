package record

import (
	"context"
	"errors"
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
}

// Sink receives what is read of one topic. Its methods are called by one
// goroutine at a time for each partition and must not block.
type Sink interface {
	// Missing tells, before any other method is called, that the brokers know
	// no such topic. Reading begins with its first record when it is made.
	Missing()
	// Started tells the offsets at which reading begins, by partition. It is
	// called once before the first Deliver, and again, with the new partitions
	// alone, whenever the topic has grown; a partition that is found after the
	// reading began starts at 0.
	Started(next map[int32]int64)
	// Deliver hands over records. The sink takes them even when Ready is false.
	Deliver(b Batch)
	// Ready reports whether the sink has room. While it is false, the topic's
	// partitions are left out of the fetches; other topics go on. A sink that
	// becomes ready again calls Reading.Resume.
	Ready() bool
	// Lost tells that the records of a partition from offset from up to, but
	// not including, offset next will not be delivered: Kafka no longer has
	// them, or the log was cut or made again (then next may be below from).
	Lost(partition int32, from, next int64)
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
	// ErrUnavailable means that no broker answered in time.
	ErrUnavailable = errors.New("kafka is unreachable")
	// ErrTooLarge means that the record is larger than the producer or the
	// broker takes.
	ErrTooLarge = errors.New("record too large")
	// ErrUnknownOutcome means that the record may or may not have been
	// written: it was sent, and no answer came in time.
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
	// later, which the sink is told by Started. A topic that does not exist is
	// waited for, and then read from its first record. Read does not block.
	Read(topic string, sink Sink) Reading
	// Exists reports whether the topic exists, from a cache that is at most
	// seconds old where it can. It returns ErrUnknownTopic (wrapped) when the
	// brokers say that there is none, ErrUnavailable when none of them answers
	// before ctx is done.
	Exists(ctx context.Context, topic string) error
	// Earliest returns the first offset that Kafka has of each partition of a
	// topic. It fails as Exists does.
	Earliest(ctx context.Context, topic string) (map[int32]int64, error)
	// Fetch reads some records of a partition, from an offset on, once, apart
	// from all Readings. The batch may be empty where there is none yet. It
	// returns ErrOffsetGone for an offset that the partition does not have,
	// and otherwise fails as Exists does.
	Fetch(ctx context.Context, topic string, partition int32, offset int64) (Batch, error)
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
