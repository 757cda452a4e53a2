// Command bench measures what a delivery costs the gateway, beside references
// that run on the same machine, against the same Kafka, in turns with it.
//
//	make bench                                     # all of it
//	make bench BENCH='-rounds 5 -scenarios flood'  # see -help
//	make bench-smoke                               # small, for correctness only
//
// It starts a real Apache Kafka and then, for each scenario, round and target, a
// process of that target alone:
//
//   - kafkaws is the product: Caddy as cmd/caddy builds it, with a Caddyfile.
//   - floor does the least that any gateway written in Go must do: it consumes
//     with franz-go, frames each record once, and writes what one poll brought
//     to each connection in one write.
//   - centrifuge is the library behind Centrifugo, fed by a Kafka consumer.
//
// The scenarios:
//
//   - flood: all records are written at once. It is sized to stay within the
//     product's consumer buffer, because a session that falls off it is closed.
//   - steady: records are written at a fixed rate, one at a time.
//   - idle: sessions that nothing is sent to; in the end a few records go to
//     all of them.
//
// Every value carries its partition, its number in it, and the time it was
// written at, so that each figure comes with what was lost, repeated or out of
// order, and with latencies. CPU is user and system time of the process, from
// /proc: this runs on Linux. The load generator, which also writes to Kafka, is
// this process, and its own CPU is in the table, as is the broker's.
//
// A table shows medians over the rounds, their ranges, and the ratio of each
// median to the floor's. Times on a machine that does anything else say
// little; ratios say more.
package main
