package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// acks times acknowledgements in sessions that may have one record
// unacknowledged, by what is visible on the wire. Each session sends pairs of a
// record and a ping, all at once. The gateway reads the ping of pair k when it
// has handed over record k, which is when record k-1 has been acknowledged. So
// the time between two pongs is how long a record took to be acknowledged.
func (r *run) acks(ctx context.Context, of, all []*publisher) (*total, error) {
	acks := new(total)
	err := r.publishing(*r.target.one, len(of), func(clients []*client) error {
		var mu sync.Mutex
		err := together(len(of), func(i int) error {
			h, err := of[i].pairs(ctx, clients[i], r.o.acks+1)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			acks.add(h)
			return nil
		})
		if err != nil {
			return err
		}
		return r.awaitWritten(ctx, all)
	})
	return acks, err
}

// pairs sends n pairs and returns the times between their pongs.
func (p *publisher) pairs(ctx context.Context, c *client, n int) (*histogram, error) {
	var frames []byte
	for range n {
		frames = appendClientFrame(p.append(frames), opPing, nil)
	}
	if _, err := c.conn.Write(frames); err != nil {
		return nil, err
	}
	gaps := new(histogram)
	var last time.Time
	for range n {
		select {
		case at := <-c.pongs:
			if !last.IsZero() {
				gaps.add(at.Sub(last).Microseconds())
			}
			last = at
		case <-c.done:
			return nil, c.err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(patience):
			return nil, fmt.Errorf("no acknowledgement for %v", patience)
		}
	}
	return gaps, nil
}
