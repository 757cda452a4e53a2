package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// rawBatch writes down a batch that says it has as many records as claimed, and
// has those given.
func rawBatch(first int64, deltas, claimed int32, records ...kmsg.Record) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: first, Magic: 2, LastOffsetDelta: deltas, NumRecords: claimed, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}
	for _, r := range records {
		b.Records = r.AppendTo(b.Records)
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// putShortBatch writes a batch that says it has more records than it has, which
// a broker that does not look inside takes.
func putShortBatch(t *testing.T, f *kfake.Cluster, topic string, claimed int32) {
	t.Helper()
	raw := rawBatch(0, claimed-1, claimed, kmsg.Record{Length: 7, Value: []byte("x")})
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 5000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rt.Topic, rt.TopicID, rp.Records = topic, f.TopicInfo(topic).TopicID, raw
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(t.Context(), kclient(t, f).Broker(int(f.LeaderFor(topic, 0))))
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
}

// A batch whose records end too soon looks as if a request's limit had cut it
// off, which a greater limit does not help.
func TestABatchThatEndsTooSoonIsSkipped(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	cl := kclient(t, f)
	c := newCluster(t, f, quick)
	s := read(t, c, "a", true)
	s.started()
	put(t, cl, "a", 0, "before")
	putShortBatch(t, f, "a", 5)
	put(t, cl, "a", 0, "after")
	put(t, cl, "a", 1, "other")
	s.wants(1, "other")
	s.wants(0, "before", "after")
	if len(s.lost) != 1 || s.lost[0] != (record.Loss{From: 1, Next: 6, Reason: record.LossUnreadable}) {
		t.Errorf("lost %v", s.lost)
	}
	if got := fetchAll(t, c.Source(true), "a", 0, 0, 7); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("fetched %q", got)
	}
	for offset, unreadable := range map[int64]bool{1: true, 4: true, 6: false} {
		b, err := c.Source(true).Fetch(t.Context(), "a", 0, offset)
		if err != nil || b.Unreadable != unreadable || unreadable && b.Next != 6 {
			t.Errorf("at %d: %+v, %v", offset, b, err)
		}
	}
}

// What is left of a log after compaction may be batches without any record, and
// a broker returns nothing else where a segment of the log ends with them. The
// records after them are not to be passed over.
func TestBatchesWithoutRecordsArePassed(t *testing.T) {
	f := newFake(t)
	c := newCluster(t, f, quick)
	s := read(t, c, "a", true)
	s.until("the topic's absence", func() bool { return s.missing })
	s.setFull(true)
	if err := f.CreateTopic("a", 1, nil); err != nil {
		t.Fatal(err)
	}
	s.started()
	put(t, kclient(t, f), "a", 0, numbered("", 0, 10)...)
	// Of the first seven, two batches without records are left, in a segment of
	// their own.
	f.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		if len(req.Topics) == 0 || req.Topics[0].Partitions[0].FetchOffset >= 7 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		rt, rp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		rt.Topic, rp.HighWatermark, rp.LastStableOffset = "a", 10, 10
		if req.Topics[0].Partitions[0].FetchOffset < 3 {
			rp.RecordBatches = rawBatch(0, 2, 0)
		}
		rp.RecordBatches = append(rp.RecordBatches, rawBatch(3, 3, 0)...)
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	if got := fetchAll(t, c.Source(true), "a", 0, 0, 10); !slices.Equal(got, numbered("", 7, 10)) {
		t.Errorf("fetched %q", got)
	}
	s.setFull(false)
	s.wants(0, numbered("", 7, 10)...)
	if len(s.lost) > 0 {
		t.Errorf("lost %v", s.lost)
	}
}
