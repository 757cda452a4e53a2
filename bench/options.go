package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// bufferMiB is the product's consumer buffer. A flood has to fit into it.
const bufferMiB = 64

// envelope is more than what frames add to a value.
const envelope = 100

// options are how large everything is.
type options struct {
	targets, scenarios []string
	rounds             int
	subscribers        int
	partitions         int
	size               int           // of a value, in bytes
	records            int           // of a flood
	rate               int           // of what is steady, records a second
	duration           time.Duration // of what is steady
	warmUp             int           // records
	settle             time.Duration // before idle memory is read
	out                string
}

func parseOptions(args []string) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	targets := flags.String("targets", strings.Join(targetNames(), ","), "what is measured")
	scenarios := flags.String("scenarios", strings.Join(scenarioNames(), ","), "how")
	flags.IntVar(&o.rounds, "rounds", 3, "how often")
	flags.IntVar(&o.subscribers, "subscribers", 1000, "sessions")
	flags.IntVar(&o.partitions, "partitions", 4, "partitions of a topic")
	flags.IntVar(&o.size, "size", 200, "bytes of a record's value")
	flags.IntVar(&o.records, "records", 20_000, "records of a flood")
	flags.IntVar(&o.rate, "rate", 100, "records a second of the steady scenario")
	flags.DurationVar(&o.duration, "duration", 10*time.Second, "length of the steady scenario")
	flags.IntVar(&o.warmUp, "warm-up", 100, "records before those that are measured")
	flags.DurationVar(&o.settle, "settle", 5*time.Second, "wait before the memory of idle sessions is read")
	flags.StringVar(&o.out, "out", "results.json", "`file` for the results")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	o.targets, o.scenarios = strings.Split(*targets, ","), strings.Split(*scenarios, ",")
	return o, o.check()
}

func (o *options) check() error {
	for _, name := range o.targets {
		if !slices.Contains(targetNames(), name) {
			return fmt.Errorf("there is no target %s", name)
		}
	}
	for _, name := range o.scenarios {
		if !slices.Contains(scenarioNames(), name) {
			return fmt.Errorf("there is no scenario %s", name)
		}
	}
	for _, n := range []int{o.rounds, o.subscribers, o.partitions, o.records, o.rate} {
		if n < 1 {
			return errors.New("rounds, subscribers, partitions, records and the rate are 1 at least")
		}
	}
	if o.size < minValue || o.partitions > 100 {
		return fmt.Errorf("values have %d bytes at least, and topics 100 partitions at most", minValue)
	}
	if o.floodBytes() > bufferMiB<<20 {
		return fmt.Errorf("a flood of %d records of %d bytes does not stay within the product's buffer of %d MiB: "+
			"sessions that fall off it are closed", o.records, o.size, bufferMiB)
	}
	return nil
}

// floodBytes is what a flood takes up in the product's buffer.
func (o *options) floodBytes() int { return (o.records + o.warmUp) * (o.size + envelope) }
