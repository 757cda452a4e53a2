package kafka

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

const (
	// batchOverhead is what a batch takes besides its records.
	batchOverhead = 61
	// recordOverhead is the most that a record takes besides its key, value and
	// headers: five lengths, the time and the attributes.
	recordOverhead = 5*binary.MaxVarintLen32 + binary.MaxVarintLen64 + 1
	// headerOverhead is the same of one header.
	headerOverhead = 2 * binary.MaxVarintLen32
)

// recordSize returns an upper bound of the bytes that a record takes in a batch.
func recordSize(r *record.Record) int {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += headerOverhead + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// entry is one record of a batch.
type entry struct {
	rec      sarama.Record
	done     func(record.Outcome)
	millis   int64         // its time
	deadline time.Duration // on the producer's clock
	size     int
}

// batch is a run of records of one partition that are written together. Records
// are added to the last batch of a lane; once it is on its way it does not change.
type batch struct {
	entries []entry
	size    int // an upper bound of its bytes
	next    *batch
	// reported counts the first records, whose time was over before an answer
	// came: they have their outcome.
	reported int

	wire     sarama.RecordBatch
	records  []*sarama.Record
	numbered bool
	// open says that some attempt may have written the batch, though no answer
	// told so.
	open bool
	// why is the reason that a broker gave last for not having written it.
	why error
	// lent says that another batch uses memory of this one.
	lent bool

	// What the records' headers consist of. When one of these grows, the
	// records keep what they had in the old memory.
	headers []sarama.RecordHeader
	refs    []*sarama.RecordHeader
	keys    []byte
}

// add appends a record, which it refers to.
func (b *batch) add(r *record.Record, e entry) {
	e.rec.Key, e.rec.Value = r.Key, r.Value
	if len(r.Headers) > 0 {
		e.rec.Headers = b.addHeaders(r.Headers)
	}
	b.entries = append(b.entries, e)
	b.size += e.size
}

func (b *batch) addHeaders(headers []record.Header) []*sarama.RecordHeader {
	if b.keys == nil {
		b.keys = make([]byte, 0, 64) // a key that is nil would be written as null
	}
	from := len(b.refs)
	for i := range headers {
		at := len(b.keys)
		b.keys = append(b.keys, headers[i].Key...)
		b.headers = append(b.headers, sarama.RecordHeader{Key: b.keys[at:len(b.keys):len(b.keys)], Value: headers[i].Value})
		b.refs = append(b.refs, &b.headers[len(b.headers)-1])
	}
	return b.refs[from:len(b.refs):len(b.refs)]
}

// number makes the batch ready to be written as the producer's records from
// n.sequence on.
func (b *batch) number(n numbering, codec sarama.CompressionCodec) {
	if b.numbered {
		// The records were encoded before and stay as they are.
		b.wire.ProducerID, b.wire.ProducerEpoch, b.wire.FirstSequence = n.id, n.epoch, n.sequence
		return
	}
	b.numbered = true
	first := b.entries[0].millis
	last := first
	b.records = b.records[:0]
	for i := range b.entries {
		e := &b.entries[i]
		e.rec.OffsetDelta = int64(i)
		e.rec.TimestampDelta = time.Duration(e.millis-first) * time.Millisecond
		last = max(last, e.millis)
		b.records = append(b.records, &e.rec)
	}
	b.wire = sarama.RecordBatch{
		Version: 2, Codec: codec, CompressionLevel: sarama.CompressionLevelDefault, PartitionLeaderEpoch: noEpoch,
		LastOffsetDelta: int32(len(b.records) - 1), FirstTimestamp: time.UnixMilli(first), MaxTimestamp: time.UnixMilli(last),
		ProducerID: n.id, ProducerEpoch: n.epoch, FirstSequence: n.sequence, Records: b.records,
	}
}

// split moves the records from the n-th on to a batch of their own. None of them
// may have its outcome.
func (b *batch) split(n int) *batch {
	rest := &batch{why: b.why}
	for i := range b.entries[n:] {
		rest.take(&b.entries[n+i])
	}
	clear(b.entries[n:])
	b.entries = b.entries[:n]
	b.size -= rest.size
	b.renew()
	return rest
}

// remove takes the records out that are named by their places, in order, and
// returns them.
func (b *batch) remove(places []int) []entry {
	out := make([]entry, 0, len(places))
	kept, reported := b.entries[:0], b.reported
	for i := range b.entries {
		e := b.entries[i]
		if len(out) < len(places) && i == places[len(out)] {
			if i < b.reported {
				reported--
				e.done = nil // it has its outcome
			}
			out = append(out, e)
			b.size -= e.size
			continue
		}
		kept = append(kept, e)
	}
	clear(b.entries[len(kept):])
	b.entries, b.reported = kept, reported
	b.renew()
	return out
}

// drop takes the first n records out, and returns their size.
func (b *batch) drop(n int) int {
	size := 0
	for i := range b.entries[:n] {
		size += b.entries[i].size
	}
	left := copy(b.entries, b.entries[n:])
	clear(b.entries[left:])
	b.entries = b.entries[:left]
	b.size -= size
	return size
}

func (b *batch) take(e *entry) {
	b.entries = append(b.entries, *e)
	b.size += e.size
}

// renew has the batch encoded anew.
func (b *batch) renew() {
	// Headers of records that are elsewhere now are in its memory.
	b.numbered, b.lent = false, true
	b.wire = sarama.RecordBatch{}
}

// timestamp returns the time of a record that was written, as a broker answered it
// that tells the time of writing (appended) if that is the topic's kind of time
// (message.timestamp.type), and none for a topic with the records' own times.
//
// It also tells one, whatever the topic, for a batch that an earlier attempt had
// written: the largest of the batch's times (Kafka's UnifiedLog). Whose attempt it
// was, the answer does not say. So after an attempt of unknown outcome (again) that
// time may be the writing's or not: it is the time of the records that were sent
// with it in any case, and of the others the time is not known.
func (b *batch) timestamp(i int, appended time.Time, again bool) time.Time {
	own := time.UnixMilli(b.entries[i].millis).UTC()
	switch {
	case appended.IsZero():
		return own
	case again && b.wire.ProducerID != noID && appended.Equal(b.wire.MaxTimestamp) && !own.Equal(appended):
		return time.Time{}
	}
	return appended
}

// reset makes the batch empty and lets go of the records, so that it can be
// used again.
func (b *batch) reset() {
	clear(b.entries)
	clear(b.records)
	clear(b.headers)
	clear(b.refs)
	*b = batch{entries: b.entries[:0], records: b.records[:0], headers: b.headers[:0], refs: b.refs[:0], keys: b.keys[:0]}
}

// numbering is the place of a partition's next batch among all that this
// producer writes to it: by it a broker knows a batch that it has already
// (KIP-98).
type numbering struct {
	id       int64
	epoch    int16
	sequence int32
}

// noNumbering is that of batches that brokers do not look for again.
var noNumbering = numbering{id: noID, epoch: -1, sequence: -1}

const noID = int64(-1)

// after returns the numbering that follows n records.
func (s numbering) after(n int) numbering {
	if s.id == noID {
		return s
	}
	if left := math.MaxInt32 - s.sequence; int32(n) > left {
		s.sequence = int32(n) - left - 1 // as brokers count: after the largest comes 0
	} else {
		s.sequence += int32(n)
	}
	return s
}
