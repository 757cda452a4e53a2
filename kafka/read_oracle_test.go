package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// The tests against sarama write topics of every kind, and compare what a reading
// delivers with what sarama's PartitionConsumer does, record by record, and with
// what was acknowledged to the writers.

// lineOf writes a record down such that equal lines are equal records. A value is
// given by its hash: some are long.
func lineOf(offset int64, at time.Time, key, value []byte, headers []record.Header) string {
	bytes := func(b []byte) string {
		if b == nil {
			return "null"
		}
		if len(b) <= 12 {
			return fmt.Sprintf("%q", b)
		}
		h := fnv.New64a()
		_, _ = h.Write(b)
		return fmt.Sprintf("%d bytes %x", len(b), h.Sum64())
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%d at %d: %s = %s", offset, at.UnixMilli(), bytes(key), bytes(value))
	for _, h := range headers {
		fmt.Fprintf(&s, ", %s: %s", h.Key, bytes(h.Value))
	}
	return s.String()
}

func linesOf(rs []record.Record) []string {
	lines := make([]string, len(rs))
	for i, r := range rs {
		lines[i] = lineOf(r.Offset, r.Timestamp, r.Key, r.Value, r.Headers)
	}
	return lines
}

// oracle reads a topic with sarama's consumer.
type oracle struct {
	t        *testing.T
	consumer sarama.Consumer

	mu      sync.Mutex
	changed chan struct{}
	lines   map[int32][]string
	last    map[int32]int64
}

func consult(t *testing.T, addrs []string, topic string, partitions int32, committed bool) *oracle {
	t.Helper()
	conf := sarama.NewConfig()
	conf.Version = sarama.MaxVersion
	conf.Consumer.Retry.Backoff = 50 * time.Millisecond
	conf.Consumer.MaxWaitTime = 100 * time.Millisecond
	conf.Consumer.Return.Errors = true
	conf.Consumer.MaxProcessingTime = patience
	conf.Metadata.Retry.Backoff = 50 * time.Millisecond
	conf.Metadata.Retry.Max = 100
	conf.Net.ReadTimeout = 2 * time.Second
	conf.MetricRegistry = discardMetrics{}
	if committed {
		conf.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	consumer, err := sarama.NewConsumer(addrs, conf)
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{t: t, consumer: consumer, changed: make(chan struct{}), lines: map[int32][]string{}, last: map[int32]int64{}}
	var running sync.WaitGroup
	var all []sarama.PartitionConsumer
	for p := range partitions {
		pc, err := consumer.ConsumePartition(topic, p, 0)
		for deadline := time.Now().Add(patience); err != nil; pc, err = consumer.ConsumePartition(topic, p, 0) {
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			<-time.After(10 * time.Millisecond) // a new topic's leaders may not know yet that they are
		}
		all = append(all, pc)
		o.last[p] = -1
		running.Go(func() {
			for m := range pc.Messages() {
				o.add(m)
			}
		})
		running.Go(func() {
			for range pc.Errors() { // of the faults; it goes on by itself
			}
		})
	}
	t.Cleanup(func() {
		for _, pc := range all {
			pc.AsyncClose()
		}
		running.Wait()
		_ = consumer.Close()
	})
	return o
}

func (o *oracle) add(m *sarama.ConsumerMessage) {
	var headers []record.Header
	for _, h := range m.Headers {
		headers = append(headers, record.Header{Key: string(h.Key), Value: h.Value})
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines[m.Partition] = append(o.lines[m.Partition], lineOf(m.Offset, m.Timestamp, m.Key, m.Value, headers))
	o.last[m.Partition] = m.Offset
	close(o.changed)
	o.changed = make(chan struct{})
}

// through waits until the oracle has read a partition's record at an offset.
func (o *oracle) through(partition int32, offset int64) []string {
	o.t.Helper()
	timeout := time.After(2 * patience)
	for {
		o.mu.Lock()
		last, lines, changed := o.last[partition], o.lines[partition], o.changed
		o.mu.Unlock()
		if last >= offset {
			return lines
		}
		select {
		case <-changed:
		case <-timeout:
			o.t.Fatalf("sarama's consumer has come to %d of %d", last, offset)
		}
	}
}

// judge compares what a reading delivered with what the oracle did, and with
// what was written.
func (w *ledger) judge(t *testing.T, name string, s *sink, o *oracle, records map[int32][]wrote) {
	t.Helper()
	for p := range w.partitions {
		want := o.through(p, w.ends[p])
		s.until(fmt.Sprintf("%s: the end of partition %d at %d", name, p, w.ends[p]), func() bool { return s.next[p] > w.ends[p] })
		s.mu.Lock()
		got, lost := linesOf(s.records[p]), slices.Clone(s.lost)
		s.mu.Unlock()
		if len(lost) > 0 {
			t.Errorf("%s: lost %v", name, lost)
		}
		compare(t, fmt.Sprintf("%s: partition %d: we against sarama", name, p), got, want)
		if len(got) != len(records[p]) {
			t.Errorf("%s: partition %d: %d records, and %d were written", name, p, len(got), len(records[p]))
		}
		if !w.loose {
			all := slices.SortedFunc(slices.Values(records[p]), func(a, b wrote) int { return cmp.Compare(a.offset, b.offset) })
			lines := make([]string, len(all))
			for i := range all {
				lines[i] = all[i].line
			}
			compare(t, fmt.Sprintf("%s: partition %d: we against what was written", name, p), got, lines)
		}
	}
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: record %d\n got %s\nwant %s", what, i, got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d records, not %d", what, len(got), len(want))
	}
}

// pair is a reading and an oracle of one topic with one isolation level.
type pair struct {
	name string
	s    *sink
	o    *oracle
}

func pairs(t *testing.T, c *Cluster, addrs []string, w *ledger) [2]pair {
	t.Helper()
	var both [2]pair
	for i, committed := range []bool{false, true} {
		both[i] = pair{fmt.Sprintf("%s, committed %v", w.topic, committed), read(t, c, w.topic, committed), consult(t, addrs, w.topic, w.partitions, committed)}
		both[i].s.started()
	}
	return both
}

func (w *ledger) judgeBoth(t *testing.T, both [2]pair) {
	t.Helper()
	w.judge(t, both[0].name, both[0].s, both[0].o, w.all)
	w.judge(t, both[1].name, both[1].s, both[1].o, w.kept)
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// trouble does one thing to the brokers that readers have to bear.
func trouble(t *testing.T, f *kfake.Cluster, rng *rand.Rand, topics []string) {
	t.Helper()
	codes := []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.UnknownLeaderEpoch, kerr.FencedLeaderEpoch, kerr.OffsetNotAvailable,
		kerr.KafkaStorageError, kerr.CorruptMessage, kerr.UnknownServerError, kerr.UnknownTopicID,
	}
	switch rng.IntN(6) {
	case 0:
		f.ShufflePartitionLeaders()
	case 1:
		if err := f.MoveTopicPartition(topics[rng.IntN(len(topics))], 0, rng.Int32N(3)); err != nil {
			t.Fatal(err)
		}
	case 2: // a node more, which leaders go to, and which goes again
		id, _, err := f.AddNode(-1, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.ShufflePartitionLeaders()
		if rng.IntN(4) > 0 {
			if err := f.RemoveNode(id); err != nil {
				t.Fatal(err)
			}
		}
	case 3: // connections that break with a request on them
		for range 1 + rng.IntN(4) {
			f.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("broken"), true
			})
		}
	case 4:
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: codes[rng.IntN(len(codes))], Count: 1 + rng.IntN(4)})
	case 5: // what a broker answers that has no time for us (KIP-219)
		for range 1 + rng.IntN(2) {
			f.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
				resp := req.ResponseKind().(*kmsg.FetchResponse)
				resp.ThrottleMillis = 30
				return resp, nil, true
			})
		}
	}
}

func TestAgainstSarama(t *testing.T) {
	for _, crowded := range []bool{false, true} {
		t.Run(fmt.Sprintf("crowded=%v", crowded), func(t *testing.T) {
			t.Parallel()
			f := newFake(t, kfake.NumBrokers(3), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "20000000"}))
			c := newCluster(t, f, quick)
			if crowded {
				// Busy partitions beside many idle ones are read apart.
				if err := f.CreateTopic("idle", 4*crowd, nil); err != nil {
					t.Fatal(err)
				}
				read(t, c, "idle", true).started()
				read(t, c, "idle", false).started()
			}
			rng := seeded(t)
			var topics []*ledger
			var names []string
			var both [][2]pair
			for name, codec := range codecs {
				w := fill(t, f.ListenAddrs(), &ledger{topic: name, partitions: 3, codec: codec, big: name == "none"}, 3)
				if err := f.CreateTopic(w.topic, w.partitions, nil); err != nil {
					t.Fatal(err)
				}
				topics, names = append(topics, w), append(names, w.topic)
				both = append(both, pairs(t, c, f.ListenAddrs(), w))
			}
			for i := range 150 {
				topics[rng.IntN(len(topics))].step(t, rng)
				if i%5 == 0 {
					trouble(t, f, rng, names)
				}
			}
			for i, w := range topics {
				w.finish(t)
				w.judgeBoth(t, both[i])
			}
		})
	}
}

// A fetch that is never answered is given up after a while, and nothing is lost.
func TestAgainstSaramaWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	f := newFake(t, kfake.SeedTopics(2, "a"))
	w := fill(t, f.ListenAddrs(), &ledger{topic: "a", partitions: 2, codec: kgo.NoCompression()}, 1)
	both := pairs(t, newCluster(t, f), f.ListenAddrs(), w)
	rng := seeded(t)
	for range 4 { // four readers
		f.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true })
	}
	for range 20 {
		w.step(t, rng)
	}
	w.finish(t)
	w.judgeBoth(t, both)
}
