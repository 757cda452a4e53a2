package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/internal/tcpproxy"
	"github.com/kafkaws/kafkaws/record"
)

// hasty shortens the time after which silence is an outage.
func hasty(tm *timings) { tm.silence = 200 * time.Millisecond }

// unreachable asks as the gateway does, until ok holds.
func unreachable(t *testing.T, c *Cluster, what string, ok func(since time.Time) bool) time.Time {
	t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		since := c.Source(false).Unreachable()
		if ok(since) {
			return since
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting until %s: it is %v", what, since)
		}
	}
}

func down(t *testing.T, c *Cluster) time.Time {
	t.Helper()
	return unreachable(t, c, "the brokers are unreachable", func(since time.Time) bool { return !since.IsZero() })
}

func up(t *testing.T, c *Cluster) {
	t.Helper()
	unreachable(t, c, "the brokers are reachable", time.Time.IsZero)
}

func TestBrokersThatAreGoneAreUnreachable(t *testing.T) {
	start, addr := restartable(t)
	f := start()
	c, err := New(Config{Brokers: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hasty(&c.timings)
	s := read(t, c, "a", true)
	s.started()
	up(t, c)
	for range 2 {
		before := time.Now()
		f.Close()
		since := down(t, c)
		if since.Before(before.Add(-time.Second)) || since.After(time.Now()) {
			t.Errorf("since %v; it was closed at %v", since, before)
		}
		for range 10 {
			if again := c.Source(true).Unreachable(); !again.Equal(since) {
				t.Errorf("since %v, and then %v", since, again)
			}
		}
		f = start()
		up(t, c)
	}
	put(t, kclient(t, f), "a", 0, "x")
	s.wants(0, "x")
}

// Who has never found a broker is told as well.
func TestBrokersThatWereNeverThereAreUnreachable(t *testing.T) {
	proxy := tcpproxy.Start(t, "")
	proxy.Refuse(true)
	c, err := New(Config{Brokers: []string{proxy.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hasty(&c.timings)
	if since := c.Source(true).Unreachable(); !since.IsZero() {
		t.Errorf("nothing was asked, and unreachable since %v", since)
	}
	begun := time.Now()
	read(t, c, "a", true)
	if since := down(t, c); since.Before(begun) {
		t.Errorf("since %v, and the first question was asked after %v", since, begun)
	}
	c.Close()
	c.Source(true).Unreachable() // asks nobody any more
}

// hush has brokers swallow requests, those of a kind or all of them.
type hush struct {
	keys atomic.Pointer[func(broker int32, key kmsg.Key) bool]
}

func newHush(f *kfake.Cluster) *hush {
	h := &hush{}
	f.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		mute := h.keys.Load()
		return nil, nil, mute != nil && (*mute)(f.CurrentNode(), kmsg.Key(r.Key()))
	})
	return h
}

func (h *hush) set(mute func(broker int32, key kmsg.Key) bool) { h.keys.Store(&mute) }

// Connections that stay open while nothing comes from the other side: long before
// a request has failed, the brokers are unreachable.
func TestBrokersThatSayNothingAreUnreachable(t *testing.T) {
	f := newFake(t, kfake.NumBrokers(2), kfake.SeedTopics(4, "a"))
	h := newHush(f)
	c := newCluster(t, f, hasty)
	read(t, c, "a", true).started()
	up(t, c)
	before := time.Now()
	h.set(func(int32, kmsg.Key) bool { return true })
	if since := down(t, c); since.Before(before.Add(-time.Second)) {
		t.Errorf("since %v; they went silent at %v", since, before)
	}
	if took := time.Since(before); took > readTimeout {
		t.Errorf("it took %v", took)
	}
	h.set(func(int32, kmsg.Key) bool { return false })
	up(t, c) // the reading itself waits for its answers for longer
}

// The only broker that is asked for records is dead, and the others are well.
func TestOneBrokerOfThreeIsNotAllOfThem(t *testing.T) {
	t.Parallel()
	f := newFake(t, kfake.NumBrokers(3), kfake.SeedTopics(1, "a"))
	leader := f.LeaderFor("a", 0)
	h := newHush(f)
	// Long enough that no handshake is missed because the machine is busy.
	c := newCluster(t, f, func(tm *timings) { tm.silence = time.Second })
	read(t, c, "a", true).started()
	var handshakes atomic.Int64
	h.set(func(broker int32, key kmsg.Key) bool {
		if broker != leader && key == kmsg.ApiVersions {
			handshakes.Add(1)
		}
		return broker == leader
	})
	unreachable(t, c, "others were asked several times whether they are there", func(since time.Time) bool {
		if !since.IsZero() {
			t.Fatalf("unreachable since %v", since)
		}
		return handshakes.Load() >= 3
	})
	h.set(func(int32, kmsg.Key) bool { return true })
	down(t, c)
	h.set(func(broker int32, _ kmsg.Key) bool { return broker == leader })
	up(t, c)
}

// Polls that find nothing for longer than what is a silence otherwise.
func TestLongPollsAreNoSilence(t *testing.T) {
	t.Parallel()
	f := newFake(t, kfake.SeedTopics(1, "a"))
	k := count(f)
	c := newCluster(t, f, func(tm *timings) { tm.longPoll = 3 * time.Second })
	read(t, c, "a", true).started()
	unreachable(t, c, "some polls are through", func(since time.Time) bool {
		if !since.IsZero() {
			t.Fatalf("unreachable since %v", since)
		}
		return k.of(kmsg.Fetch) >= 4
	})
}

// However long a question is open, only what a broker should have answered by now
// makes the others be asked.
func TestQuestionsThatMayTakeTheirTime(t *testing.T) {
	for late, want := range map[bool]bool{false: false, true: true} {
		c := newCluster(t, newFake(t))
		var q question
		c.silence.ask(&q, 2*time.Hour)
		c.silence.mu.Lock()
		q.asked = q.asked.Add(-time.Hour)
		if late {
			q.due = q.due.Add(-3 * time.Hour)
		}
		c.silence.mu.Unlock()
		if since := c.Source(true).Unreachable(); !since.IsZero() {
			t.Errorf("late %v: unreachable since %v, before any broker was asked", late, since)
		}
		c.silence.mu.Lock()
		probed := c.silence.probing || !c.silence.probed.IsZero()
		c.silence.mu.Unlock()
		if probed != want {
			t.Errorf("late %v: the brokers were asked: %v", late, probed)
		}
	}
}

// Silence is noticed as well where records are read once only, or written only.
func TestSilenceWithoutAReading(t *testing.T) {
	for name, use := range map[string]func(ctx context.Context, c *Cluster) error{
		"reading once": func(ctx context.Context, c *Cluster) error {
			_, err := c.Source(true).Fetch(ctx, "a", 0, 0)
			return err
		},
		"writing": func(ctx context.Context, c *Cluster) error {
			return newProducer(t, c, ProducerConfig{Acks: "none"}).Publish(ctx, text("a", "y"), func(record.Outcome) {})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a"))
			put(t, kclient(t, f), "a", 0, "x")
			var broken atomic.Bool
			broken.Store(true)
			f.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
				f.KeepControl()
				return nil, errors.New("broken"), broken.Load()
			})
			c := newCluster(t, f, hasty)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = use(ctx, c)
			}()
			down(t, c)
			broken.Store(false)
			up(t, c)
			cancel()
			<-done
			if err := use(t.Context(), c); err != nil {
				t.Error(err)
			}
			up(t, c)
		})
	}
}

// A real broker behind a network that comes and goes, with the default times.
func TestRealKafkaUnreachable(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, kafkatest.Proxied())
	b.CreateTopic(t, "a", 2, nil)
	c, err := New(Config{Brokers: []string{b.Proxy().Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := read(t, c, "a", true)
	s.started()
	up(t, c)
	cl := realClient(t, b)
	for i, trouble := range []func(on bool){
		b.Proxy().Blackhole,
		func(on bool) { b.Proxy().Refuse(on); b.Proxy().Cut() },
		func(on bool) {
			if on {
				b.Pause(t)
			} else {
				b.Resume(t)
			}
		},
	} {
		before := time.Now()
		trouble(true)
		since := down(t, c)
		t.Logf("trouble %d: unreachable after %v, since %v after it began", i, time.Since(before), since.Sub(before))
		if since.Before(before.Add(-2 * time.Second)) {
			t.Errorf("since %v before it began", before.Sub(since))
		}
		trouble(false)
		up(t, c)
		put(t, cl, "a", 0, fmt.Sprint(i))
		s.wants(0, numbered("", 0, i+1)...)
	}
}
