package main

import (
	"context"
	"fmt"
	"slices"
)

// scenario is a way to use a gateway.
type scenario struct {
	name  string
	about func(*options) string
	note  string // what else a reader should know
	// of are the targets that it is for. Others are left out.
	of func(target) bool
	// cases are its loads. Each is a table of its own, with a column for each
	// target; or, if they are lines, a line of the one table of the product.
	cases func(*options) []load
	lines bool
	// publishes tells that clients write and nobody reads; counts, that the
	// target's requests to Kafka are counted.
	publishes, counts bool

	run     func(context.Context, *run) error
	metrics []metric
}

// metric is a line of a table, or a column where cases are lines.
type metric struct {
	key, title string
	decimals   int
	goals      []goal
}

// delivering are the metrics of what is delivered.
var delivering = []metric{
	{key: "deliveries_per_s", title: "deliveries/s"},
	{key: "cpu_us_per_delivery", title: "CPU-µs/delivery", decimals: 3},
	{key: "p50_ms", title: "latency p50 (ms)", decimals: 2},
	{key: "p99_ms", title: "latency p99 (ms)", decimals: 2},
	{key: "p999_ms", title: "latency p99.9 (ms)", decimals: 2},
	{key: "allocs_per_delivery", title: "allocations/delivery", decimals: 4},
	{key: "rss_mib", title: "RSS (MiB)", decimals: 1},
	{key: "goroutines", title: "goroutines"},
	{key: "connects_per_s", title: "connects/s"},
	kafkaCPU,
	{key: "generator_cpu_us", title: "generator's CPU-µs/delivery", decimals: 3},
}

// having returns metrics with goals for one of them.
func having(all []metric, key string, goals ...goal) []metric {
	all = slices.Clone(all)
	i := slices.IndexFunc(all, func(m metric) bool { return m.key == key })
	all[i].goals = goals
	return all
}

var kafkaCPU = metric{key: "kafka_cpu_us_per_record", title: "Kafka's CPU-µs/record", decimals: 1}

var scenarios = []scenario{
	{
		name: "flood",
		about: func(o *options) string {
			return fmt.Sprintf("%d records of %d bytes, written at once, to each session; at most %.0f MiB of the product's buffer of %d",
				o.records, o.size, float64(floodBytes(o.records+o.warmUp, o.size))/(1<<20), bufferMiB)
		},
		note:    queueNote,
		of:      anyTarget,
		cases:   overTransports(),
		run:     flood,
		metrics: having(delivering, "cpu_us_per_delivery", goal{only: plain, ratio: true, most: 1.3}),
	},
	{
		name: "steady",
		about: func(o *options) string {
			return fmt.Sprintf("%d records a second of %d bytes, for %v, to each session", o.rate, o.size, o.duration)
		},
		note:  queueNote,
		of:    anyTarget,
		cases: overTransports(),
		run:   steady,
		metrics: having(having(delivering, "cpu_us_per_delivery", goal{only: plain, ratio: true, most: 1.1}),
			"p99_ms", goal{only: plain, ratio: true, most: 1.1}),
	},
	{
		name: "idle",
		about: func(o *options) string {
			return fmt.Sprintf("sessions that nothing was sent to, after %v; then %d records to each", o.settle, o.warmUp)
		},
		of:    anyTarget,
		cases: overTransports(deflate),
		run:   idle,
		metrics: []metric{
			{key: "session_kib", title: "RSS/session (KiB)", decimals: 2, goals: []goal{{ratio: true, most: 1.05}}},
			{key: "session_returned_kib", title: "... without what the heap could return", decimals: 2, goals: []goal{{only: plain, most: 6}, {only: overTLS, most: 16}}},
			{key: "session_after_kib", title: "... after traffic", decimals: 2},
			{key: "goroutines_per_session", title: "goroutines/session", decimals: 3},
			{key: "connects_per_s", title: "connects/s"},
		},
	},
	{
		name: "consume",
		about: func(o *options) string {
			return fmt.Sprintf("%d records of %d bytes, in floods of %d, to one session", o.consumed, o.size, o.records)
		},
		of:    anyTarget,
		cases: alone,
		run:   consume,
		metrics: []metric{
			{key: "records_per_s", title: "records/s"},
			{key: "cpu_us_per_record", title: "CPU-µs/record", decimals: 3, goals: []goal{{ratio: true, most: 1}}},
			{key: "allocs_per_delivery", title: "allocations/record", decimals: 4},
			kafkaCPU,
			{key: "generator_cpu_us", title: "generator's CPU-µs/record", decimals: 3},
		},
	},
	{
		name: "publish",
		about: func(o *options) string {
			return fmt.Sprintf("%d records of %d bytes, with keys, from %d sessions at once, until Kafka has acknowledged all; then %d acknowledgements of each, one record at a time",
				o.published/o.publishers*o.publishers, o.size, o.publishers, o.acks)
		},
		of:        func(t target) bool { return t.publish != nil },
		cases:     once,
		publishes: true,
		run:       publish,
		metrics: []metric{
			{key: "records_per_s", title: "records/s", goals: []goal{{ratio: true, least: 1}}},
			{key: "cpu_us_per_record", title: "CPU-µs/record", decimals: 3, goals: []goal{{ratio: true, most: 1.2}}},
			{key: "allocs_per_record", title: "allocations/record", decimals: 3},
			{key: "ack_alone_p50_ms", title: "acknowledged p50, one session (ms)", decimals: 2},
			{key: "ack_alone_p99_ms", title: "acknowledged p99, one session (ms)", decimals: 2},
			{key: "ack_p50_ms", title: "acknowledged p50, all sessions (ms)", decimals: 2},
			{key: "ack_p99_ms", title: "acknowledged p99, all sessions (ms)", decimals: 2},
			kafkaCPU,
			{key: "generator_cpu_us", title: "generator's CPU-µs/record", decimals: 3},
		},
	},
	{
		name: "first",
		about: func(o *options) string {
			return fmt.Sprintf("%d new subscriptions to a topic that %d sessions follow, and %d to one each that nobody has read; the record is written right after the handshake",
				o.samples, followers, o.samples)
		},
		of:    anyTarget,
		cases: once,
		run:   first,
		metrics: []metric{
			{key: "known_handshake_p50_ms", title: "followed: handshake p50 (ms)", decimals: 2},
			{key: "known_handshake_p99_ms", title: "followed: handshake p99 (ms)", decimals: 2},
			{key: "known_record_p50_ms", title: "followed: written to received p50 (ms)", decimals: 2, goals: []goal{{most: 2}}},
			{key: "known_record_p99_ms", title: "followed: written to received p99 (ms)", decimals: 2},
			{key: "known_both_p50_ms", title: "followed: request to first record p50 (ms)", decimals: 2, goals: []goal{{most: 2}}},
			{key: "known_both_p99_ms", title: "followed: request to first record p99 (ms)", decimals: 2},
			{key: "unread_handshake_p50_ms", title: "not read: handshake p50 (ms)", decimals: 2},
			{key: "unread_handshake_p99_ms", title: "not read: handshake p99 (ms)", decimals: 2},
			{key: "unread_record_p50_ms", title: "not read: written to received p50 (ms)", decimals: 2, goals: []goal{{most: 20}}},
			{key: "unread_record_p99_ms", title: "not read: written to received p99 (ms)", decimals: 2},
			{key: "unread_both_p50_ms", title: "not read: request to first record p50 (ms)", decimals: 2, goals: []goal{{most: 20}}},
			{key: "unread_both_p99_ms", title: "not read: request to first record p99 (ms)", decimals: 2},
		},
	},
	{
		name: "resume",
		about: func(o *options) string {
			return fmt.Sprintf("clients that resume at once from %d records of %d bytes back, while %d others follow %d records a second",
				o.behind, o.size, followersOf(o.mostSessions()), o.rate)
		},
		note:  "Only the product resumes: the references keep no positions. A run fails if more was fetched or encoded than wanted here.",
		of:    product,
		cases: resumeLoads,
		run:   resume,
		metrics: []metric{
			{key: "resumed_s", title: "until all had caught up (s)", decimals: 2},
			{key: "deliveries_per_s", title: "deliveries/s"},
			{key: "cpu_us_per_delivery", title: "CPU-µs/delivery", decimals: 3},
			{key: "fetched_per_record", title: "fetched/record", decimals: 3, goals: []goal{{most: mostFetched}}},
			{key: "encoded_per_record", title: "encoded/record", decimals: 3, goals: []goal{{most: mostEncoded}}},
			{key: "fetches", title: "fetches"},
			{key: "before_p50_ms", title: "followers' latency before p50 (ms)", decimals: 2},
			{key: "before_p99_ms", title: "followers' latency before p99 (ms)", decimals: 2},
			{key: "busy_p50_ms", title: "followers' latency beside busy loops p50 (ms)", decimals: 2},
			{key: "busy_p99_ms", title: "followers' latency beside busy loops p99 (ms)", decimals: 2},
			{key: "p50_ms", title: "followers' latency meanwhile p50 (ms)", decimals: 2},
			{key: "p99_ms", title: "followers' latency meanwhile p99 (ms)", decimals: 2},
			{key: "before_rss_mib", title: "RSS before (MiB)", decimals: 1},
			{key: "peak_rss_mib", title: "RSS meanwhile, peak (MiB)", decimals: 1},
			{key: "held_mib", title: "held of what was fetched (MiB)", decimals: 1},
			{key: "session_kib", title: "peak - before - held, per session (KiB)", decimals: 1, goals: []goal{{most: resumingKiB}}},
			kafkaCPU,
			{key: "generator_cpu_us", title: "generator's CPU-µs/delivery", decimals: 3},
		},
	},
	{
		name: "requests",
		about: func(o *options) string {
			return fmt.Sprintf("what sessions on one topic cost Kafka, with nothing written for %v, and then with %d records a second for as long", o.duration, requestRate)
		},
		of:     product,
		cases:  requestLoads,
		lines:  true,
		counts: true,
		run:    requests,
		metrics: []metric{
			{key: "connections", title: "connections", goals: []goal{{flat: 1.2}}},
			{key: "idle_requests_per_s", title: "requests/s, idle", decimals: 2, goals: []goal{{flat: 1.2}}},
			{key: "steady_requests_per_s", title: "requests/s, steady", decimals: 2, goals: []goal{{flat: 1.2}}},
		},
	},
	{
		name: "growth",
		about: func(o *options) string {
			l := growthLoads(o)[0]
			return fmt.Sprintf("what the cost depends on; where a line does not say else: %d sessions on one topic of %d partitions, records of %d bytes; singly (%d a second at most), and then as a flood (%d at most)",
				min(100, o.mostSessions()), l.partitions, l.size, o.rate, o.records)
		},
		of:    product,
		cases: growthLoads,
		lines: true,
		run:   growth,
		metrics: []metric{
			{key: "steady_cpu_us_per_delivery", title: "singly: CPU-µs/delivery", decimals: 2},
			{key: "steady_cpu_us_per_record", title: "singly: CPU-µs/record", decimals: 1},
			{key: "flood_cpu_us_per_delivery", title: "flood: CPU-µs/delivery", decimals: 3},
			{key: "flood_cpu_us_per_record", title: "flood: CPU-µs/record", decimals: 2},
			{key: "flood_deliveries_per_s", title: "flood: deliveries/s"},
		},
	},
}

// queueNote is why centrifuge survives a flood.
const queueNote = "centrifuge has its queue of each client raised to 1 GiB; with the default of 1 MiB it disconnects all in a flood."

func anyTarget(target) bool { return true }

func product(t target) bool { return t.name == "kafkaws" }

// alone is one case of one session.
func alone(o *options) []load {
	l := o.base(1)
	l.name = "one session"
	return []load{l}
}

func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

func scenarioNamed(name string) scenario {
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
	return scenarios[i] // options have been checked
}

// columns are the targets that take part in a case.
func (s scenario) columns(o *options, l load) (names []string) {
	for _, name := range o.targets {
		if t := targetNamed(name); s.of(t) && slices.Contains(t.transports, l.transport) {
			names = append(names, name)
		}
	}
	return names
}

// others are the targets that were asked for and take no part at all.
func (s scenario) others(o *options) []string {
	return slices.DeleteFunc(slices.Clone(o.targets), func(name string) bool { return s.of(targetNamed(name)) })
}
