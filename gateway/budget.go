package gateway

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// What the filters of a topic's sessions may take of the topic's worker, all
// together: nobody gets a record before all of them have looked at it.
const (
	// filterShare is which part of the time that is, and filterRecord what there is
	// besides for each record: that a topic has much to make up for, and its worker
	// no time to spare, is no reason to do without filters that are quick.
	filterShare  = 4
	filterRecord = 20 * time.Microsecond
	// filterBurst is how much more they may take at once.
	filterBurst = 100 * time.Millisecond
	// filterUnit is what one unit of work takes at most. Where more time has passed
	// it was somebody else who had the processor.
	filterUnit = 100 * time.Nanosecond
	// filterLook is after how much work there is a look at the clock.
	filterLook = 10_000
)

// budget bounds what the filters of a chain take of the worker's time, which each
// has a part in according to the work that it does. What they have taken falls by
// what they may take. Where it comes to more than filterBurst, the filter that has
// taken most is dismissed. What those that are gone have taken is made up for by
// having no new filters for a while, so it is of no use to come with another one.
type budget struct {
	// The worker's own: since when it is measured, and the records that were judged
	// and the work that this was since then.
	since   time.Duration
	records int
	work    int

	// mu guards what follows, and what the sieves have taken: when that fell last,
	// and until when there are no new filters.
	mu   sync.Mutex
	fell time.Duration
	shut time.Duration
}

// free reports whether what was measured is no more than there is for the records.
func (b *budget) free() bool {
	return time.Duration(b.work)*filterUnit <= time.Duration(b.records)*filterRecord
}

// begin begins to measure.
func (b *budget) begin(now time.Duration) { b.since, b.records, b.work = now, 0, 0 }

// look notes what the filters have taken since it is measured, begins anew, and
// dismisses those that take too much.
func (b *budget) look(now time.Duration, verdicts []judged) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fall(b.since, 0, verdicts)
	passed, work := float64(now-b.since), float64(max(b.work, 1))
	for i := range verdicts {
		v := &verdicts[i]
		v.by.taken += min(time.Duration(passed*float64(v.work)/work), time.Duration(v.work)*filterUnit)
		v.work = 0
		if v.by.gone {
			b.expel(v.by, now)
		}
	}
	b.fall(now, b.records, verdicts)
	b.begin(now)
	for taken(verdicts) > filterBurst {
		worst := slices.MaxFunc(verdicts, func(a, b judged) int { return cmp.Compare(a.by.taken, b.by.taken) }).by
		worst.dismissed.Store(true)
		b.expel(worst, now)
	}
}

// fall has what the filters have taken fall by what they may take up to now, and for
// so many records. The lock is held.
func (b *budget) fall(now time.Duration, records int, verdicts []judged) {
	may := (now-b.fell)/filterShare + time.Duration(records)*filterRecord
	b.fell = now
	left := 0.0
	switch sum := taken(verdicts); {
	case sum == 0:
		return
	case sum > may:
		left = 1 - float64(may)/float64(sum)
	}
	for i := range verdicts {
		s := verdicts[i].by
		s.taken = time.Duration(float64(s.taken) * left)
	}
}

// taken returns what filters have taken together.
func taken(verdicts []judged) (sum time.Duration) {
	for i := range verdicts {
		sum += verdicts[i].by.taken
	}
	return sum
}

// leave notes that a filter is not used any more.
func (b *budget) leave(s *sieve, now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expel(s, now)
}

// expel has new filters make up for one that is gone. The lock is held.
func (b *budget) expel(s *sieve, now time.Duration) {
	s.gone = true
	b.shut = max(b.shut, now) + filterShare*s.taken
	s.taken = 0
}

// admits reports whether there may be new filters.
func (b *budget) admits(now time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now >= b.shut
}
