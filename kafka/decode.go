package kafka

import (
	"encoding/binary"
	"reflect"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkaws/kafkaws/record"
)

// decoded is what a partition's part of a fetch response came to.
type decoded struct {
	batch record.Batch
	// partial says that the response holds the beginning of a batch only, and
	// nothing that is wanted before it.
	partial bool
	// moved says that the response holds something from the wanted offset on,
	// be it records that are not shown.
	moved bool
	// read are the leader epochs under which what moved it was written.
	read lineage
}

// decodeBlock takes the records from offset next on out of a partition's part of
// a fetch response, which may begin below it: brokers return whole batches. The
// records' bytes stay where they are.
//
// Under committed, records of aborted transactions are left out. The brokers say
// which producers aborted from which offset on; a producer's abort marker ends
// its transaction.
func decodeBlock(block *sarama.FetchResponseBlock, topic string, partition int32, next int64, committed bool) decoded {
	d := decoded{batch: record.Batch{Partition: partition, Next: next, Epoch: noEpoch}, partial: block.Partial}
	n := 0
	for _, set := range block.RecordsSet {
		if set.RecordBatch != nil {
			n += len(set.RecordBatch.Records)
		} else if set.MsgSet != nil {
			n += len(set.MsgSet.Messages)
		}
	}
	if n > 0 {
		d.batch.Records = make([]record.Record, 0, n)
	}
	aborted := newAborted(block, committed)
	for _, set := range block.RecordsSet {
		switch {
		case set.RecordBatch != nil:
			b := set.RecordBatch
			if b.PartialTrailingRecord {
				// All batches before this one were read, or held no record at
				// all, in which case sarama leaves them out.
				d.partial = true
				d.advance(b.FirstOffset)
				continue
			}
			aborted.upTo(b.LastOffset())
			if b.LastOffset() >= next {
				d.batch.Epoch = b.PartitionLeaderEpoch
				d.read.add(max(b.FirstOffset, next), b.PartitionLeaderEpoch)
			}
			if !aborted.hides(b) {
				d.addBatch(topic, b, next)
			}
			d.advance(b.LastOffset() + 1)
		case set.MsgSet != nil:
			d.partial = d.partial || set.MsgSet.PartialTrailingMessage
			d.addMessages(topic, set.MsgSet, next)
		}
	}
	if len(block.RecordsSet) == 0 && next < block.HighWaterMarkOffset {
		d.advance(min(afterEmpty(block), block.HighWaterMarkOffset))
	}
	if d.moved {
		d.partial = false
	}
	if len(d.batch.Records) == 0 {
		d.batch.Records = nil
	}
	return d
}

// afterEmpty returns the offset after the batches without any record that a
// partition's part of a response consists of, or 0. Compaction leaves them, for
// the sake of the producer's sequence number, and a broker returns nothing else
// where no other batch follows in the log's segment; so reading has to go on
// after them. sarama reads them and keeps the offset for its own consumer alone,
// in a field that can only be looked at this way.
func afterEmpty(block *sarama.FetchResponseBlock) int64 {
	next := reflect.ValueOf(block).Elem().FieldByName("recordsNextOffset")
	if next.Kind() != reflect.Pointer || next.IsNil() || next.Elem().Kind() != reflect.Int64 {
		return 0
	}
	return next.Elem().Int()
}

// advance notes that everything below offset has been dealt with.
func (d *decoded) advance(offset int64) {
	if offset > d.batch.Next {
		d.batch.Next = offset
		d.moved = true
	}
}

func (d *decoded) addBatch(topic string, b *sarama.RecordBatch, next int64) {
	for _, r := range b.Records {
		offset := b.FirstOffset + r.OffsetDelta
		if offset < next {
			continue
		}
		ts := b.MaxTimestamp
		if !b.LogAppendTime {
			ts = b.FirstTimestamp
			if !ts.IsZero() {
				ts = ts.Add(r.TimestampDelta)
			}
		}
		rec := record.Record{
			Topic: topic, Partition: d.batch.Partition, Epoch: b.PartitionLeaderEpoch, Offset: offset, Timestamp: utc(ts),
			Key: r.Key, Value: r.Value,
		}
		if len(r.Headers) > 0 {
			rec.Headers = make([]record.Header, len(r.Headers))
			for i, h := range r.Headers {
				rec.Headers[i] = record.Header{Key: string(h.Key), Value: h.Value}
			}
		}
		d.batch.Records = append(d.batch.Records, rec)
		// Batches of a partition never overlap, but nothing below relies on
		// the header being right where the records tell.
		d.advance(offset + 1)
	}
}

// addMessages takes the records of a message set, which is how topics were
// stored before Kafka 0.11. A compressed set stands inside a message; since
// 0.10 (version 1) the offsets inside are relative, and the outer message has
// the offset of the last one inside.
func (d *decoded) addMessages(topic string, set *sarama.MessageSet, next int64) {
	for _, outer := range set.Messages {
		if outer.Msg == nil {
			continue
		}
		inner := outer.Messages()
		if len(inner) == 0 {
			d.advance(outer.Offset + 1)
			continue
		}
		for _, m := range inner {
			if m.Msg == nil {
				continue
			}
			offset, ts := m.Offset, m.Msg.Timestamp
			if outer.Msg.Set != nil && outer.Msg.Version >= 1 {
				offset += outer.Offset - inner[len(inner)-1].Offset
				if outer.Msg.LogAppendTime {
					ts = outer.Msg.Timestamp
				}
			}
			if offset < max(next, d.batch.Next) {
				continue
			}
			d.batch.Records = append(d.batch.Records, record.Record{
				Topic: topic, Partition: d.batch.Partition, Epoch: noEpoch, Offset: offset, Timestamp: utc(ts),
				Key: m.Msg.Key, Value: m.Msg.Value,
			})
			d.advance(offset + 1)
		}
		d.advance(outer.Offset + 1)
	}
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// aborted follows the aborted transactions through a response.
type aborted struct {
	committed bool
	pending   []*sarama.AbortedTransaction // by first offset
	producers map[int64]struct{}
}

func newAborted(block *sarama.FetchResponseBlock, committed bool) *aborted {
	a := &aborted{committed: committed}
	if committed && len(block.AbortedTransactions) > 0 {
		a.producers = map[int64]struct{}{}
		a.pending = slices.Clone(block.AbortedTransactions)
		slices.SortFunc(a.pending, func(x, y *sarama.AbortedTransaction) int {
			return int(min(max(x.FirstOffset-y.FirstOffset, -1), 1))
		})
	}
	return a
}

// upTo takes in the transactions that begin at offset or below.
func (a *aborted) upTo(offset int64) {
	for len(a.pending) > 0 && a.pending[0].FirstOffset <= offset {
		a.producers[a.pending[0].ProducerID] = struct{}{}
		a.pending = a.pending[1:]
	}
}

// hides reports whether a batch is not for readers: a marker, or a part of an
// aborted transaction.
func (a *aborted) hides(b *sarama.RecordBatch) bool {
	if b.Control {
		if isAbortMarker(b) {
			delete(a.producers, b.ProducerID)
		}
		return true
	}
	if !a.committed || !b.IsTransactional {
		return false
	}
	_, hidden := a.producers[b.ProducerID]
	return hidden
}

// isAbortMarker reads the key of a control record: its version and its type, of
// which 0 is the end of an aborted transaction and 1 of a committed one.
func isAbortMarker(b *sarama.RecordBatch) bool {
	if len(b.Records) == 0 || len(b.Records[0].Key) < 4 {
		return false
	}
	return binary.BigEndian.Uint16(b.Records[0].Key[2:]) == 0
}
