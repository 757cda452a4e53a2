package gateway

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// Transform is what the gateway needs of a transform: see package transforms for
// the whole contract.
type Transform interface {
	// Transform keeps r, changed or not, or drops it. It may replace r's
	// slices and writes into none.
	Transform(ctx context.Context, r *record.Record) (keep bool, err error)
}

// Chain is an ordered list of transforms. A nil chain keeps everything as it is.
type Chain struct {
	// ID names the transforms with all their options; chains of the same ID do
	// the same.
	ID string
	// Steps are the transforms, in their order.
	Steps []Transform
	// Limit is how long the steps may take for one record before their context
	// ends; 0 stands for one second.
	Limit time.Duration
}

func (c *Chain) id() string {
	if c == nil {
		return ""
	}
	return c.ID
}

// maxTransform is the default of Chain.Limit.
const maxTransform = time.Second

func (c *Chain) limit() time.Duration { return cmp.Or(c.Limit, maxTransform) }

// run passes a record through the chain. A transform that panics has failed on
// that record; it does not take everybody's sessions with it.
func (c *Chain) run(box *timebox, r *record.Record) (keep bool, err error) {
	if c == nil {
		return true, nil
	}
	ctx := box.open(c.limit())
	defer func() {
		box.close()
		keep = keep && err == nil
	}()
	defer recovered("transform", &err)
	for _, step := range c.Steps {
		if keep, err = step.Transform(ctx, r); err != nil || !keep {
			return false, err
		}
	}
	return true, nil
}

// chained is what a topic's records become by one chain, and the tails that they
// go to. The topic's lock guards it.
type chained struct {
	chain *Chain
	tails []*tail
	// sieves are the filters in use. The slice is not changed but replaced, and
	// changes counts the filters that were added.
	sieves  []*sieve
	changes uint64
	budget  budget

	// What follows is the worker's own: the last put whose records it has
	// transformed, and what they became.
	put      uint64
	records  []record.Record
	verdicts []judged
	// made is the memory of records that were transformed.
	made []record.Record
	box  timebox
}

// apply transforms records. It needs no lock: what a transform does may take
// long.
func (c *chained) apply(t *topic, records []record.Record) {
	if c.chain == nil {
		c.records = records
		return
	}
	made := c.made[:0]
	for i := range records {
		r := records[i]
		keep, err := c.chain.run(&c.box, &r)
		if err != nil {
			t.hub.cfg.skipped(t.name, err)
		}
		if keep {
			made = append(made, r)
		}
	}
	c.made, c.records = made, made
}

// forget lets go of the records, which may hold on to much more than themselves.
func (c *chained) forget() {
	clear(c.made)
	c.records, c.verdicts = nil, nil
}

// timebox gives one record after another a context with time of its own. It costs
// a look at the clock, and a timer only where Done is asked for.
type timebox struct{ ctx *timed }

// open begins a record's time.
func (b *timebox) open(limit time.Duration) context.Context {
	if b.ctx == nil {
		b.ctx = new(timed)
	}
	b.ctx.begin(time.Now().Add(limit))
	return b.ctx
}

// close ends it. A context that others may wait for, such as one that was derived
// from it, has ended for good; another one serves the next record.
func (b *timebox) close() {
	if b.ctx.end() {
		b.ctx = nil
	}
}

// timed is a context that ends at a point in time.
type timed struct {
	mu    sync.Mutex
	until time.Time
	err   error
	done  chan struct{} // nil until it is asked for
	timer *time.Timer
}

func (c *timed) begin(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.err = until, nil
}

// end ends the context, and reports whether anybody has asked for Done.
func (c *timed) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		return false
	}
	c.timer.Stop()
	c.fail(context.Canceled)
	return true
}

// fail ends the context, unless it has. The lock is held.
func (c *timed) fail(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
}

func (c *timed) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(context.DeadlineExceeded)
}

// Deadline implements context.Context.
func (c *timed) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until, true
}

// Done implements context.Context.
func (c *timed) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
		c.timer = time.AfterFunc(time.Until(c.until), c.expire)
	}
	return c.done
}

// Err implements context.Context.
func (c *timed) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && !time.Now().Before(c.until) {
		c.fail(context.DeadlineExceeded)
	}
	return c.err
}

// Value implements context.Context.
func (*timed) Value(any) any { return nil }

var _ context.Context = (*timed)(nil)
