package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialers = 32
	// patience is how long nothing at all may arrive before a run is given up.
	patience = 20 * time.Second
)

// endpoint is where and how a target is spoken to.
type endpoint struct {
	addr, path, subprotocol string
	hello, welcome          string // a first message, and what its answer contains
}

// fleet is all subscribers of one run.
type fleet struct {
	partitions, valueSize int
	since                 atomic.Int64 // latencies count of values written from then on

	clients []*client
	readers sync.WaitGroup
}

func newFleet(o *options) *fleet {
	f := &fleet{partitions: o.partitions, valueSize: o.size}
	f.since.Store(math.MaxInt64)
	return f
}

// grow connects n more clients.
func (f *fleet) grow(e endpoint, n int) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
		left  atomic.Int64
	)
	left.Store(int64(n))
	for range min(dialers, n) {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				c, err := f.dial(e)
				mu.Lock()
				if err != nil && first == nil {
					first = err
				} else if err == nil {
					f.clients = append(f.clients, c)
					f.readers.Go(c.read)
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

// received counts deliveries.
func (f *fleet) received() (n int64) {
	for _, c := range f.clients {
		n += c.received.Load()
	}
	return n
}

// await waits until each client has got so many values.
func (f *fleet) await(ctx context.Context, each int) error {
	want := int64(each) * int64(len(f.clients))
	last, since := int64(-1), time.Now()
	for ctx.Err() == nil {
		got := f.received()
		if got >= want {
			return nil
		}
		if got != last {
			last, since = got, time.Now()
		} else if time.Since(since) > patience {
			return fmt.Errorf("%d of %d deliveries came, and none for %v", got, want, patience)
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
	f.readers.Wait()
	for _, c := range f.clients {
		_ = c.conn.Close()
	}
}

// verdict is what went wrong. The fleet must have been closed.
type verdict struct {
	Lost     int64  `json:"lost"`
	Repeated int64  `json:"repeated_or_out_of_order"`
	Ended    int    `json:"sessions_ended"`
	Why      string `json:"why,omitempty"`
}

// judge looks at all clients, each of which should have got so many values.
func (f *fleet) judge(each int) (v verdict) {
	for _, c := range f.clients {
		v.Repeated += c.repeated
		// What is missing at the end leaves no gap.
		v.Lost += max(c.lost, int64(each)-c.received.Load()+c.repeated)
		if !errors.Is(c.err, os.ErrDeadlineExceeded) {
			v.Ended++
			v.Why = c.err.Error()
		}
	}
	return v
}

func (v verdict) err() error {
	if v.Lost == 0 && v.Repeated == 0 && v.Ended == 0 {
		return nil
	}
	return fmt.Errorf("%d deliveries were lost, %d repeated or out of order, %d sessions ended %s", v.Lost, v.Repeated, v.Ended, v.Why)
}

// latency merges what the clients saw.
func (f *fleet) latency() *total {
	t := new(total)
	for _, c := range f.clients {
		t.add(&c.latency)
	}
	return t
}
