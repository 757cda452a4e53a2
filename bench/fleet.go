package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialers = 32
	// patience is how long nothing at all may arrive before a run is given up.
	patience = 20 * time.Second
)

// fleet is all subscribers of one run.
type fleet struct {
	load load
	// Latencies count of values written from since on and before until, in
	// microseconds since 1970.
	since, until atomic.Int64
	inflater     *inflater
	pongs        int // that each client may get
	clients      []*client
}

func newFleet(l load) *fleet {
	f := &fleet{load: l, inflater: newInflater()}
	f.since.Store(math.MaxInt64)
	f.until.Store(math.MaxInt64)
	return f
}

// grow connects n more clients. Which topics the one with some number follows,
// and where it finds them, where tells.
func (f *fleet) grow(n int, where func(number int) (endpoint, []int)) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
		taken atomic.Int64
	)
	taken.Store(int64(len(f.clients)))
	end := int64(len(f.clients) + n)
	for range min(dialers, n) {
		wg.Go(func() {
			for number := taken.Add(1) - 1; number < end; number = taken.Add(1) - 1 {
				e, topics := where(int(number))
				c, _, err := f.dial(e, topics)
				mu.Lock()
				if err != nil && first == nil {
					first = err
				} else if err == nil {
					f.clients = append(f.clients, c)
					go c.read()
				}
				stop := first != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	if first != nil {
		return fmt.Errorf("connecting: %w", first)
	}
	return nil
}

// join connects n clients, all at once, that begin at the numbers which at tells
// for each.
func (f *fleet) join(n int, at func(number int) (endpoint, []int64)) error {
	var mu sync.Mutex
	err := together(n, func(i int) error {
		e, next := at(i)
		c, _, err := f.dial(e, []int{0})
		if err != nil {
			return err
		}
		c.begin(next)
		mu.Lock()
		defer mu.Unlock()
		f.clients = append(f.clients, c)
		go c.read()
		return nil
	})
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	return nil
}

// received counts deliveries.
func (f *fleet) received() (n int64) {
	for _, c := range f.clients {
		n += c.received.Load()
	}
	return n
}

// wanted counts the deliveries of what was written.
func (f *fleet) wanted(written []int64) (n int64) {
	topics := make([]int64, f.load.topics)
	for stream, n := range written {
		topics[stream/f.load.partitions] += n
	}
	for _, c := range f.clients {
		for _, t := range c.topics {
			n += topics[t]
		}
	}
	return n
}

// await waits until all clients have got so many values together.
func (f *fleet) await(ctx context.Context, want int64) error {
	return awaitCount(ctx, want, "deliveries came", func() (int64, error) { return f.received(), nil })
}

// awaitEach waits until each client has got so many values.
func (f *fleet) awaitEach(ctx context.Context, want int64) error {
	return awaitCount(ctx, want*int64(len(f.clients)), "deliveries came", func() (n int64, err error) {
		for _, c := range f.clients {
			n += min(c.received.Load(), want)
		}
		return n, nil
	})
}

// awaitSome waits until a tenth of the clients have got so many values.
func (f *fleet) awaitSome(ctx context.Context, want int64) error {
	var got []int64
	return awaitCount(ctx, want, "deliveries came to a tenth of the sessions", func() (int64, error) {
		got = got[:0]
		for _, c := range f.clients {
			got = append(got, c.received.Load())
		}
		slices.Sort(got)
		return got[len(got)-max(1, len(got)/10)], nil
	})
}

// awaitCount waits for a number that grows.
func awaitCount(ctx context.Context, want int64, what string, count func() (int64, error)) error {
	last, since := int64(-1), time.Now()
	for ctx.Err() == nil {
		got, err := count()
		if err != nil || got >= want {
			return err
		}
		if got != last {
			last, since = got, time.Now()
		} else if time.Since(since) > patience {
			return fmt.Errorf("%d of %d %s, and none for %v", got, want, what, patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return ctx.Err()
}

// close disconnects all clients, and is no error that one of them reports.
func (f *fleet) close() {
	for _, c := range f.clients {
		_ = c.conn.SetReadDeadline(time.Now())
	}
	for _, c := range f.clients {
		c.close()
	}
}

// judge looks at all clients, given how many values each stream has. The fleet
// must have been closed.
func (f *fleet) judge(written []int64) (v verdict) {
	for _, c := range f.clients {
		v.add(c.judge(written))
	}
	return v
}

// latency merges what the clients saw.
func (f *fleet) latency() *total {
	t := new(total)
	for _, c := range f.clients {
		t.add(&c.latency)
	}
	return t
}

// verdict is what went wrong.
type verdict struct {
	Lost     int64  `json:"lost"`
	Repeated int64  `json:"repeated_or_out_of_order"`
	Ended    int    `json:"sessions_ended"`
	Why      string `json:"why,omitempty"`
}

func (v *verdict) add(other verdict) {
	v.Lost += other.Lost
	v.Repeated += other.Repeated
	v.Ended += other.Ended
	if other.Why != "" {
		v.Why = other.Why
	}
}

func (v verdict) err() error {
	if v.Lost == 0 && v.Repeated == 0 && v.Ended == 0 {
		return nil
	}
	return fmt.Errorf("%d records were lost, %d repeated or out of order, %d sessions ended %s", v.Lost, v.Repeated, v.Ended, v.Why)
}
