package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// sent is a batch as a broker got it.
type sent struct {
	epoch     int16
	sequence  int32
	id        int64
	values    []string
	partition int32
}

// batches lists the uncompressed batches of a request.
func batches(t *testing.T, r kmsg.Request) []sent {
	t.Helper()
	var all []sent
	for _, topic := range r.(*kmsg.ProduceRequest).Topics {
		for _, p := range topic.Partitions {
			var b kmsg.RecordBatch
			if err := b.ReadFrom(p.Records); err != nil {
				t.Error(err)
				return nil
			}
			s := sent{epoch: b.ProducerEpoch, sequence: b.FirstSequence, id: b.ProducerID, partition: p.Partition}
			rest := b.Records
			for range b.NumRecords {
				var rec kmsg.Record
				if err := rec.ReadFrom(rest); err != nil {
					t.Error(err)
					return nil
				}
				n := int(rec.Length)
				for v := uint32(n) << 1; ; v >>= 7 { // and the length itself
					n++
					if v < 0x80 {
						break
					}
				}
				rest = rest[n:]
				s.values = append(s.values, string(rec.Value))
			}
			all = append(all, s)
		}
	}
	return all
}

// tap keeps the batches that brokers get.
func tap(t *testing.T, f *kfake.Cluster) func() []sent {
	var mu sync.Mutex
	var all []sent
	f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, batches(t, r)...)
		return nil, nil, false
	})
	return func() []sent {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// What may have been written leaves a hole in the sequence when it is given up.
func TestGivingUpBeginsAnEpoch(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	seen := tap(t, f)
	p := newProducer(t, newCluster(t, f), ProducerConfig{Timeout: 300 * time.Millisecond})
	o := newOutcomes()
	publish(t, p, o, text("a", "0"))
	o.wait(t, 1)
	h := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: -1})
	publish(t, p, o, text("a", "1"))
	if out := o.wait(t, 1)[0]; !errors.Is(out.Err, record.ErrUnknownOutcome) {
		t.Fatal(out.Err)
	}
	h.Remove()
	p.cfg.Timeout = patience
	// Alone, so that under the old numbers it would pass for the one given up.
	for _, v := range []string{"2", "3"} {
		publish(t, p, o, text("a", v))
		if out := o.wait(t, 1)[0]; out.Err != nil {
			t.Fatal(out.Err)
		}
	}
	all := seen()
	var first sent
	for _, b := range all {
		switch {
		case b.values[0] == "1" && (b.epoch != all[0].epoch || b.sequence != 1):
			t.Errorf("given up as %+v", b)
		case b.values[0] == "2":
			first = b
		}
	}
	if first.epoch != all[0].epoch+1 || first.sequence != 0 || first.id != all[0].id {
		t.Errorf("%+v follows what was given up, which began with %+v", first, all[0])
	}
	if got := contents(t, f, "a", 1)[0]; !slices.Equal(got, numbered("", 0, 4)) {
		t.Error(got)
	}
}

// Of a batch that was not written, only what is still wanted is sent again.
func TestGivingUpAPartOfABatch(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	p := newProducer(t, newCluster(t, f), ProducerConfig{Timeout: time.Second})
	held, release := make(chan struct{}), make(chan struct{})
	first := true
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if first {
			first = false
			close(held)
			f.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	h := f.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1,
		When: func(r kmsg.Request) bool { return batches(t, r)[0].values[0] == "1" },
	})
	o, soon, late := newOutcomes(), newOutcomes(), newOutcomes()
	publish(t, p, o, text("a", "0"))
	<-held
	publish(t, p, soon, text("a", "1"))
	p.cfg.Timeout = patience
	publish(t, p, late, text("a", "2"))
	close(release)
	fails(t, soon.wait(t, 1), "NOT_ENOUGH_REPLICAS")
	if out := late.wait(t, 1)[0]; out.Err != nil || out.Offset != 1 {
		t.Errorf("%+v", out)
	}
	if got := contents(t, f, "a", 1)[0]; !slices.Equal(got, []string{"0", "2"}) {
		t.Error(got)
	}
	if h.Hits() == 0 {
		t.Error("the records were no batch")
	}
}

// Epochs come to an end, after which another id is needed.
func TestTheLastEpoch(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	seen := tap(t, f)
	p := newProducer(t, newCluster(t, f), ProducerConfig{})
	if err := p.identity.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.identity.mu.Lock()
	p.identity.epoch = math.MaxInt16
	p.identity.mu.Unlock()
	o := newOutcomes()
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.OutOfOrderSequenceNumber})
	publish(t, p, o, text("a", "0"))
	if out := o.wait(t, 1)[0]; out.Err != nil {
		t.Fatal(out.Err)
	}
	all := seen()
	if last := all[len(all)-1]; len(all) != 2 || last.id == all[0].id || last.epoch != 0 {
		t.Errorf("%+v", all)
	}
}

func TestSequenceOfTheLargestNumber(t *testing.T) {
	n := numbering{id: 1, sequence: math.MaxInt32 - 2}
	for _, c := range []struct {
		n    int
		want int32
	}{{1, math.MaxInt32 - 1}, {2, math.MaxInt32}, {3, 0}, {5, 2}} {
		if got := n.after(c.n).sequence; got != c.want {
			t.Errorf("%d records after %d comes %d, not %d", c.n, n.sequence, got, c.want)
		}
	}
	if got := noNumbering.after(5); got != noNumbering {
		t.Error(got)
	}
}

// A record that the broker does not take must not take others along.
func TestInvalidRecordsFailAlone(t *testing.T) {
	for _, named := range []bool{true, false} {
		t.Run(fmt.Sprint("named ", named), func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a"))
			p := newProducer(t, newCluster(t, f), ProducerConfig{})
			o := newOutcomes()
			publish(t, p, o, text("a", "0"))
			o.wait(t, 1)
			// The first is held until all are there, so that the others are one batch.
			held, go_ := make(chan struct{}), make(chan struct{})
			first, largest := true, 0
			f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				f.KeepControl()
				if first {
					first = false
					close(held)
					f.SleepControl(func() { <-go_ })
					return nil, nil, false
				}
				var bad []kmsg.ProduceResponseTopicPartitionErrorRecord
				got := batches(t, r)[0].values
				largest = max(largest, len(got))
				for i, v := range got {
					if strings.HasPrefix(v, "bad") {
						e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
						e.RelativeOffset = int32(i)
						bad = append(bad, e)
					}
				}
				if len(bad) == 0 {
					return nil, nil, false
				}
				resp := r.ResponseKind().(*kmsg.ProduceResponse)
				rt := kmsg.NewProduceResponseTopic()
				rt.Topic = "a"
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.ErrorCode = kerr.InvalidRecord.Code
				if named {
					rp.ErrorRecords = bad
				}
				rt.Partitions = append(rt.Partitions, rp)
				resp.Topics = append(resp.Topics, rt)
				return resp, nil, true
			})
			publish(t, p, o, text("a", "1"))
			<-held
			want := []string{"0", "1"}
			const n = 100
			failed := map[string]error{}
			var mu sync.Mutex
			var answers sync.WaitGroup
			for i := range n {
				v := fmt.Sprint("good", i)
				if i%30 == 7 || i == n-1 {
					v = fmt.Sprint("bad", i)
				} else {
					want = append(want, v)
				}
				answers.Add(1)
				r := text("a", v)
				r.Headers = []record.Header{{Key: "h", Value: []byte(v)}}
				if err := p.Publish(t.Context(), r, func(out record.Outcome) {
					mu.Lock()
					defer mu.Unlock()
					if out.Err != nil {
						failed[v] = out.Err
					}
					answers.Done()
				}); err != nil {
					t.Fatal(err)
				}
			}
			close(go_)
			o.wait(t, 1)
			answers.Wait()
			if largest < n {
				t.Fatalf("the largest batch had %d records", largest)
			}
			for v, err := range failed {
				if !strings.HasPrefix(v, "bad") || !errors.Is(err, record.ErrRefused) {
					t.Errorf("%s: %v", v, err)
				}
			}
			if len(failed) != 5 {
				t.Errorf("%d records failed", len(failed))
			}
			if got := contents(t, f, "a", 1)[0]; !slices.Equal(got, want) {
				t.Errorf("got %s\nwant %s", brief(got), brief(want))
			}
		})
	}
}

// A broker that throttles gets its next request when it wants it (KIP-219).
func TestThrottling(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	c := newCluster(t, f)
	p := c.NewProducer(ProducerConfig{})
	o := newOutcomes()
	const pause = 300 * time.Millisecond
	var answered, next time.Time
	throttle := func(ms time.Duration) {
		f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			resp := r.ResponseKind().(*kmsg.ProduceResponse)
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic = "a"
			rt.Partitions = append(rt.Partitions, kmsg.NewProduceResponseTopicPartition())
			resp.Topics = append(resp.Topics, rt)
			resp.ThrottleMillis = int32(ms / time.Millisecond)
			if answered.IsZero() {
				answered = time.Now()
			} else {
				next = time.Now()
			}
			return resp, nil, true
		})
	}
	throttle(pause)
	publish(t, p, o, text("a", "0"))
	o.wait(t, 1)
	throttle(time.Hour)
	publish(t, p, o, text("a", "1"))
	o.wait(t, 1)
	if d := next.Sub(answered); d < pause {
		t.Errorf("the next request came after %v", d)
	}
	// What the broker does not want yet does not hold up the end.
	publish(t, p, o, text("a", "2"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := p.Close(ctx); !errors.Is(err, record.ErrUnavailable) || errors.Is(err, record.ErrUnknownOutcome) {
		t.Error(err)
	}
	if out := o.wait(t, 1)[0]; !errors.Is(out.Err, record.ErrClosed) || errors.Is(out.Err, record.ErrUnknownOutcome) {
		t.Error(out.Err)
	}
	if d := time.Since(begun); d > patience {
		t.Errorf("the end took %v", d)
	}
}

// Connections without work are closed, by us or by a broker, and nobody notices.
func TestConnectionsThatWereClosed(t *testing.T) {
	for _, acks := range []string{"all", "none"} {
		t.Run(acks, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a"))
			p := newProducer(t, newCluster(t, f), ProducerConfig{Acks: acks})
			p.idle = 30 * time.Millisecond
			o := newOutcomes()
			for i := range 5 {
				publish(t, p, o, text("a", fmt.Sprint(i)))
				if out := o.wait(t, 1)[0]; out.Err != nil {
					t.Fatal(out.Err)
				}
				l := p.link(f.LeaderFor("a", 0))
				for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
					l.mu.Lock()
					over := !l.running
					l.mu.Unlock()
					if over {
						break
					}
					if time.Now().After(until) {
						t.Fatal("the loop does not end")
					}
				}
			}
			for until := time.Now().Add(patience); f.PartitionInfo("a", 0).HighWatermark < 5 && time.Now().Before(until); {
				time.Sleep(time.Millisecond) // without acknowledgements some may still be under way
			}
			if got := contents(t, f, "a", 1)[0]; !slices.Equal(got, numbered("", 0, 5)) {
				t.Error(got)
			}
		})
	}
	t.Run("by the broker", func(t *testing.T) {
		f := newFake(t, kfake.SeedTopics(1, "a"))
		p := newProducer(t, newCluster(t, f), ProducerConfig{})
		o := newOutcomes()
		for i := range 5 {
			publish(t, p, o, text("a", fmt.Sprint(i)))
			if out := o.wait(t, 1)[0]; out.Err != nil {
				t.Fatal(out.Err)
			}
			l := p.link(f.LeaderFor("a", 0))
			l.conn.dialer.breakAll() // as if it were; nothing is on its way
		}
		if got := contents(t, f, "a", 1)[0]; !slices.Equal(got, numbered("", 0, 5)) {
			t.Error(got)
		}
	})
}
