package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
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

// However many topics are waited for that do not exist, they are asked for in
// requests of bounded size, and never along with those that do.
func TestMissingTopicsAreAskedForApart(t *testing.T) {
	const missing = 2*maxUnheard + 500
	f := newFake(t, kfake.SeedTopics(1, "a"))
	asked := requests{more: make(chan struct{}, 1)}
	f.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		asked.add(r.(*kmsg.MetadataRequest))
		return nil, nil, false
	})
	c := newCluster(t, f, quick)
	real := read(t, c, "a", true)
	real.started()
	var none sync.WaitGroup
	none.Add(missing)
	for i := range missing {
		defer c.Source(true).Read(fmt.Sprint("missing", i), &absentSink{missing: none.Done}).Stop()
	}
	none.Wait()
	for asked.of("a") < 20 || asked.of("missing0") < 5 {
		select {
		case <-asked.more:
		case <-time.After(patience):
			t.Fatal("they are not asked for any more")
		}
	}
	grow(t, f, "a", 2)
	real.until("the new partition", func() bool { return len(real.starts) == 2 })
	asked.mu.Lock()
	defer asked.mu.Unlock()
	for _, names := range asked.all {
		if len(names) > maxUnheard {
			t.Errorf("%d topics are asked for in one request", len(names))
		}
		if len(names) > 1 && slices.Contains(names, "a") {
			t.Errorf("a is asked for along with %d others", len(names)-1)
		}
	}
}

// absentSink is the sink of a topic that does not exist.
type absentSink struct {
	countingSink
	missing func()
}

func (s *absentSink) Missing() { s.missing() }

// requests are the names that metadata was asked for with.
type requests struct {
	mu  sync.Mutex
	all [][]string
	// more is sent to after each.
	more chan struct{}
}

func (r *requests) add(req *kmsg.MetadataRequest) {
	var names []string
	for _, t := range req.Topics {
		if t.Topic != nil {
			names = append(names, *t.Topic)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, names)
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// of returns how many requests asked for a topic.
func (r *requests) of(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, names := range r.all {
		if slices.Contains(names, name) {
			n++
		}
	}
	return n
}

// Topics that exist wait for no more than one request for others; of these, the ones
// that nothing is known of go first.
func TestMissingTopicsTakeTurns(t *testing.T) {
	c, err := New(Config{Brokers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, now := c.meta, time.Now()
	know := func(name string, err sarama.KError) {
		m.cache[name] = &topicInfo{name: name, err: err, at: now, partitions: []partitionInfo{{}}}
		m.watched[name] = &watch{due: now, period: time.Second}
	}
	for i := range 5 * maxUnheard {
		know(fmt.Sprint("missing", i), sarama.ErrUnknownTopicOrPartition)
	}
	for i := range 2 * maxUnheard {
		know(fmt.Sprint("real", i), sarama.ErrNoError)
	}
	m.watched["new"] = &watch{due: now}
	m.asked["asked"] = now
	lots := make([][]string, 6)
	for i := range lots {
		lots[i], _, _ = m.collect()
	}
	known := func(name string) bool { return strings.HasPrefix(name, "real") }
	first := slices.IndexFunc(lots, func(names []string) bool { return known(names[0]) })
	if first > 1 || len(lots[first]) != 2*maxUnheard {
		t.Fatalf("the request number %d asks for %d real topics", first, len(lots[first]))
	}
	rest := slices.Delete(lots, first, first+1)
	if !slices.Contains(rest[0], "new") || !slices.Contains(rest[0], "asked") {
		t.Error("what nothing is known of has to wait")
	}
	seen := map[string]bool{}
	for _, names := range rest {
		if len(names) != maxUnheard || slices.ContainsFunc(names, known) {
			t.Errorf("%d topics are asked for together", len(names))
		}
		for _, name := range names {
			seen[name] = true
		}
	}
	if len(seen) != 5*maxUnheard {
		t.Errorf("%d topics are asked for", len(seen))
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
