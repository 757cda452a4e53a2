// Package record holds the types that every other package of the gateway
// speaks: a Kafka record, its headers, and the contracts between the code that
// reads and writes Kafka and the code that serves sessions. It imports nothing
// of ours, so that codecs and transforms of third parties depend on very little.
package record

import "time"

// Header is one Kafka record header (KIP-82). Keys need not be unique, and
// their order is kept.
type Header struct {
	// Key is the header's name.
	Key string
	// Value is the header's value; nil where Kafka holds null.
	Value []byte
}

// Record is one Kafka record, on its way out of Kafka or into it.
//
// The byte slices of a record that was handed to a codec or a transform may
// alias a buffer that is used again as soon as the call returns: whoever keeps
// one of them makes a copy first (see Clone).
type Record struct {
	// Topic is the name of the topic.
	Topic string
	// Partition is the partition's number. For a record to publish,
	// AnyPartition lets the partitioner choose by the key.
	Partition int32
	// Epoch is the leader epoch (KIP-101) of the batch that the record stands in;
	// NoEpoch where it is not known, as in message formats before Kafka 0.11. It
	// is of no meaning for a record to publish.
	Epoch int32
	// Offset is the record's offset in its partition; of no meaning for a
	// record to publish.
	Offset int64
	// Timestamp is the record's time, to the millisecond. For a record to
	// publish, the zero time means the time of writing.
	Timestamp time.Time
	// Key is the record's key; nil is no key.
	Key []byte
	// Value is the record's value; nil is a tombstone, which tells a compacted
	// topic to forget the key.
	Value []byte
	// Headers are the record's headers, in their order.
	Headers []Header
}

// AnyPartition as a Record's Partition leaves the choice to the partitioner.
const AnyPartition int32 = -1

// NoEpoch stands for a leader epoch that is not known.
const NoEpoch int32 = -1

// Size returns the number of bytes of the record's key, value and headers.
func (r *Record) Size() int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// Clone returns a copy of the record that shares no bytes with it. All bytes of
// the copy stand in one allocation; a nil slice stays nil, an empty one empty.
func (r *Record) Clone() *Record {
	c, _ := r.CopyTo(make([]byte, 0, r.Size()))
	return &c
}

// CopyTo returns a copy of the record whose bytes are appended to buf, and the
// extended slice. Whoever copies many records gives buf the capacity for all of
// them.
func (r *Record) CopyTo(buf []byte) (Record, []byte) {
	c := *r
	keep := func(b []byte) []byte {
		switch {
		case b == nil:
			return nil
		case len(b) == 0:
			return []byte{} // a part of a buf that is nil would be null
		}
		start := len(buf)
		buf = append(buf, b...)
		return buf[start:len(buf):len(buf)]
	}
	c.Key, c.Value = keep(r.Key), keep(r.Value)
	if r.Headers != nil {
		c.Headers = make([]Header, len(r.Headers))
		for i, h := range r.Headers {
			c.Headers[i] = Header{Key: h.Key, Value: keep(h.Value)}
		}
	}
	return c, buf
}
