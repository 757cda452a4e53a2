package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

// timeKinds are a topic's settings for its kinds of time.
func timeKinds() map[string]map[string]string {
	return map[string]map[string]string{"own": nil, "appended": {"message.timestamp.type": "LogAppendTime"}}
}

// stamped writes records with times of their own and without, and checks what it
// is told of their times against what a reading has.
func stamped(t *testing.T, c *Cluster, topic string, appended bool) {
	t.Helper()
	s := read(t, c, topic, true)
	s.started()
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	begun := time.Now().Truncate(time.Millisecond)
	long := begun.Add(-time.Hour).UTC()
	const n = 100
	for i := range n {
		r := text(topic, fmt.Sprint(i))
		if i%2 == 0 {
			r.Timestamp = long.Add(time.Duration(i)*time.Second + time.Microsecond)
		}
		publish(t, p, o, r)
	}
	outs := o.wait(t, n)
	s.until("all records", func() bool { return len(s.records[0]) == n })
	for i, out := range outs {
		r := s.records[0][i]
		if out.Err != nil || out.Offset != r.Offset {
			t.Fatalf("%+v of the record at %d", out, r.Offset)
		}
		if out.Timestamp.IsZero() || !out.Timestamp.Equal(r.Timestamp) || out.Timestamp.Location() != time.UTC {
			t.Errorf("record %d: told %v, and it has %v", i, out.Timestamp, r.Timestamp)
		}
		if own := long.Add(time.Duration(i) * time.Second); i%2 == 0 && !appended && !out.Timestamp.Equal(own) {
			t.Errorf("record %d was sent with %v, and has %v", i, own, out.Timestamp)
		}
		if (i%2 == 1 || appended) && (out.Timestamp.Before(begun) || out.Timestamp.After(time.Now())) {
			t.Errorf("record %d has %v, and it was written after %v", i, out.Timestamp, begun)
		}
	}
}

// A fake broker has no topics with a time of its own.
func TestOutcomesTellTheTime(t *testing.T) {
	for _, version := range []string{"", "0.11.0.0"} {
		f := newFake(t, kfake.SeedTopics(1, "own"))
		c, err := New(Config{Brokers: f.ListenAddrs(), Version: version})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		stamped(t, c, "own", false)
	}
}

func TestOutcomesOfFailuresTellNoTime(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "50000"}))
	p := newProducer(t, newCluster(t, f), ProducerConfig{})
	o := newOutcomes()
	publish(t, p, o, &record.Record{Topic: "a", Value: make([]byte, 60_000), Timestamp: time.Now()})
	if out := o.wait(t, 1)[0]; out.Err == nil || !out.Timestamp.IsZero() {
		t.Errorf("%+v", out)
	}
}

// What a batch's records are told, with three times of their own.
func TestTimesOfABatch(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	for name, c := range map[string]struct {
		appended  time.Time
		again     bool
		unordered bool // the producer is not idempotent
		want      [3]time.Time
	}{
		"own times":                     {want: [3]time.Time{at(7), at(9), at(8)}},
		"own times, at last":            {again: true, want: [3]time.Time{at(7), at(9), at(8)}},
		"the broker's time":             {appended: at(9), want: [3]time.Time{at(9), at(9), at(9)}},
		"the broker's time, at last":    {appended: at(10), again: true, want: [3]time.Time{at(10), at(10), at(10)}},
		"one that may be a batch's":     {appended: at(9), again: true, want: [3]time.Time{{}, at(9), {}}},
		"one that cannot be, as no one": {appended: at(9), again: true, unordered: true, want: [3]time.Time{at(9), at(9), at(9)}},
	} {
		b := &batch{}
		for _, ms := range []int64{7, 9, 8} {
			b.add(&record.Record{}, entry{millis: ms})
		}
		n := numbering{id: 1}
		if c.unordered {
			n = noNumbering
		}
		b.number(n, sarama.CompressionNone)
		for i, want := range c.want {
			if got := b.timestamp(i, c.appended, c.again); !got.Equal(want) {
				t.Errorf("%s: record %d: %v, not %v", name, i, got, want)
			}
		}
	}
}

func TestRealKafkaTellsTheTime(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, kafkatest.Proxied())
	c, err := New(Config{Brokers: []string{b.Proxy().Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for topic, configs := range timeKinds() {
		b.CreateTopic(t, topic, 1, configs)
		stamped(t, c, topic, configs != nil)
	}
	// Answers that get lost: the broker is asked again what became of a batch,
	// and tells a time that not all of its records have.
	for topic := range timeKinds() {
		s := read(t, c, topic, true)
		s.started()
		p := newProducer(t, c, ProducerConfig{})
		o := newOutcomes()
		unsure := 0
		b.Proxy().Delay(2 * time.Millisecond)
		all := map[int64]time.Time{}
		for deadline := time.Now().Add(patience); unsure == 0 && time.Now().Before(deadline); {
			const n = 10
			base := time.Now().Add(-time.Hour)
			for i := range n {
				r := text(topic, "x")
				r.Timestamp = base.Add(time.Duration(i) * time.Second)
				publish(t, p, o, r)
			}
			<-time.After(5 * time.Millisecond) // about when an answer is on its way
			b.Proxy().Cut()
			for _, out := range o.wait(t, n) {
				switch {
				case out.Err != nil:
					t.Fatal(out.Err)
				case out.Timestamp.IsZero():
					unsure++
				default:
					all[out.Offset] = out.Timestamp
				}
			}
			if topic == "appended" && len(all) > 200 {
				break // a duplicate is told the time of writing, so that there is no doubt
			}
		}
		b.Proxy().Delay(0)
		t.Logf("%s: of %d records the time was told, of %d not", topic, len(all), unsure)
		if (topic == "own") != (unsure > 0) {
			t.Errorf("%s: the time of %d records was not known", topic, unsure)
		}
		s.until("all records", func() bool { return len(s.records[0]) >= len(all)+unsure })
		for _, r := range s.records[0] {
			if told, ok := all[r.Offset]; ok && !told.Equal(r.Timestamp) {
				t.Errorf("%s: told %v of offset %d, and it has %v", topic, told, r.Offset, r.Timestamp)
			}
		}
	}
}
