package gateway

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// Filter is a condition that records have to match for a session to get them. It
// sees them as they come out of the chain of transforms.
type Filter interface {
	// ID tells filters apart: those of the same ID match the same.
	ID() string
	// Match reports whether a record is wanted. seen is nil, or what Match of
	// another filter has returned for the same record, so that they need not
	// both find out what is in it. work is about how much was done, in units of
	// up to a tenth of a microsecond. Match is called by many goroutines at once,
	// must not take long, and depends on nothing but the record.
	Match(r *record.Record, seen any) (wanted bool, view any, work int)
}

// MakeFilter makes a client's filter, which may have to wait until those of others
// are made. It returns ErrFiltersBusy where ctx is done before, or what is wrong with
// the filter.
type MakeFilter func(ctx context.Context) (Filter, error)

// filter returns the filter; none where there is nothing to make.
func (m MakeFilter) filter(ctx context.Context) (Filter, error) {
	if m == nil {
		return nil, nil
	}
	return m(ctx)
}

// ErrFiltersBusy means that the filters of too many clients are being made for one
// more to be in time.
var ErrFiltersBusy = errors.New("too many filters are being compiled")

// maxFilters is how many different filters the sessions of one topic and chain
// may have. Each is evaluated for each record.
const maxFilters = 100

// Errors of filters.
var (
	// ErrTooManyFilters means that the sessions of a topic have as many different
	// filters as they may.
	ErrTooManyFilters = errors.New("the topic has too many different filters")
	// ErrSlowFilter means that the filter takes longer than the topic has time for.
	// The same filter may do where less comes, or the other filters take less.
	ErrSlowFilter = errors.New("the filter takes too long for the topic")
	// ErrSlowFilters means that filters which are gone took so long that the topic
	// takes no new ones for a moment.
	ErrSlowFilters = errors.New("the topic has no time for new filters")
)

// sieve is a filter in use by the sessions of a chain. The topic's lock guards its
// users.
type sieve struct {
	Filter
	users int
	// dismissed tells that the filter takes too long. It is set before any record
	// that the filter was not asked about is seen in the tails.
	dismissed atomic.Bool
	// taken is the time that the filter has taken of late, and gone tells that it is
	// used no more, or not for long; the budget's lock guards them.
	taken time.Duration
	gone  bool
}

// bitmap is a set of numbers.
type bitmap []uint64

func (b bitmap) has(i int) bool { return i>>6 < len(b) && b[i>>6]>>(i&63)&1 == 1 }

func (b *bitmap) add(i int) {
	for i>>6 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i>>6] |= 1 << (i & 63)
}

// sift puts a filter to use, or one that is already and matches the same. The
// topic's lock is held.
func (c *chained) sift(f Filter, now time.Duration) (*sieve, error) {
	for _, s := range c.sieves {
		if s.ID() != f.ID() {
			continue
		}
		if s.dismissed.Load() {
			return nil, ErrSlowFilter
		}
		s.users++
		return s, nil
	}
	switch {
	case len(c.sieves) == maxFilters:
		return nil, ErrTooManyFilters
	case !c.budget.admits(now):
		return nil, ErrSlowFilters
	}
	s := &sieve{Filter: f, users: 1}
	c.sieves = append(slices.Clip(c.sieves), s)
	// Records that are being transformed at this moment have not passed it, and
	// neither have those that wait for the other chains.
	c.changes++
	c.put = 0
	return s, nil
}

// discard takes a use of a filter back. The topic's lock is held.
func (c *chained) discard(s *sieve, now time.Duration) {
	if s.users--; s.users == 0 {
		c.sieves = slices.DeleteFunc(slices.Clone(c.sieves), func(other *sieve) bool { return other == s })
		c.budget.leave(s, now)
	}
}

// dismiss takes the filters out that take too long, of those that have just judged,
// and reports whether there were any. Their sessions notice. The topic's lock is
// held.
func (c *chained) dismiss(sieves []*sieve) bool {
	slow := func(s *sieve) bool { return s.dismissed.Load() }
	if !slices.ContainsFunc(sieves, slow) {
		return false
	}
	c.sieves = slices.DeleteFunc(slices.Clone(c.sieves), slow)
	return true
}

// judged is which of a chain's records a filter lets pass, by their number, and the
// work that was done for that since the budget was last looked at.
type judged struct {
	by     *sieve
	wanted bitmap
	work   int
}

// judge has all filters look at the records that came out of the chain, except those
// that turn out to take too long. It needs no lock.
func (c *chained) judge(h *Hub, sieves []*sieve) {
	c.verdicts = c.verdicts[:0]
	for _, s := range sieves {
		c.verdicts = append(c.verdicts, judged{by: s, wanted: make(bitmap, (len(c.records)+63)/64)})
	}
	if len(sieves) == 0 || len(c.records) == 0 {
		return
	}
	b := &c.budget
	b.begin(h.now())
	for i := range c.records {
		var view any
		for j := range c.verdicts {
			v := &c.verdicts[j]
			if v.by.dismissed.Load() {
				continue
			}
			wanted, seen, work := v.by.Match(&c.records[i], view)
			if view = seen; wanted {
				v.wanted.add(i)
			}
			v.work += work
			if b.work += work; b.work >= filterLook {
				b.look(h.now(), c.verdicts)
			}
		}
		b.records++
	}
	if !b.free() {
		b.look(h.now(), c.verdicts)
	}
}

// sifted is which of a segment's entries a filter lets pass.
type sifted struct {
	by     *sieve
	wanted bitmap
}

// sift notes what the filters said of a record, whose entry is the last. The lock
// of the indexes is held.
func (x *index) sift(verdicts []judged, record int) {
	for i := range x.sifted {
		for j := range verdicts {
			if verdicts[j].by == x.sifted[i].by {
				if verdicts[j].wanted.has(record) {
					x.sifted[i].wanted.add(len(x.entries) - 1)
				}
				break
			}
		}
	}
}

// bits returns which entries a filter lets pass. The lock of the indexes is held.
func (x *index) bits(by *sieve) bitmap {
	for i := range x.sifted {
		if x.sifted[i].by == by {
			return x.sifted[i].wanted
		}
	}
	return nil
}

// passedBy reports whether a filter was asked about the index's records: it is not
// where it is newer than the segment.
func (x *index) passedBy(by *sieve) bool {
	return by == nil || slices.ContainsFunc(x.sifted, func(s sifted) bool { return s.by == by })
}
