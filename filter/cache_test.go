package filter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func mustGet(t *testing.T, c *Cache, expression string) *Filter {
	t.Helper()
	f, err := c.Get(t.Context(), expression)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	c := NewCache(2)
	one := mustGet(t, c, `record.key == "1"`)
	two := mustGet(t, c, `record.key == "2"`)
	if mustGet(t, c, " record.key == \"1\"\n") != one {
		t.Error("compiled again")
	}
	three := mustGet(t, c, `record.key == "3"`)
	if mustGet(t, c, one.ID()) != one || mustGet(t, c, three.ID()) != three {
		t.Error("what was used last was dropped")
	}
	again := mustGet(t, c, two.ID())
	if again == two {
		t.Error("more than two are kept")
	}
	r := of(order)
	r.Key = []byte("2")
	for _, f := range []*Filter{two, again} {
		if wanted, _, _ := f.Match(r, nil); !wanted {
			t.Error("a filter that was dropped does not work")
		}
	}
}

func TestCacheKeepsErrors(t *testing.T) {
	c := NewCache(0)
	_, first := c.Get(t.Context(), `recrd.key == "1"`)
	_, second := c.Get(t.Context(), `recrd.key == "1"`)
	if first == nil || first != second { //nolint:errorlint // it is the very same
		t.Errorf("%v, %v", first, second)
	}
	if _, err := c.Get(t.Context(), strings.Repeat("x", MaxLength+1)); err == nil || c.recent.Len() != 1 {
		t.Errorf("%v, %d kept", err, c.recent.Len())
	}
}

func TestCacheCompilesOnce(t *testing.T) {
	c := NewCache(0)
	found := make([]*Filter, 32)
	var group sync.WaitGroup
	for i := range found {
		group.Go(func() { found[i], _ = c.Get(t.Context(), fmt.Sprintf(`record.offset == %d`, i%2)) })
	}
	group.Wait()
	for i, f := range found {
		if f == nil || f != found[i%2] {
			t.Errorf("%d: another filter", i)
		}
	}
}

func TestCacheWaitsNoLongerThanItsContext(t *testing.T) {
	c := NewCache(0)
	known := mustGet(t, c, `true`)
	c.compiling <- struct{}{} // somebody's expression takes long
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Get(ctx, `false`)
		done <- err
	}()
	if mustGet(t, c, `true`) != known {
		t.Error("what is known has to wait")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	<-c.compiling
	mustGet(t, c, `false`)
}
