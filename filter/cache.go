package filter

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// DefaultCacheSize is how many expressions a Cache keeps unless told otherwise.
const DefaultCacheSize = 1024

// Cache compiles expressions once, and no more than one at a time, so that
// clients that keep sending new ones occupy one processor at most. Those that
// cannot be compiled are kept as well: nothing but their text decides about that,
// and a client that repeats one should not get it compiled again. It is safe for
// concurrent use.
type Cache struct {
	size      int
	compiling chan struct{} // holds a token while one is compiled

	mu      sync.Mutex
	entries map[string]*list.Element // of *entry, by expression
	recent  *list.List               // of *entry, the last used at the front
}

type entry struct {
	expression string
	filter     *Filter
	err        error
}

// NewCache returns a cache of up to size expressions, or of DefaultCacheSize if
// size is not positive. The least recently used ones are dropped; filters of
// theirs work on.
func NewCache(size int) *Cache {
	if size <= 0 {
		size = DefaultCacheSize
	}
	return &Cache{
		size:      size,
		compiling: make(chan struct{}, 1),
		entries:   make(map[string]*list.Element),
		recent:    list.New(),
	}
}

// ErrBusy means that an expression's turn to be compiled has not come in time.
var ErrBusy = errors.New("other filters are being compiled")

// Get returns the filter of an expression, compiling it if it is new. An error is
// that of Compile, for the client; or ErrBusy, wrapped along with that of ctx, if ctx
// is done before the expression's turn has come.
func (c *Cache) Get(ctx context.Context, expression string) (*Filter, error) {
	expression = strings.TrimSpace(expression)
	if len(expression) > MaxLength { // of no use as a key, and refused at once
		return Compile(expression)
	}
	if found := c.find(expression); found != nil {
		return found.filter, found.err
	}
	select {
	case c.compiling <- struct{}{}:
		defer func() { <-c.compiling }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to compile a filter: %w: %w", ErrBusy, context.Cause(ctx))
	}
	if found := c.find(expression); found != nil { // others wanted the same
		return found.filter, found.err
	}
	expression = strings.Clone(expression) // and not the whole message that it came in
	made := &entry{expression: expression}
	made.filter, made.err = Compile(expression)
	c.add(made)
	return made.filter, made.err
}

func (c *Cache) find(expression string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[expression]
	if !ok {
		return nil
	}
	c.recent.MoveToFront(element)
	return element.Value.(*entry)
}

func (c *Cache) add(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[e.expression] = c.recent.PushFront(e)
	if c.recent.Len() > c.size {
		last := c.recent.Remove(c.recent.Back()).(*entry)
		delete(c.entries, last.expression)
	}
}
