package dedupe_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kafkaws/kafkaws/dedupe"
)

// TestOneOfManyIsFresh has many goroutines publish the same sequences: each
// sequence is written once, and everybody gets its answer.
func TestOneOfManyIsFresh(t *testing.T) {
	const workers, sequences = 16, 500
	m := dedupe.New(dedupe.Config{})
	var fresh [sequences]atomic.Int32
	var answered [sequences]atomic.Int32
	var work, finishing sync.WaitGroup
	start := make(chan struct{})
	for range workers {
		work.Go(func() {
			<-start
			for s := range int64(sequences) {
				verdict, ticket := m.Begin("user", "tab", s, printOf(1), func(a dedupe.Answer) {
					if want := written(s); a.Offset != want.Offset || !a.Duplicate {
						t.Errorf("sequence %d: got %+v", s, a)
					}
					answered[s].Add(1)
				})
				switch verdict {
				case dedupe.Fresh:
					fresh[s].Add(1)
					finishing.Go(func() { m.Finish(ticket, written(s)) })
				case dedupe.Repeated:
				default:
					t.Errorf("sequence %d: %v", s, verdict)
				}
			}
		})
	}
	close(start)
	work.Wait()
	finishing.Wait()
	for s := range sequences {
		if fresh[s].Load() != 1 || answered[s].Load() != workers-1 {
			t.Errorf("sequence %d was fresh %d times and repeated %d times", s, fresh[s].Load(), answered[s].Load())
		}
	}
}

// TestManyOfAll has goroutines do everything in too little room, so that rings
// are halved and producers dropped all the time. The race detector looks on; every
// repeat is answered in the end, with what was written.
func TestManyOfAll(t *testing.T) {
	const entries = 400
	m := dedupe.New(dedupe.Config{Entries: entries, Window: 64, Producers: 4})
	var work, finishing sync.WaitGroup
	var repeated, answered atomic.Int64
	for w := range 8 {
		work.Go(func() {
			for i := range 3000 {
				owner, producer := fmt.Sprint("user-", (w+i)%16), fmt.Sprint("tab-", i%5)
				s := int64(i/8 + (i*7)%20)
				answer := func(a dedupe.Answer) {
					if a.Offset != s {
						t.Errorf("sequence %d: got %+v", s, a)
					}
					answered.Add(1)
				}
				verdict, ticket := m.Begin(owner, producer, s, printOf(1), answer)
				switch verdict {
				case dedupe.Fresh:
					switch again, _ := m.Begin(owner, producer, s, printOf(1), answer); again {
					case dedupe.Repeated:
						repeated.Add(1)
					case dedupe.OutOfWindow:
					default:
						t.Errorf("sequence %d in flight: %v", s, again)
					}
					if i%3 == 0 {
						finishing.Go(func() { m.Finish(ticket, written(s)) })
					} else {
						m.Finish(ticket, written(s))
					}
				case dedupe.Repeated:
					repeated.Add(1)
				case dedupe.Conflict:
					t.Errorf("sequence %d: %v", s, verdict)
				default:
				}
				if used := m.Stats().Entries; used > entries {
					t.Errorf("%d entries are in use", used)
				}
			}
		})
	}
	work.Wait()
	finishing.Wait()
	forgotten := m.Stats().Forgotten
	if repeated.Load() != answered.Load() || repeated.Load() == 0 || forgotten == 0 {
		t.Errorf("%d repeats, %d answers, %d forgotten", repeated.Load(), answered.Load(), forgotten)
	}
}
