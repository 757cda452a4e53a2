package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/record"
)

func TestForbiddenTopic(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	c := newCluster(t, f, quick)
	h := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "a", Err: kerr.TopicAuthorizationFailed, Count: -1})
	s := read(t, c, "a", true)
	if err := c.Source(true).Exists(t.Context(), "a"); !errors.Is(err, record.ErrRefused) {
		t.Error(err)
	}
	p := newProducer(t, c, ProducerConfig{})
	if err := p.Publish(t.Context(), text("a", "x"), func(record.Outcome) {}); !errors.Is(err, record.ErrRefused) {
		t.Error(err)
	}
	h.Remove()
	s.started()
	put(t, kclient(t, f), "a", 0, "x")
	s.wants(0, "x")
}

func TestExistsIsCoalescedAndBounded(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a"))
	c := newCluster(t, f, func(tm *timings) { tm.positive, tm.negative = time.Hour, time.Hour })
	src := c.Source(true)
	k := count(f)
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			if err := src.Exists(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			if err := src.Exists(t.Context(), fmt.Sprint("no", i%50)); !errors.Is(err, record.ErrUnknownTopic) {
				t.Error(err)
			}
			if err := src.Exists(t.Context(), "no/name"); !errors.Is(err, record.ErrUnknownTopic) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := k.of(kmsg.Metadata); n > 51 {
		t.Errorf("%d requests", n)
	}
	for i := range maxCached + 500 {
		c.meta.mu.Lock()
		name := fmt.Sprint("x", i)
		c.meta.cache[name] = &topicInfo{name: name, err: 3, at: time.Now()}
		c.meta.trim(time.Now())
		n := len(c.meta.cache)
		c.meta.mu.Unlock()
		if n > maxCached {
			t.Fatalf("%d topics are remembered", n)
		}
	}
}

// A waiter that gave up during an outage leaves nothing behind.
func TestWaitersOfAnOutageAreForgotten(t *testing.T) {
	c, err := New(Config{Brokers: []string{"127.0.0.1:1", "127.0.0.1:2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
			defer cancel()
			if err := c.Source(true).Exists(ctx, fmt.Sprint(i)); !errors.Is(err, record.ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	deadline := time.After(patience)
	for {
		c.meta.mu.Lock()
		n := len(c.meta.waiters)
		c.meta.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d topics are still waited for", n)
		case <-time.After(time.Millisecond):
		}
	}
}

// Topics that are read are asked for together, whenever each reading began.
func TestReadTopicsAreAskedForTogether(t *testing.T) {
	c, err := New(Config{Brokers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, now, period := c.meta, time.Now(), c.timings.refresh
	for i := range 100 {
		m.watched[fmt.Sprint(i)] = &watch{due: now.Add(period * time.Duration(i) / 100), period: period}
	}
	names, _, _ := m.collect()
	if len(names) < 50 {
		t.Errorf("%d topics are asked for", len(names))
	}
	first := map[time.Time]int{}
	for _, e := range m.watched {
		first[e.due]++
	}
	if len(first) != 101-len(names) { // the others join next time
		t.Errorf("%d times to ask at, for %d topics that were asked for", len(first), len(names))
	}
}
