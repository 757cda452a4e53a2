package kafka

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

func batchOf(first int64, n int, mod ...func(*sarama.RecordBatch)) *sarama.Records {
	b := &sarama.RecordBatch{FirstOffset: first, LastOffsetDelta: int32(n - 1), Version: 2, FirstTimestamp: time.UnixMilli(1000), MaxTimestamp: time.UnixMilli(9000), ProducerID: -1}
	for i := range n {
		b.Records = append(b.Records, &sarama.Record{OffsetDelta: int64(i), TimestampDelta: time.Duration(i) * time.Millisecond, Value: fmt.Appendf(nil, "%d", first+int64(i))})
	}
	for _, m := range mod {
		m(b)
	}
	return &sarama.Records{RecordBatch: b}
}

func transactional(id int64) func(*sarama.RecordBatch) {
	return func(b *sarama.RecordBatch) { b.IsTransactional, b.ProducerID = true, id }
}

func marker(first, id int64, abort bool) *sarama.Records {
	return batchOf(first, 1, transactional(id), func(b *sarama.RecordBatch) {
		b.Control = true
		b.Records[0].Key = []byte{0, 0, 0, 1}
		if abort {
			b.Records[0].Key[3] = 0
		}
	})
}

func offsetsOf(d decoded) []int64 {
	var all []int64
	for _, r := range d.batch.Records {
		all = append(all, r.Offset)
	}
	return all
}

func TestDecode(t *testing.T) {
	partial := batchOf(20, 5, func(b *sarama.RecordBatch) { b.Records, b.PartialTrailingRecord = nil, true })
	aborted := []*sarama.AbortedTransaction{{ProducerID: 8, FirstOffset: 6}, {ProducerID: 7, FirstOffset: 0}}
	txns := []*sarama.Records{
		batchOf(0, 2, transactional(7)), batchOf(2, 2, transactional(8)), marker(4, 7, true), marker(5, 8, false),
		batchOf(6, 2, transactional(8)), batchOf(8, 1, transactional(7)), batchOf(9, 1), marker(10, 8, true), marker(11, 7, false),
	}
	for name, c := range map[string]struct {
		sets      []*sarama.Records
		aborted   []*sarama.AbortedTransaction
		next      int64
		committed bool
		want      []int64
		wantNext  int64
		partial   bool
	}{
		"nothing":                   {next: 5, wantNext: 5},
		"from the middle":           {sets: []*sarama.Records{batchOf(3, 4), batchOf(7, 1)}, next: 5, want: []int64{5, 6, 7}, wantNext: 8},
		"compacted":                 {sets: []*sarama.Records{batchOf(0, 6, func(b *sarama.RecordBatch) { b.Records = b.Records[1:3] })}, want: []int64{1, 2}, wantNext: 6},
		"compacted, nothing wanted": {sets: []*sarama.Records{batchOf(0, 6, func(b *sarama.RecordBatch) { b.Records = b.Records[:1] })}, next: 3, wantNext: 6},
		"partial":                   {sets: []*sarama.Records{partial}, next: 20, wantNext: 20, partial: true},
		"partial after holes":       {sets: []*sarama.Records{partial}, next: 15, wantNext: 20},
		"committed":                 {sets: txns, aborted: aborted, committed: true, want: []int64{2, 3, 8, 9}, wantNext: 12},
		"uncommitted":               {sets: txns, aborted: aborted, want: []int64{0, 1, 2, 3, 6, 7, 8, 9}, wantNext: 12},
	} {
		t.Run(name, func(t *testing.T) {
			d := decodeBlock(&sarama.FetchResponseBlock{RecordsSet: c.sets, AbortedTransactions: c.aborted}, "t", 4, c.next, c.committed)
			if got := offsetsOf(d); !slices.Equal(got, c.want) || d.batch.Next != c.wantNext || d.partial != c.partial || d.moved != (c.wantNext > c.next) {
				t.Errorf("got %v, next %d, partial %v, moved %v", got, d.batch.Next, d.partial, d.moved)
			}
		})
	}
}

func TestDecodeTimestamps(t *testing.T) {
	at := func(mod func(*sarama.RecordBatch)) time.Time {
		return decodeBlock(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{batchOf(0, 2, mod)}}, "t", 0, 1, false).batch.Records[0].Timestamp
	}
	if got := at(func(*sarama.RecordBatch) {}); got.UnixMilli() != 1001 {
		t.Error(got)
	}
	if got := at(func(b *sarama.RecordBatch) { b.LogAppendTime = true }); got.UnixMilli() != 9000 {
		t.Error(got)
	}
	if got := at(func(b *sarama.RecordBatch) { b.FirstTimestamp = time.Time{} }); !got.IsZero() {
		t.Error(got)
	}
}

func TestDecodeMessageSets(t *testing.T) {
	msg := func(offset int64, version int8, set ...*sarama.MessageBlock) *sarama.MessageBlock {
		m := &sarama.Message{Version: version, Value: fmt.Appendf(nil, "%d", offset), Timestamp: time.UnixMilli(1000 + offset)}
		if set != nil {
			m.Set = &sarama.MessageSet{Messages: set}
		}
		return &sarama.MessageBlock{Offset: offset, Msg: m}
	}
	appended := msg(8, 1, msg(0, 1), msg(1, 1))
	appended.Msg.LogAppendTime = true
	set := &sarama.MessageSet{Messages: []*sarama.MessageBlock{
		msg(0, 0), msg(1, 1), // plain
		msg(4, 0, msg(2, 0), msg(3, 0), msg(4, 0)), // compressed, absolute offsets
		msg(6, 1, msg(0, 1), msg(1, 1)),            // compressed, relative offsets
		appended,
	}}
	d := decodeBlock(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{{MsgSet: set}}}, "t", 0, 1, true)
	if got := offsetsOf(d); !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6, 7, 8}) || d.batch.Next != 9 {
		t.Fatal(got, d.batch.Next)
	}
	if got := d.batch.Records[7].Timestamp.UnixMilli(); got != 1008 {
		t.Error(got)
	}
	d = decodeBlock(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{{MsgSet: &sarama.MessageSet{PartialTrailingMessage: true}}}}, "t", 0, 1, true)
	if !d.partial || d.moved {
		t.Error("not partial")
	}
}

// FuzzDecode makes up answers and checks what must hold of any.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{1, 5, 0, 3, 2, 9, 1, 7}, int64(3), true)
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, int64(0), false)
	f.Fuzz(func(t *testing.T, in []byte, next int64, committed bool) {
		if next < 0 || next > 1<<40 {
			return
		}
		block := &sarama.FetchResponseBlock{Partial: len(in)%5 == 0}
		offset := max(next-10, 0)
		for ; len(in) >= 4; in = in[4:] {
			kind, n := in[0], int(in[1]%8)
			offset += int64(in[2] % 4)
			switch kind % 6 {
			case 0, 1:
				r := batchOf(offset, n+1, transactional(int64(in[3]%4)), func(b *sarama.RecordBatch) {
					b.Records = b.Records[:int(in[3])%(n+2)]
					b.Control = kind > 200
				})
				block.RecordsSet = append(block.RecordsSet, r)
			case 2:
				block.RecordsSet = append(block.RecordsSet, marker(offset, int64(in[3]%4), n%2 == 0))
			case 3:
				block.AbortedTransactions = append(block.AbortedTransactions, &sarama.AbortedTransaction{ProducerID: int64(in[3] % 4), FirstOffset: offset})
			case 4:
				set := &sarama.MessageSet{}
				for i := range n {
					set.Messages = append(set.Messages, &sarama.MessageBlock{Offset: offset + int64(i), Msg: &sarama.Message{Version: int8(in[3] % 2)}})
				}
				if n > 2 {
					set.Messages[0].Msg.Set = &sarama.MessageSet{Messages: set.Messages[1:]}
				}
				block.RecordsSet = append(block.RecordsSet, &sarama.Records{MsgSet: set})
			case 5:
				block.RecordsSet = append(block.RecordsSet, &sarama.Records{})
			}
			offset += int64(n) + 1
		}
		d := decodeBlock(block, "t", 1, next, committed)
		if d.batch.Next < next || d.moved != (d.batch.Next > next) {
			t.Fatalf("next went from %d to %d, moved %v", next, d.batch.Next, d.moved)
		}
		last := next - 1
		for _, r := range d.batch.Records {
			if r.Offset <= last || r.Offset >= d.batch.Next {
				t.Fatalf("offset %d after %d, next %d", r.Offset, last, d.batch.Next)
			}
			last = r.Offset
		}
	})
}
