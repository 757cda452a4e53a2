package dedupe

import (
	"errors"
	"math"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// Result is what became of a record.
type Result uint8

// The results that Finish takes. There is no other; the zero Result is none.
const (
	// Written: the record is in Kafka.
	Written Result = iota + 1
	// Discarded: a transform of the site dropped the record.
	Discarded
	// Failed: the record was not written and will not be. It is not remembered:
	// the same sequence may be tried again.
	Failed
	// Unknown: the record may have been written or not. That does not change:
	// whoever asks again is told the same.
	Unknown
)

// Answer is what a publish request is answered with.
type Answer struct {
	// Result is what became of the record.
	Result Result
	// Partition and Offset are the place of a Written record; -1 is not known.
	Partition int32
	Offset    int64
	// Timestamp is that of a Written record, to the millisecond; the zero time
	// is not known.
	Timestamp time.Time
	// Err tells why for Failed and Unknown. It is not remembered: of a record
	// that was Unknown before it is record.ErrUnknownOutcome alone.
	Err error
	// Duplicate tells that the record is an earlier request's. Finish ignores
	// it.
	Duplicate bool
}

// AnswerTo returns the answer for what a producer says about a record with that
// timestamp: Unknown where the error is record.ErrUnknownOutcome, Failed where
// it is another. It is right as well for an error that Publish itself returns.
func AnswerTo(o record.Outcome, timestamp time.Time) Answer {
	switch {
	case o.Err == nil:
		return Answer{Result: Written, Partition: o.Partition, Offset: o.Offset, Timestamp: timestamp}
	case errors.Is(o.Err, record.ErrUnknownOutcome):
		return Answer{Result: Unknown, Partition: -1, Offset: -1, Err: o.Err}
	default:
		return Answer{Result: Failed, Partition: -1, Offset: -1, Err: o.Err}
	}
}

// entry is what is remembered of one sequence. There are many: it has 40 bytes.
type entry struct {
	fingerprint Fingerprint
	offset      int64
	timestamp   int64 // in milliseconds since 1970, or noTimestamp
	partition   int32
	state       state
}

const noTimestamp = math.MinInt64

// state is what an entry is in: free, in flight, or one of the results that are
// remembered.
type state uint8

const (
	isFree state = iota
	isWritten
	isDiscarded
	isUnknown
	isInFlight
)

// settle puts the answer into the entry.
func (e *entry) settle(a Answer) {
	e.partition, e.offset, e.timestamp = -1, -1, noTimestamp
	switch a.Result {
	case Written:
		e.state, e.partition, e.offset = isWritten, a.Partition, a.Offset
		if !a.Timestamp.IsZero() {
			e.timestamp = a.Timestamp.UnixMilli()
		}
	case Discarded:
		e.state = isDiscarded
	case Failed:
		*e = entry{}
	default: // whatever is not understood must not be written twice
		e.state = isUnknown
	}
}

// answer returns the answer that the entry has; none while it is in flight.
func (e *entry) answer() Answer {
	a := Answer{Partition: e.partition, Offset: e.offset, Duplicate: true}
	switch e.state {
	case isWritten:
		a.Result = Written
		if e.timestamp != noTimestamp {
			a.Timestamp = time.UnixMilli(e.timestamp)
		}
	case isDiscarded:
		a.Result = Discarded
	case isUnknown:
		a.Result, a.Err = Unknown, record.ErrUnknownOutcome
	case isFree, isInFlight:
		return Answer{}
	}
	return a
}
