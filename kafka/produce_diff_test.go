package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// contents reads all that a topic has, by another client.
func contents(t *testing.T, f *kfake.Cluster, topic string, partitions int) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	from := map[int32]kgo.Offset{}
	left := int64(0)
	for p := range int32(partitions) {
		from[p] = kgo.NewOffset().At(0)
		left += f.PartitionInfo(topic, p).HighWatermark
	}
	cl := kclient(t, f, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	all := make([][]string, partitions)
	for left > 0 {
		fetched := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			all[r.Partition] = append(all[r.Partition], string(r.Value))
			left--
		})
	}
	return all
}

// fate is what a record was, and what was told of it.
type fate struct {
	value string
	out   record.Outcome
}

// run publishes n records, to the partitions in turn, with faults on the way, and
// returns what was told of each, by partition in the order of the calls.
func run(t *testing.T, p record.Producer, topic string, partitions, n int, fault func(i int)) [][]fate {
	t.Helper()
	all := make([][]fate, partitions)
	for i := range all {
		all[i] = make([]fate, n/partitions)
	}
	var answers sync.WaitGroup
	answers.Add(n)
	for i := range n {
		fault(i)
		at := &all[i%partitions][i/partitions]
		at.value = fmt.Sprint(i)
		r := &record.Record{Topic: topic, Partition: int32(i % partitions), Value: []byte(at.value)}
		if err := p.Publish(t.Context(), r, func(o record.Outcome) { at.out = o; answers.Done() }); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			time.Sleep(time.Millisecond) // so that there are many batches
		}
	}
	done := make(chan struct{})
	go func() { answers.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * patience):
		t.Fatal("some records have no answer")
	}
	return all
}

// verify checks that a topic has what was told, and returns how many records were
// acknowledged.
func verify(t *testing.T, fates [][]fate, got [][]string) int {
	t.Helper()
	acknowledged := 0
	for p, all := range fates {
		next := 0 // in the log
		places := map[string]int{}
		for i, v := range got[p] {
			if first, twice := places[v]; twice {
				t.Fatalf("partition %d: %s is at %d and at %d", p, v, first, i)
			}
			places[v] = i
		}
		for _, fa := range all {
			at, found := places[fa.value]
			if !found {
				at = -1
			}
			switch {
			case fa.out.Err == nil:
				acknowledged++
				if at < 0 {
					t.Fatalf("partition %d: %s was acknowledged, and is not there", p, fa.value)
				}
				if fa.out.Partition != int32(p) || fa.out.Offset >= 0 && fa.out.Offset != int64(at) {
					t.Fatalf("partition %d: %s is at %d, and was told to be at %+v", p, fa.value, at, fa.out)
				}
			case errors.Is(fa.out.Err, record.ErrUnknownOutcome):
			case at >= 0:
				t.Fatalf("partition %d: %s was written, and told not to be: %v", p, fa.value, fa.out.Err)
			}
			if at < 0 {
				continue
			}
			if at != next {
				t.Fatalf("partition %d: %s is at %d, not %d: %s", p, fa.value, at, next, brief(got[p]))
			}
			next++
		}
		if next != len(got[p]) {
			t.Fatalf("partition %d has %d records, and %d were written: %s", p, len(got[p]), next, brief(got[p]))
		}
	}
	return acknowledged
}

// The same records, with the same faults, through our producer and sarama's: both
// must tell the truth, and the topics end up the same.
func TestWritesAsSaramasProducerDoes(t *testing.T) {
	const partitions, n = 3, 360
	drop := func(f *kfake.Cluster) {
		f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("drop"), true })
	}
	fail := func(err *kerr.Error, every int) func(*kfake.Cluster, int) {
		return func(f *kfake.Cluster, i int) {
			if i%every == every/2 {
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err})
			}
		}
	}
	for name, fault := range map[string]func(f *kfake.Cluster, i int){
		"none":                 func(*kfake.Cluster, int) {},
		"lost acknowledgement": fail(kerr.RequestTimedOut, 40),
		"not the leader":       fail(kerr.NotLeaderForPartition, 60),
		"too few replicas":     fail(kerr.NotEnoughReplicas, 60),
		"a topic not known":    fail(kerr.UnknownTopicOrPartition, 60),
		"closed connections": func(f *kfake.Cluster, i int) {
			if i%60 == 30 {
				drop(f)
			}
		},
		"lost acknowledgements and closed connections": func(f *kfake.Cluster, i int) {
			if i%60 == 30 {
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut})
				drop(f)
			}
		},
		"no answer": func(f *kfake.Cluster, i int) {
			if i == 100 {
				f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true })
			}
		},
		"other leaders": func(f *kfake.Cluster, i int) {
			if i%60 == 30 {
				for p := range int32(partitions) {
					if err := f.MoveTopicPartition("a", p, (p+int32(i/60))%3); err != nil {
						t.Error(err)
					}
				}
			}
		},
		"a broker that goes": func(f *kfake.Cluster, i int) {
			if i == 120 {
				if err := f.RemoveNode(2); err != nil {
					t.Error(err)
				}
			}
			if i == 240 {
				if _, _, err := f.AddNode(2, 0); err != nil {
					t.Error(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logs := map[string][][]string{}
			for who, start := range map[string]func(f *kfake.Cluster) record.Producer{
				"own": func(f *kfake.Cluster) record.Producer {
					p := newProducer(t, newCluster(t, f), ProducerConfig{})
					p.conf.Net.ReadTimeout = time.Second
					return p
				},
				"sarama": func(f *kfake.Cluster) record.Producer {
					p := newAsyncOracle(t, f.ListenAddrs(), func(c *sarama.Config) { c.Net.ReadTimeout = time.Second })
					t.Cleanup(func() { _ = p.Close(context.Background()) })
					return p
				},
			} {
				f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(partitions, "a"))
				fates := run(t, start(f), "a", partitions, n, func(i int) { fault(f, i) })
				got := contents(t, f, "a", partitions)
				if k := verify(t, fates, got); k != n {
					t.Errorf("%s: %d of %d records were acknowledged", who, k, n)
				}
				logs[who] = got
			}
			for p := range partitions {
				if !slices.Equal(logs["own"][p], logs["sarama"][p]) {
					t.Errorf("partition %d: %s, and sarama has %s", p, brief(logs["own"][p]), brief(logs["sarama"][p]))
				}
			}
		})
	}
}

// Faults that sarama's producer gives records up for, or that end in records of
// unknown outcome: what is told must be true all the same.
func TestTellsTheTruth(t *testing.T) {
	const partitions, n = 3, 360
	short := ProducerConfig{Timeout: 200 * time.Millisecond}
	var ends sync.Map // by cluster: what ends its fault, once everything was given up
	for name, test := range map[string]struct {
		cfg   ProducerConfig
		least int // how many are acknowledged
		fault func(f *kfake.Cluster, i int)
	}{
		"a sequence that does not follow": {least: n, fault: func(f *kfake.Cluster, i int) {
			if i%60 == 30 {
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.OutOfOrderSequenceNumber})
			}
		}},
		"a producer not known": {least: n, fault: func(f *kfake.Cluster, i int) {
			if i%60 == 30 {
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnknownProducerID})
			}
		}},
		"an epoch that is over": {least: n, fault: func(f *kfake.Cluster, i int) {
			if i%60 == 30 {
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidProducerEpoch})
			}
		}},
		"a producer not known after a lost acknowledgement": {least: n / 2, fault: func(f *kfake.Cluster, i int) {
			if i == 30 {
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut}, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnknownProducerID, Count: 3})
			}
		}},
		"an error that nobody knows": {least: n / 2, fault: func(f *kfake.Cluster, i int) {
			if i%90 == 30 {
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}})
			}
		}},
		"no right to the topic": {least: n / 2, fault: func(f *kfake.Cluster, i int) {
			if i%90 == 30 {
				f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed})
			}
		}},
		"acknowledgements lost until the time is over": {cfg: short, least: n / 2, fault: func(f *kfake.Cluster, i int) {
			if i == 30 {
				h := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: -1})
				ends.Store(f, h.Remove)
			}
		}},
		"connections closed until the time is over": {cfg: short, least: n / 2, fault: func(f *kfake.Cluster, i int) {
			if i == 30 {
				var over atomic.Bool
				f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
					f.KeepControl()
					return nil, errors.New("drop"), !over.Load()
				})
				ends.Store(f, func() { over.Store(true) })
			}
		}},
		"no answers until the time is over": {cfg: short, least: n / 2, fault: func(f *kfake.Cluster, i int) {
			if i == 30 {
				var over atomic.Bool
				f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
					f.KeepControl()
					return nil, nil, !over.Load()
				})
				ends.Store(f, func() { over.Store(true) })
			}
		}},
		"too few replicas until the time is over": {cfg: short, least: n / 2, fault: func(f *kfake.Cluster, i int) {
			if i == 30 {
				h := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
				ends.Store(f, h.Remove)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(partitions, "a"))
			p := newProducer(t, newCluster(t, f), test.cfg)
			p.conf.Net.ReadTimeout = time.Second
			fates := run(t, p, "a", partitions, n, func(i int) {
				test.fault(f, i)
				if end, ok := ends.Load(f); ok && i == n/2 {
					for !idleOutbox(p.all()[0]) {
						time.Sleep(time.Millisecond)
					}
					end.(func())()
					p.cfg.Timeout = 3 * patience
				}
			})
			got := contents(t, f, "a", partitions)
			if k := verify(t, fates, got); k < test.least {
				t.Errorf("%d of %d records were acknowledged", k, n)
			} else {
				t.Logf("%d of %d records were acknowledged", k, n)
			}
		})
	}
}

// idleOutbox reports whether nothing is on its way to a topic.
func idleOutbox(o *outbox) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gate.idle()
}
