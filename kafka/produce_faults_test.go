package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

func TestNoDuplicatesAfterLostAnswers(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	c := newCluster(t, f)
	s := read(t, c, "a", true)
	s.started()
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	const n = 60
	for i := range n {
		if i%10 == 5 {
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut})
		}
		if i%20 == 10 {
			f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("drop"), true
			})
		}
		publish(t, p, o, text("a", fmt.Sprint(i)))
	}
	for _, out := range o.wait(t, n) {
		if out.Err != nil {
			t.Fatal(out.Err)
		}
	}
	s.wants(0, numbered("", 0, n)...)
	publish(t, p, o, text("a", "end"))
	s.wants(0, append(numbered("", 0, n), "end")...)
}

func TestDuplicateIsAcknowledged(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	p := newProducer(t, newCluster(t, f), ProducerConfig{})
	o := newOutcomes()
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.DuplicateSequenceNumber})
	publish(t, p, o, text("a", "x"))
	if out := o.wait(t, 1)[0]; out.Err != nil || out.Offset != -1 || out.Partition != 0 || !out.Timestamp.IsZero() {
		t.Fatalf("%+v", out)
	}
}

func TestTimeoutIsUnknownAndAnsweredOnce(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	c := newCluster(t, f)
	s := read(t, c, "a", true)
	s.started()
	p := newProducer(t, c, ProducerConfig{Timeout: 300 * time.Millisecond})
	o := newOutcomes()
	publish(t, p, o, text("a", "0"))
	o.wait(t, 1)
	h := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: -1})
	publish(t, p, o, text("a", "1"))
	if out := o.wait(t, 1)[0]; !errors.Is(out.Err, record.ErrUnknownOutcome) {
		t.Fatal(out.Err)
	}
	h.Remove()
	p.cfg.Timeout = patience
	publish(t, p, o, text("a", "2"))
	if out := o.wait(t, 1)[0]; out.Err != nil {
		t.Fatal(out.Err)
	}
	s.wants(0, "0", "1", "2") // it had been written, and is not sent again
	if len(o.ch) > 0 {
		t.Fatal("an answer too many")
	}
}

func TestUnreachable(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	addrs := f.ListenAddrs()
	f.Close()
	c, err := New(Config{Brokers: addrs})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := newProducer(t, c, ProducerConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = p.Publish(ctx, text("a", "x"), func(record.Outcome) { t.Error("done was called") })
	if !errors.Is(err, record.ErrUnavailable) || strings.Contains(err.Error(), "127.0.0.1") {
		t.Error(err)
	}
	if err := c.Source(true).Exists(ctx, "a"); !errors.Is(err, record.ErrUnavailable) {
		t.Error(err)
	}
}

func TestCloseFlushes(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	p := newCluster(t, f).NewProducer(ProducerConfig{})
	o := newOutcomes()
	for i := range 500 {
		publish(t, p, o, text("a", fmt.Sprint(i)))
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, out := range o.wait(t, 500) {
		if out.Err != nil {
			t.Fatal(out.Err)
		}
	}
	if err := p.Publish(t.Context(), text("a", "x"), o.done); !errors.Is(err, record.ErrClosed) {
		t.Fatal(err)
	}
}

func TestCloseReportsWhatIsLeft(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	c := newCluster(t, f)
	p := c.NewProducer(ProducerConfig{})
	o := newOutcomes()
	publish(t, p, o, text("a", "x"))
	o.wait(t, 1)
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		return nil, nil, true // never answered
	})
	for i := range 50 {
		publish(t, p, o, text("a", fmt.Sprint(i)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := p.Close(ctx); !errors.Is(err, record.ErrUnknownOutcome) {
		t.Error(err)
	}
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
	all := o.wait(t, 50)
	// What was sent may have been written; what was behind it was not.
	unknown := 0
	for _, out := range all {
		switch {
		case errors.Is(out.Err, record.ErrUnknownOutcome):
			unknown++
		case !errors.Is(out.Err, record.ErrClosed):
			t.Error(out.Err)
		}
	}
	if unknown == 0 {
		t.Error("no outcome is unknown, and some records were sent")
	}
}

func TestAStuckTopicStopsNoOther(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "stuck", "fine"))
	c := newCluster(t, f)
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	h := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "stuck", Err: kerr.NotEnoughReplicas, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	accepted := 0
	for range maxTopicRecords + 1 {
		if err := p.Publish(ctx, text("stuck", "x"), o.done); err != nil {
			if !errors.Is(err, record.ErrUnavailable) {
				t.Fatal(err)
			}
			break
		}
		accepted++
	}
	if accepted != maxTopicRecords {
		t.Errorf("%d records were accepted", accepted)
	}
	fine := newOutcomes()
	publish(t, p, fine, text("fine", "x"))
	if out := fine.wait(t, 1)[0]; out.Err != nil {
		t.Fatal(out.Err)
	}
	h.Remove()
	for _, out := range o.wait(t, accepted) {
		if out.Err != nil {
			t.Fatal(out.Err)
		}
	}
}
