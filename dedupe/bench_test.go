package dedupe_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/kafkaws/kafkaws/dedupe"
)

// TestPublishingAllocatesNothing counts what a record costs once its producer's
// ring has its width: nothing, be it fresh or repeated.
func TestPublishingAllocatesNothing(t *testing.T) {
	m := dedupe.New(dedupe.Config{})
	sequence, answers := int64(0), 0
	done := func(dedupe.Answer) { answers++ }
	publish := func() {
		_, ticket := m.Begin("user", "tab", sequence, printOf(1), done)
		m.Finish(ticket, written(sequence))
		m.Begin("user", "tab", sequence, printOf(1), done)
		sequence++
	}
	for range 2000 {
		publish()
	}
	if got := testing.AllocsPerRun(1000, publish); got != 0 {
		t.Errorf("%v allocations", got)
	}
	if int64(answers) != sequence {
		t.Errorf("%d answers to %d repeats", answers, sequence)
	}
}

// BenchmarkPublish is a Begin that is fresh and its Finish; each goroutine is a
// producer.
func BenchmarkPublish(b *testing.B) {
	m := dedupe.New(dedupe.Config{})
	var producers atomic.Int32
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		producer := fmt.Sprint("tab-", producers.Add(1))
		sequence := int64(0)
		for pb.Next() {
			_, ticket := m.Begin("user", producer, sequence, printOf(1), nil)
			m.Finish(ticket, written(sequence))
			sequence++
		}
	})
}

// BenchmarkPublishCrowded is the same of producers that have no room for the
// whole window, in turns.
func BenchmarkPublishCrowded(b *testing.B) {
	for _, producers := range []int{500, 3000, 20_000} {
		b.Run(fmt.Sprint(producers), func(b *testing.B) {
			m := dedupe.New(dedupe.Config{})
			names := make([]string, producers)
			for i := range names {
				names[i] = fmt.Sprint("user-", i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				sequence := int64(i / producers)
				_, ticket := m.Begin(names[i%producers], "tab", sequence, printOf(1), nil)
				m.Finish(ticket, written(sequence))
			}
			b.ReportMetric(float64(m.Stats().Forgotten)/float64(b.N), "forgotten/op")
		})
	}
}

func BenchmarkRepeat(b *testing.B) {
	m := dedupe.New(dedupe.Config{})
	_, ticket := m.Begin("user", "tab", 0, printOf(1), nil)
	m.Finish(ticket, written(0))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		done := func(dedupe.Answer) {}
		for pb.Next() {
			m.Begin("user", "tab", 0, printOf(1), done)
		}
	})
}
