package kafka

import (
	"strings"

	"github.com/rcrowley/go-metrics"
)

// discardMetrics is a registry that keeps nothing and hands out instruments that
// do nothing. It does for one client what go-metrics' UseNilMetrics does for the
// whole process, and so leaves other users of sarama in the process alone.
type discardMetrics struct{}

// GetOrRegister returns an instrument of the kind asked for that does nothing.
func (discardMetrics) GetOrRegister(_ string, metric any) any {
	switch metric.(type) {
	case func() metrics.Meter, metrics.Meter:
		return metrics.NilMeter{}
	case func() metrics.Histogram, metrics.Histogram:
		return metrics.NilHistogram{}
	case func() metrics.Counter, metrics.Counter:
		return metrics.NilCounter{}
	default:
		return metric
	}
}

// Each does nothing.
func (discardMetrics) Each(func(string, any)) {}

// Get returns nil.
func (discardMetrics) Get(string) any { return nil }

// GetAll returns nil.
func (discardMetrics) GetAll() map[string]map[string]any { return nil }

// Register does nothing.
func (discardMetrics) Register(string, any) error { return nil }

// RunHealthchecks does nothing.
func (discardMetrics) RunHealthchecks() {}

// Unregister does nothing.
func (discardMetrics) Unregister(string) {}

// UnregisterAll does nothing.
func (discardMetrics) UnregisterAll() {}

// defaultMetrics is go-metrics' registry for the whole process without one kind
// of entry: sarama counts the fetches of every topic there, besides where it was
// told to, and never lets go of them.
type defaultMetrics struct{ metrics.Registry }

// GetOrRegister does what the registry does, but for sarama's counts of fetches.
func (r defaultMetrics) GetOrRegister(name string, metric any) any {
	if strings.HasPrefix(name, "consumer-fetch-rate-for-topic-") {
		return discardMetrics{}.GetOrRegister(name, metric)
	}
	return r.Registry.GetOrRegister(name, metric)
}

func init() { metrics.DefaultRegistry = defaultMetrics{metrics.DefaultRegistry} }
