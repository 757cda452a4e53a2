package kafka

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

func TestAgainstSaramaOnRealKafka(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, kafkatest.MaxMessageBytes(20<<20), kafkatest.Properties(map[string]string{
		"log.cleaner.backoff.ms": "100", "log.cleaner.threads": "1",
	}))
	addrs := []string{b.Addr()}
	c := realCluster(t, b, quick)
	rng := seeded(t)

	t.Run("codecs", func(t *testing.T) {
		var topics []*ledger
		var both [][2]pair
		for name, codec := range codecs {
			w := fill(t, addrs, &ledger{topic: name, partitions: 2, codec: codec, big: name == "none"}, 3)
			b.CreateTopic(t, name, int(w.partitions), nil)
			topics, both = append(topics, w), append(both, pairs(t, c, addrs, w))
		}
		w := fill(t, addrs, &ledger{topic: "appended", partitions: 2, codec: kgo.Lz4Compression(), loose: true}, 2)
		b.CreateTopic(t, w.topic, int(w.partitions), map[string]string{"message.timestamp.type": "LogAppendTime"})
		topics, both = append(topics, w), append(both, pairs(t, c, addrs, w))
		for range 200 {
			topics[rng.IntN(len(topics))].step(t, rng)
		}
		for i, w := range topics {
			w.finish(t)
			w.judgeBoth(t, both[i])
		}
	})

	t.Run("compacted", func(t *testing.T) {
		w := fill(t, addrs, &ledger{topic: "compacted", partitions: 2, codec: kgo.NoCompression()}, 2)
		b.CreateTopic(t, w.topic, int(w.partitions), map[string]string{
			"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.bytes": "1048576",
			"delete.retention.ms": "0", "max.compaction.lag.ms": "1000",
		})
		var slow [2]*sink
		for i, committed := range []bool{false, true} {
			slow[i] = read(t, c, w.topic, committed)
			slow[i].started()
			slow[i].setFull(true)
		}
		key := func() []byte { return []byte{byte('a' + rng.IntN(20))} }
		before := 0
		for range 60 {
			p := rng.Int32N(w.partitions)
			rs := w.records(rng, p)
			for _, r := range rs {
				r.Key = key()
			}
			// Each batch of a client of its own: where compaction leaves
			// nothing of it, it keeps the batch without records, for the sake
			// of the client's sequence numbers.
			cl := realClient(t, b)
			if i := rng.IntN(3); i < 2 {
				if err := w.txns[i].BeginTransaction(); err != nil {
					t.Fatal(err)
				}
				w.write(t, w.txns[i], rs)
				if err := w.txns[i].EndTransaction(t.Context(), kgo.TransactionEndTry(rng.IntN(2) == 0)); err != nil {
					t.Fatal(err)
				}
			} else {
				w.write(t, cl, rs)
			}
			before += len(rs)
			cl.Close()
		}
		// Fills a segment, so that those before are compacted.
		for p := range w.partitions {
			for range 3 {
				w.write(t, w.plain, []*kgo.Record{{Topic: w.topic, Partition: p, Key: []byte("filler"), Value: make([]byte, 600_000)}})
			}
		}
		for deadline := time.Now().Add(2 * patience); len(b.ReadAll(t, w.topic)) > before/4; {
			if time.Now().After(deadline) {
				t.Fatal("the broker does not compact the topic")
			}
			<-time.After(100 * time.Millisecond)
		}
		w.finish(t)
		for i, committed := range []bool{false, true} {
			// What is still to be compacted may differ between readers; so the
			// oracle and we read again until nothing changed meanwhile.
			slow[i].setFull(false)
			for p := range w.partitions {
				slow[i].until("the end of the compacted topic", func() bool { return slow[i].next[p] > w.ends[p] })
			}
			for attempt := 0; ; attempt++ {
				first := consult(t, addrs, w.topic, w.partitions, committed)
				for p := range w.partitions {
					first.through(p, w.ends[p])
				}
				ours := map[int32][]string{}
				for p := range w.partitions {
					for at := int64(0); at <= w.ends[p]; {
						batch, err := c.Source(committed).Fetch(t.Context(), w.topic, p, at)
						if err != nil || batch.Next <= at {
							t.Fatal(batch.Next, err)
						}
						ours[p], at = append(ours[p], linesOf(batch.Records)...), batch.Next
					}
				}
				second := consult(t, addrs, w.topic, w.partitions, committed)
				stable := true
				for p := range w.partitions {
					stable = stable && slices.Equal(first.through(p, w.ends[p]), second.through(p, w.ends[p]))
				}
				if !stable && attempt < 20 {
					continue
				}
				for p := range w.partitions {
					want := first.through(p, w.ends[p])
					compare(t, fmt.Sprintf("fetched, committed %v, partition %d", committed, p), ours[p], want)
					// The slow reader may have got more, before it was compacted,
					// but nothing that is left may be missing.
					got := linesOf(slow[i].records[p])
					for _, l := range want {
						if !slices.Contains(got, l) {
							t.Errorf("committed %v, partition %d: the reading lacks %s", committed, p, l)
						}
					}
				}
				break
			}
		}
	})
}

// Topics in the formats of brokers older than the oldest that is supported.
func TestAgainstSaramaInOldFormats(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartOld(t)
	addrs := []string{b.Addr()}
	c := realCluster(t, b, quick)
	rng := seeded(t)
	var topics []*ledger
	var both [][2]pair
	for _, format := range []string{"0.9.0", "0.10.2", "0.11.0"} {
		for _, name := range []string{"none", "gzip", "snappy", "lz4"} {
			w := fill(t, addrs, &ledger{topic: format + name, partitions: 1, codec: codecs[name], loose: format != "0.11.0", bare: format != "0.11.0", more: []kgo.Opt{kgo.DisableIdempotentWrite()}}, 0)
			if format == "0.9.0" && name == "lz4" {
				continue // that format's LZ4 frames are not LZ4's
			}
			b.CreateTopic(t, w.topic, 1, map[string]string{"message.format.version": format})
			topics, both = append(topics, w), append(both, pairs(t, c, addrs, w))
		}
	}
	for _, w := range topics {
		for range 15 {
			w.step(t, rng)
		}
	}
	for i, w := range topics {
		w.finish(t)
		w.judgeBoth(t, both[i])
	}
}
