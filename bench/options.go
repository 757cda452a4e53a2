package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// bufferMiB is the product's consumer buffer. A flood has to fit into it.
	bufferMiB = 64
	// envelope is more than what frames add to a value.
	envelope = 100
	// sharedMiB is what the product holds for clients that are behind: a quarter
	// of its buffer_total, 256 MiB by default.
	sharedMiB = 64
	// maxAcks keeps the pings of a session within what the product takes at once.
	maxAcks = 900
)

// options are how large everything is.
type options struct {
	targets, scenarios, transports []string

	rounds     int
	sizes      []int // numbers of sessions
	partitions int
	size       int           // of a value, in bytes
	records    int           // of a flood
	rate       int           // of what is steady, records a second
	duration   time.Duration // of what is steady
	warmUp     int           // records
	settle     time.Duration // before idle memory is read
	publishers int
	published  int // records, by all of them
	acks       int // that each publisher times
	consumed   int // records that the one session of consume reads
	samples    int // new subscriptions
	behind     int // records that clients which resume have missed
	out        string
	profiles   string
}

func parseOptions(args []string, usage io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	list := func(name string, all []string, what string) *string {
		return flags.String(name, strings.Join(all, ","), "`list` of "+what)
	}
	targets := list("targets", targetNames(), "what is measured")
	scenarios := list("scenarios", scenarioNames(), "how it is measured; see go doc")
	transports := list("transport", transportNames(), "how flood, steady and idle are sent; idle not with deflate, and floor has no deflate")
	sizes := list("subscribers", []string{"1000"}, "numbers of sessions; flood, steady, idle and resume run with each, requests and growth up to the largest")
	flags.IntVar(&o.rounds, "rounds", 3, "how often everything is run")
	flags.IntVar(&o.partitions, "partitions", 4, "partitions of a topic")
	flags.IntVar(&o.size, "size", 200, "bytes of a record's value")
	flags.IntVar(&o.records, "records", 20_000, "records of a flood")
	flags.IntVar(&o.rate, "rate", 100, "records a second of steady")
	flags.DurationVar(&o.duration, "duration", 10*time.Second, "length of steady, of each part of requests, and of what goes before resume")
	flags.IntVar(&o.warmUp, "warm-up", 100, "records before those that are measured")
	flags.DurationVar(&o.settle, "settle", 5*time.Second, "wait before the memory of idle sessions is read")
	flags.IntVar(&o.publishers, "publishers", 20, "sessions of publish")
	flags.IntVar(&o.published, "published", 200_000, "records of publish, by all sessions together")
	flags.IntVar(&o.acks, "acks", 300, "acknowledgements that each session of publish times")
	flags.IntVar(&o.consumed, "consumed", 400_000, "records of consume, in floods of -records")
	flags.IntVar(&o.samples, "samples", 200, "new subscriptions of first, of each kind")
	flags.IntVar(&o.behind, "behind", 50_000, "records that the sessions of resume have missed")
	flags.StringVar(&o.profiles, "profiles", "", "`directory` for CPU profiles of the targets while they deliver")
	flags.StringVar(&o.out, "out", "results.json", "`file` for all runs and their medians")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	o.targets, o.scenarios, o.transports = strings.Split(*targets, ","), strings.Split(*scenarios, ","), strings.Split(*transports, ",")
	for s := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("-subscribers takes numbers and commas, not %q", s)
		}
		o.sizes = append(o.sizes, n)
	}
	return o, o.check()
}

func (o *options) check() error {
	for _, list := range []struct {
		what       string
		names, all []string
	}{
		{"target", o.targets, targetNames()},
		{"scenario", o.scenarios, scenarioNames()},
		{"transport", o.transports, transportNames()},
	} {
		for _, name := range list.names {
			if !slices.Contains(list.all, name) {
				return fmt.Errorf("there is no %s %q: there are %s", list.what, name, strings.Join(list.all, ", "))
			}
		}
	}
	if slices.Min(append([]int{
		o.rounds, o.partitions, o.records, o.rate, o.publishers, o.published / max(1, o.publishers), o.acks - 1, o.consumed, o.samples, o.behind / resumePartitions,
	}, o.sizes...)) < 1 {
		return errors.New("all numbers are 1 at least, -acks is 2, -behind is one for each partition, and each publisher publishes something")
	}
	if o.acks > maxAcks {
		return fmt.Errorf("-acks is %d at most: the product takes no more pings from a session at once", maxAcks)
	}
	if o.size < minValue || o.partitions > 100 || o.publishers > maxStreams {
		return fmt.Errorf("values have %d bytes at least, topics 100 partitions at most, and there are %d publishers at most", minValue, maxStreams)
	}
	if floodBytes(o.records+o.warmUp, o.size) > bufferMiB<<20 {
		return fmt.Errorf("a flood of %d records of %d bytes does not stay within the product's buffer of %d MiB: "+
			"sessions that fall off it are closed", o.records, o.size, bufferMiB)
	}
	if keptBytes(o.behind, o.size) > sharedMiB<<20 {
		return fmt.Errorf("%d records of %d bytes do not stay within the %d MiB that the product holds of what clients have missed: "+
			"they would be fetched again", o.behind, o.size, sharedMiB)
	}
	return nil
}

// mostSessions is the largest number of sessions that a run is asked to have.
func (o *options) mostSessions() int { return slices.Max(o.sizes) }

// mostConnections is how many there are at most at a time.
func (o *options) mostConnections() int {
	return max(o.mostSessions()+followersOf(o.mostSessions()), o.publishers)
}
