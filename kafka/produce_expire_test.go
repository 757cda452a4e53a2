package kafka

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

// fails checks that records have failed for want of Kafka, and that nobody needs to
// think that they were written.
func fails(t *testing.T, outs []record.Outcome, kafkaError string) {
	t.Helper()
	for _, out := range outs {
		if !errors.Is(out.Err, record.ErrUnavailable) || errors.Is(out.Err, record.ErrUnknownOutcome) {
			t.Fatalf("got %v, want that nothing was written", out.Err)
		}
		name := ""
		if e, ok := errors.AsType[interface {
			error
			KafkaError() string
		}](out.Err); ok {
			name = e.KafkaError()
		}
		if name != kafkaError || out.Partition != record.AnyPartition || out.Offset != -1 {
			t.Fatalf("got %+v with %q, want %q", out, name, kafkaError)
		}
	}
}

// Records that never were on their way have failed, however long they waited.
func TestExpiryOfWhatWasNotSent(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	p := newProducer(t, newCluster(t, f), ProducerConfig{Timeout: time.Second})
	o := newOutcomes()
	for partition := range int32(2) {
		r := text("a", "0")
		r.Partition = partition
		publish(t, p, o, r)
	}
	o.wait(t, 2)
	// The connection is closed while nothing is on its way, and nobody answers any more.
	p.link(f.LeaderFor("a", 0)).conn.dialer.breakAll()
	p.link(f.LeaderFor("a", 1)).conn.dialer.breakAll()
	f.Close()
	for i := range 20 {
		publish(t, p, o, text("a", fmt.Sprint(i)))
	}
	fails(t, o.wait(t, 20), "")
}

// A batch that is on its way may be written; the ones behind it are not.
func TestExpiryBehindABatchOnItsWay(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	p := newProducer(t, newCluster(t, f), ProducerConfig{Timeout: time.Second})
	o := newOutcomes()
	publish(t, p, o, text("a", "first"))
	o.wait(t, 1)
	held := make(chan struct{}, 1)
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		held <- struct{}{}
		return nil, nil, true // never answered
	})
	sent, behind := newOutcomes(), newOutcomes()
	publish(t, p, sent, text("a", "0"))
	<-held
	for i := range 5 {
		publish(t, p, behind, text("a", fmt.Sprint("behind ", i)))
	}
	if out := sent.wait(t, 1)[0]; !errors.Is(out.Err, record.ErrUnknownOutcome) || errors.Is(out.Err, record.ErrUnavailable) {
		t.Errorf("on its way: %v", out.Err)
	}
	fails(t, behind.wait(t, 5), "")
	f.Close() // so that the one on its way is no longer waited for
}

// A leader that has too few replicas says so before it writes (NOT_ENOUGH_REPLICAS),
// or after (NOT_ENOUGH_REPLICAS_AFTER_APPEND). After one answer that leaves the
// fate open, or none, no later one settles it.
func TestExpiryAfterAnswers(t *testing.T) {
	drop := func(f *kfake.Cluster) {
		f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("drop"), true })
	}
	fault := func(err *kerr.Error, count int) func(*kfake.Cluster) {
		return func(f *kfake.Cluster) {
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: count})
		}
	}
	for name, test := range map[string]struct {
		faults     []func(*kfake.Cluster)
		unknown    bool
		kafkaError string
	}{
		"not written": {
			faults:     []func(*kfake.Cluster){fault(kerr.NotEnoughReplicas, -1)},
			kafkaError: "NOT_ENOUGH_REPLICAS",
		},
		"not written, by its number": {
			faults:     []func(*kfake.Cluster){fault(kerr.OutOfOrderSequenceNumber, 1), fault(kerr.NotEnoughReplicas, -1)},
			kafkaError: "NOT_ENOUGH_REPLICAS",
		},
		"written":             {faults: []func(*kfake.Cluster){fault(kerr.NotEnoughReplicasAfterAppend, -1)}, unknown: true},
		"in doubt":            {faults: []func(*kfake.Cluster){fault(kerr.RequestTimedOut, -1)}, unknown: true},
		"written, then not":   {faults: []func(*kfake.Cluster){fault(kerr.NotEnoughReplicasAfterAppend, 1), fault(kerr.NotEnoughReplicas, -1)}, unknown: true},
		"in doubt, then not":  {faults: []func(*kfake.Cluster){fault(kerr.RequestTimedOut, 1), fault(kerr.NotEnoughReplicas, -1)}, unknown: true},
		"no answer, then not": {faults: []func(*kfake.Cluster){drop, fault(kerr.NotEnoughReplicas, -1)}, unknown: true},
		"not, then in doubt":  {faults: []func(*kfake.Cluster){fault(kerr.NotEnoughReplicas, 1), fault(kerr.RequestTimedOut, -1)}, unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, kfake.SeedTopics(1, "a"))
			seen := tap(t, f)
			p := newProducer(t, newCluster(t, f), ProducerConfig{Timeout: 2 * time.Second})
			o := newOutcomes()
			publish(t, p, o, text("a", "0"))
			o.wait(t, 1)
			for _, fault := range test.faults {
				fault(f)
			}
			publish(t, p, o, text("a", "1"))
			outs := o.wait(t, 1)
			if err := outs[0].Err; !test.unknown {
				fails(t, outs, test.kafkaError)
			} else if !errors.Is(err, record.ErrUnknownOutcome) || errors.Is(err, record.ErrUnavailable) {
				t.Errorf("got %v, want that it is not known", err)
			}
			tries := 0
			for _, b := range seen() {
				if b.values[0] == "1" {
					tries++
				}
			}
			if tries <= len(test.faults)-1 {
				t.Fatalf("it was tried %d times", tries)
			}
		})
	}
}

// What has failed is free to be published again, under the sequence that the
// producer had for it.
func TestPublishAgainAfterExpiry(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	seen := tap(t, f)
	p := newProducer(t, newCluster(t, f), ProducerConfig{Timeout: time.Second})
	o := newOutcomes()
	publish(t, p, o, text("a", "0"))
	o.wait(t, 1)
	h := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	publish(t, p, o, text("a", "1"))
	fails(t, o.wait(t, 1), "NOT_ENOUGH_REPLICAS")
	h.Remove()
	p.cfg.Timeout = patience
	publish(t, p, o, text("a", "1"))
	if out := o.wait(t, 1)[0]; out.Err != nil || out.Offset != 1 {
		t.Fatalf("%+v", out)
	}
	all := seen()
	if last := all[len(all)-1]; last.epoch != all[0].epoch || last.sequence != 1 {
		t.Errorf("it was sent as %+v", last)
	}
	if got := contents(t, f, "a", 1)[0]; !slices.Equal(got, numbered("", 0, 2)) {
		t.Error(got)
	}
}

// Of a batch that is divided, only what is still wanted is sent again, and each
// record has one outcome.
func TestExpiryOfAPartThatIsDivided(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	p := newProducer(t, newCluster(t, f), ProducerConfig{Timeout: 2 * time.Second})
	type hold struct{ held, release chan struct{} }
	holds := []hold{{make(chan struct{}), make(chan struct{})}, {make(chan struct{}), make(chan struct{})}}
	n := 0
	f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if n++; n > len(holds) {
			return nil, nil, false
		}
		h := holds[n-1]
		close(h.held)
		f.SleepControl(func() { <-h.release })
		if n == 1 {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.ProduceResponse)
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = "a"
		rp := kmsg.NewProduceResponseTopicPartition()
		rp.ErrorCode = kerr.InvalidRecord.Code
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	o, soon, late := newOutcomes(), newOutcomes(), newOutcomes()
	publish(t, p, o, text("a", "0"))
	<-holds[0].held
	for i := range 3 {
		publish(t, p, soon, text("a", fmt.Sprint("soon ", i)))
	}
	p.cfg.Timeout = patience
	publish(t, p, late, text("a", "late"))
	close(holds[0].release)
	o.wait(t, 1)
	<-holds[1].held // the four are a batch that is on its way
	for _, out := range soon.wait(t, 3) {
		if !errors.Is(out.Err, record.ErrUnknownOutcome) {
			t.Error(out.Err)
		}
	}
	close(holds[1].release)
	if out := late.wait(t, 1)[0]; out.Err != nil || out.Offset != 1 {
		t.Errorf("%+v", out)
	}
	if got := contents(t, f, "a", 1)[0]; !slices.Equal(got, []string{"0", "late"}) {
		t.Error(got)
	}
	if len(soon.ch) > 0 {
		t.Error("an answer too many")
	}
}
