package kafka

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff returns how long to wait after so many failures in a row: least after
// the first, doubling up to most, with up to a quarter taken off at random so
// that the gateways of a site do not ask in step.
func backoff(failures int, least, most time.Duration) time.Duration {
	d := least
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// sleep waits, and reports whether it was not cut short by ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
