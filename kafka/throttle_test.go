package kafka

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// throttle has a broker answer the next fetch as one that is over its quota is
// answered (KIP-219): with nothing but the time to wait. It returns the times of
// that fetch and of those after it.
func throttle(f *kfake.Cluster, d time.Duration) <-chan time.Time {
	times := make(chan time.Time, 1000)
	first := true
	f.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		times <- time.Now()
		if !first {
			return nil, nil, false
		}
		first = false
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.ThrottleMillis = int32(d.Milliseconds())
		return resp, nil, true
	})
	return times
}

func TestThrottled(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "a"))
	c := newCluster(t, f)
	s := read(t, c, "a", true)
	s.started()
	const d = 400 * time.Millisecond
	times := throttle(f, d)
	first := <-times
	// What has nothing to do with fetching goes on.
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	publish(t, p, o, text("a", "x"))
	if out := o.wait(t, 1)[0]; out.Err != nil {
		t.Error(out.Err)
	}
	if _, err := c.meta.lookup(t.Context(), "a", 0); err != nil {
		t.Error(err)
	}
	if gap := (<-times).Sub(first); gap < d {
		t.Errorf("the next fetch came after %v", gap)
	}
	s.until("the record", func() bool { return len(s.records[0])+len(s.records[1]) == 1 })
}

// Nobody has to wait for a connection that is throttled.
func TestThrottledAndClosed(t *testing.T) {
	for name, fetch := range map[string]func(*testing.T, *Cluster){
		"reading": func(t *testing.T, c *Cluster) { read(t, c, "a", true).started() },
		"once": func(t *testing.T, c *Cluster) {
			c.spawn(func() { _, _ = c.Source(true).Fetch(c.ctx, "a", 0, 0) }) // it tries again
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a"))
			c := newCluster(t, f)
			times := throttle(f, time.Minute)
			fetch(t, c)
			<-times
			for range 1000 { // time for it to take in the answer
				if _, err := c.meta.lookup(t.Context(), "a", 0); err != nil {
					t.Fatal(err)
				}
			}
			c.Close()
			done := make(chan struct{})
			go func() { c.work.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(patience):
				t.Error("goroutines wait until they may send again")
			}
		})
	}
}

func TestRealKafkaThrottlesReading(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, kafkatest.Properties(map[string]string{"quota.window.num": "2", "quota.window.size.seconds": "1"}))
	b.CreateTopic(t, "a", 4, nil)
	b.CreateTopic(t, "other", 1, nil)
	c := realCluster(t, b)
	s := read(t, c, "a", true)
	s.started()
	const rate, total = 3 << 20, 12 << 20
	b.Quota(t, "caddy", 0, rate)
	cl := realClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	padding := strings.Repeat("x", 50_000)
	var want [4][]string
	write := func() {
		var all sync.WaitGroup
		for p := range int32(4) {
			var values []string
			for i := range total / len(padding) / 4 {
				values = append(values, fmt.Sprint(len(want[p])+i, padding))
			}
			want[p] = append(want[p], values...)
			all.Go(func() { put(t, cl, "a", p, values...) })
		}
		all.Wait()
	}
	began := time.Now()
	write()
	// Others go on meanwhile.
	p := newProducer(t, c, ProducerConfig{})
	o := newOutcomes()
	publish(t, p, o, text("other", "x"))
	if out := o.wait(t, 1)[0]; out.Err != nil {
		t.Error(out.Err)
	}
	if _, err := c.meta.lookup(t.Context(), "other", 0); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	if len(s.records[0]) == len(want[0]) && len(s.records[1]) == len(want[1]) && len(s.records[2]) == len(want[2]) && len(s.records[3]) == len(want[3]) {
		t.Error("the quota did not work")
	}
	s.mu.Unlock()
	for p := range int32(4) {
		s.wants(p, want[p]...)
	}
	took := time.Since(began)
	t.Logf("%d MiB took %v at %d MiB/s", total>>20, took.Round(time.Millisecond), rate>>20)
	// Two seconds' worth is free, and so is an answer that is under way.
	if least := time.Duration(total-2*rate-responseBytes/2) * time.Second / rate; took < least {
		t.Errorf("%d bytes came in %v", total, took)
	}
	b.Quota(t, "caddy", 0, 0)
	write()
	for p := range int32(4) {
		s.wants(p, want[p]...)
	}
}
