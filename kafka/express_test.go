package kafka

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// polls notes how many partitions fetches name, and whether a topic's is among
// them.
type polls struct {
	mu      sync.Mutex
	crowded int // requests with very many partitions
	both    int // of those, with the topic's
	seen    chan struct{}
}

func watchPolls(f *kfake.Cluster, topic string) *polls {
	w := &polls{seen: make(chan struct{}, 1)}
	f.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		n, there := 0, false
		for _, t := range kreq.(*kmsg.FetchRequest).Topics {
			n += len(t.Partitions)
			there = there || t.Topic == topic
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n > crowd {
			w.crowded++
			if there {
				w.both++
			}
		}
		select {
		case w.seen <- struct{}{}:
		default:
		}
		return nil, nil, false
	})
	return w
}

func (w *polls) counts() (crowded, both int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.crowded, w.both
}

// One busy partition beside many idle ones: its records are not paid for with a
// request for all of them each.
func TestABusyPartitionIsReadApart(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "busy", "new"), kfake.SeedTopics(4*crowd, "idle"))
	cl := kclient(t, f)
	c := newCluster(t, f, func(tm *timings) { tm.busy = 300 * time.Millisecond })
	idle, busy := read(t, c, "idle", true), read(t, c, "busy", true)
	idle.started()
	busy.started()
	put(t, cl, "busy", 0, "0")
	busy.wants(0, "0")
	// Until the first long poll is over, what is new is with the express.
	src := c.Source(true).(*source)
	for settled, deadline := false, time.Now().Add(patience); !settled; <-time.After(time.Millisecond) {
		src.mu.Lock()
		for _, l := range src.loops {
			settled = len(l.ahead) <= crowd
		}
		src.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("all partitions stay with the express")
		}
	}
	w := watchPolls(f, "busy")
	const n = 100
	for i := 1; i < n; i++ {
		put(t, cl, "busy", 0, fmt.Sprint(i))
		busy.wants(0, numbered("", 0, i+1)...)
	}
	if crowded, _ := w.counts(); crowded > n/2 {
		t.Errorf("%d of %d records had all partitions asked for", crowded, n)
	}
	// The others are not forgotten meanwhile, nor what is new.
	put(t, cl, "idle", 3*crowd, "x")
	idle.wants(3*crowd, "x")
	added := read(t, c, "new", true)
	added.started()
	put(t, cl, "new", 0, "x")
	added.wants(0, "x")
	// When it has been quiet it goes back to them.
	_, before := w.counts()
	for deadline := time.After(patience); ; {
		if _, both := w.counts(); both > before {
			break
		}
		select {
		case <-w.seen:
		case <-deadline:
			t.Fatal("a quiet partition is never asked for with the others")
		}
	}
	put(t, cl, "busy", 0, "end")
	busy.wants(0, append(numbered("", 0, n), "end")...)
}

// The express is left with nothing but partitions that went quiet, and the loop
// with none: it has to take them back, or they would be polled for ever.
func TestQuietPartitionsGoBack(t *testing.T) {
	const n = crowd + 10
	f := newFake(t, kfake.SeedTopics(n, "a"))
	cl := kclient(t, f)
	c := newCluster(t, f, func(tm *timings) { tm.busy, tm.idle = 500*time.Millisecond, 50*time.Millisecond })
	s := read(t, c, "a", true)
	s.started()
	for p := range int32(n) {
		put(t, cl, "a", p, "x")
	}
	for p := range int32(n) {
		s.wants(p, "x")
	}
	src := c.Source(true).(*source)
	for deadline := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		src.mu.Lock()
		left := 0
		for _, l := range src.loops {
			left += len(l.ahead)
			if l.express != nil {
				left++
			}
		}
		src.mu.Unlock()
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the express goes on")
		}
	}
	put(t, cl, "a", 7, "y")
	s.wants(7, "x", "y")
}
