package main

import (
	"fmt"
	"slices"
)

// Transports: what is between the frames and TCP.
const (
	plain   = "plain"
	overTLS = "tls"
	deflate = "deflate"
)

func transportNames() []string { return []string{plain, overTLS, deflate} }

// load is one case of a scenario: what is put on a target in one run.
type load struct {
	name       string // tells the scenario's cases apart
	transport  string
	sessions   int
	topics     int
	follow     int // how many of the topics each session subscribes to
	partitions int // of each topic
	size       int // of a value, in bytes
	records    int // of a flood
	rate       int // of what is steady, records a second
	// batch, if it is not 0, is how many bytes a batch of records has in Kafka at
	// most, and it is not compressed. Otherwise they are as the client makes them.
	batch int32
}

// base is the load that the options describe, with as many sessions.
func (o *options) base(sessions int) load {
	return load{
		name: plural(sessions, "session"), transport: plain, sessions: sessions, topics: 1, follow: 1,
		partitions: o.partitions, size: o.size, records: o.records, rate: o.rate,
	}
}

// plural names so many things.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// streams is how many sequences of numbers the values have.
func (l load) streams() int { return l.topics * l.partitions }

// floodBytes is what a flood of so many records takes up in the product's buffer.
func floodBytes(records, size int) int { return records * (size + envelope) }

// once is one case, whose sessions are the scenario's own matter.
func once(o *options) []load {
	l := o.base(0)
	l.name = "all"
	return []load{l}
}

// overTransports is a case for each number of sessions over each transport that
// was asked for, but for those that say nothing here.
func overTransports(without ...string) func(o *options) []load {
	return func(o *options) (loads []load) {
		for _, transport := range o.transports {
			for _, sessions := range o.sizes {
				l := o.base(sessions)
				l.name += ", " + transport
				l.transport = transport
				if !slices.Contains(without, transport) {
					loads = append(loads, l)
				}
			}
		}
		return loads
	}
}

// upTo keeps the numbers that do not exceed the largest number of sessions.
func (o *options) upTo(numbers ...int) (kept []int) {
	for _, n := range numbers {
		if n <= o.mostSessions() {
			kept = append(kept, n)
		}
	}
	return kept
}
