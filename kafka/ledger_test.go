package kafka

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/record"
)

// ledger is a topic that a test fills, and what became of the records.
type ledger struct {
	topic      string
	partitions int32
	codec      kgo.CompressionCodec
	// loose says that the broker stores records otherwise than they were
	// written: with other timestamps, or none.
	loose bool
	bare  bool // without headers
	big   bool // with records larger than a fetch asks for

	more []kgo.Opt // for the plain client

	plain *kgo.Client
	txns  []*kgo.Client
	open  []bool              // by transactional client
	mine  []map[int32][]wrote // written in the open transaction
	kept  map[int32][]wrote   // what committed readers are to see
	all   map[int32][]wrote   // what the others are to see
	ends  map[int32]int64     // the offset of each partition's last record
}

type wrote struct {
	offset int64
	line   string
}

// fill begins a topic that n transactional clients write to, and one plain one.
func fill(t *testing.T, addrs []string, w *ledger, n int) *ledger {
	t.Helper()
	opts := []kgo.Opt{
		kgo.SeedBrokers(addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(w.codec), kgo.ProducerBatchMaxBytes(8 << 20), kgo.MetadataMinAge(20 * time.Millisecond),
	}
	client := func(more ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)], more...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	w.plain = client(w.more...)
	for i := range n {
		w.txns = append(w.txns, client(kgo.TransactionalID(fmt.Sprint(w.topic, "-", i))))
	}
	w.open, w.mine = make([]bool, n), make([]map[int32][]wrote, n)
	w.kept, w.all, w.ends = map[int32][]wrote{}, map[int32][]wrote{}, map[int32]int64{}
	return w
}

func (w *ledger) records(rng *rand.Rand, partition int32) []*kgo.Record {
	n := 1
	if rng.IntN(3) == 0 {
		n += rng.IntN(200)
	}
	rs := make([]*kgo.Record, n)
	random := func(most int) []byte {
		b := make([]byte, rng.IntN(most))
		for i := range b {
			b[i] = "abcd"[rng.IntN(4)]
		}
		return b
	}
	for i := range rs {
		r := &kgo.Record{Topic: w.topic, Partition: partition, Timestamp: time.UnixMilli(1_700_000_000_000 + rng.Int64N(1e9))}
		switch rng.IntN(4) {
		case 0:
		case 1:
			r.Key = []byte{}
		default:
			r.Key = random(20)
		}
		if r.Key == nil || rng.IntN(6) > 0 { // else a tombstone
			r.Value = random(300)
		}
		for n := rng.IntN(8) - 5; n > 0 && !w.bare; n-- {
			h := kgo.RecordHeader{Key: string(random(5))}
			if rng.IntN(3) > 0 {
				h.Value = random(9)
			}
			r.Headers = append(r.Headers, h)
		}
		rs[i] = r
	}
	if w.big && rng.IntN(12) == 0 {
		rs[0].Value = make([]byte, fetchBytes+rng.IntN(2<<20))
		for i := range rs[0].Value {
			rs[0].Value[i] = byte(rng.Uint32())
		}
	}
	return rs
}

// write has one client write some records to one partition.
func (w *ledger) write(t *testing.T, cl *kgo.Client, rs []*kgo.Record) []wrote {
	t.Helper()
	if err := cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	out := make([]wrote, len(rs))
	for i, r := range rs {
		var headers []record.Header
		for _, h := range r.Headers {
			headers = append(headers, record.Header{Key: h.Key, Value: h.Value})
		}
		out[i] = wrote{r.Offset, lineOf(r.Offset, r.Timestamp, r.Key, r.Value, headers)}
	}
	p := rs[0].Partition
	w.all[p] = append(w.all[p], out...)
	return out
}

// step has one of the clients do something.
func (w *ledger) step(t *testing.T, rng *rand.Rand) {
	t.Helper()
	p := rng.Int32N(w.partitions)
	i := rng.IntN(len(w.txns) + 1)
	switch {
	case i == len(w.txns):
		w.kept[p] = append(w.kept[p], w.write(t, w.plain, w.records(rng, p))...)
	case !w.open[i]:
		if err := w.txns[i].BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		w.open[i], w.mine[i] = true, map[int32][]wrote{}
		fallthrough
	case rng.IntN(3) > 0:
		w.mine[i][p] = append(w.mine[i][p], w.write(t, w.txns[i], w.records(rng, p))...)
	default:
		w.end(t, i, kgo.TransactionEndTry(rng.IntN(2) == 0))
	}
}

func (w *ledger) end(t *testing.T, i int, how kgo.TransactionEndTry) {
	t.Helper()
	if err := w.txns[i].EndTransaction(t.Context(), how); err != nil {
		t.Fatal(err)
	}
	w.open[i] = false
	if how == kgo.TryCommit {
		for p, ls := range w.mine[i] {
			w.kept[p] = append(w.kept[p], ls...)
		}
	}
}

// finish ends all transactions and writes each partition's last record.
func (w *ledger) finish(t *testing.T) {
	t.Helper()
	for i, open := range w.open {
		if open {
			w.end(t, i, kgo.TryAbort)
		}
	}
	for p := range w.partitions {
		last := w.write(t, w.plain, []*kgo.Record{{Topic: w.topic, Partition: p, Key: []byte("end"), Value: []byte("end")}})
		w.kept[p] = append(w.kept[p], last...)
		w.ends[p] = last[0].offset
	}
}
