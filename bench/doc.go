// Command bench measures what the gateway costs, beside references that run on
// the same machine, against the same Kafka, in turns with it.
//
//	make bench                                     # all of it, about half an hour
//	make bench BENCH='-rounds 5 -scenarios flood'  # see -help
//	make bench BENCH='-subscribers 1000,5000 -targets floor,kafkaws'
//	make bench-smoke                               # small, for correctness only
//
// It starts a real Apache Kafka and then, for each case of a scenario, round and
// target, a process of that target alone:
//
//   - kafkaws is the product: Caddy as cmd/caddy builds it, with a Caddyfile.
//   - floor does the least that any gateway written in Go must do: it consumes
//     with franz-go, frames each record once, and writes what one poll brought
//     to each connection in one write. What is published it produces with
//     franz-go, idempotent, acknowledged by all replicas, without linger, and
//     with as many unacknowledged records of each session as the product has by
//     default (max_in_flight, 256).
//   - centrifuge is the library behind Centrifugo, fed by a Kafka consumer.
//
// # Scenarios
//
// flood, steady and idle run over each of -transport with each number of
// -subscribers: plain, over TLS (a certificate is made for each run), and with
// permessage-deflate. With deflate there is no floor, and idle says nothing new.
//
//   - flood: all records are written at once. It is sized to stay within the
//     product's consumer buffer, because a session that falls off it is closed.
//   - steady: records are written at a fixed rate, one at a time.
//   - idle: sessions that nothing is sent to; in the end a few records go to
//     all of them. A session's share is the difference to one session.
//   - consume: one session reads floods, one after the other: what it costs to
//     read and frame a record.
//   - publish: sessions publish text with keys as fast as it is taken. It ends
//     when Kafka's end offsets say that all is written; the wire itself has no
//     acknowledgements. Then the time to be acknowledged is measured in sessions
//     that may have one record unacknowledged (max_in_flight 1): each sends pairs
//     of a record and a ping, all at once. The pong of a pair comes when its
//     record was handed over, which is when the one before was acknowledged; so
//     the time between two pongs is how long a record took. In the end the topic
//     is read and compared with what was published.
//   - first: new subscriptions, one at a time, after random pauses. As soon as
//     the handshake is answered, a record is written: the time until it arrives,
//     with a topic that others follow and with topics that the gateway has never
//     read (which only the product can be asked for).
//   - resume: clients that were away come back, all at once, with positions far
//     behind the end of the topic, no two of them quite the same, while others
//     follow it. It counts, by the product's own metrics, how often each of the
//     records that were missed is fetched from Kafka and encoded, and fails where
//     that is more than it should be, however long it took. What it reads is
//     sized to stay within what the product holds of such records. How long
//     records take to those that follow is measured before that, beside loops that
//     keep all processors busy with nothing, and while the others come back, until
//     a tenth of them follow too: what the second differs from the first is the
//     machine's, and the third is to differ from the second by no more than chance.
//   - requests: what a growing number of sessions asks of Kafka. The gateway
//     reaches Kafka through a proxy that counts its connections and requests, and
//     in Kafka's answers puts its own address. Nothing else is measured here.
//   - growth: how the cost of a record and of a delivery depends on the number of
//     sessions, the size of records, and the number of partitions and topics; of
//     records that come singly, and of a flood. Where a flood would be too much
//     for the product's buffer or take too long, it has fewer records.
//
// # Figures
//
// Every value carries its stream, its number in it, and the time it was written
// at, so that each figure comes with what was lost, repeated or out of order, and
// with latencies. A run in which anything was, or a session ended, has failed: it
// is reported, and its figures are in no median. Compressed messages are checked
// like others; each is inflated once, and then found by its bytes.
//
// CPU is user and system time of the process, from its clock: this runs on Linux.
// Allocations are counted by Go's runtime, RSS is that of the whole process. The
// load generator, which also writes to Kafka, is this process; its own CPU is in
// the tables, as is the broker's. (Where it is the larger share, rates say what
// the generator can do.) The clients of resume that come back are a process of
// their own, so that those whose latency is measured do not wait for them here,
// and it runs when nothing else wants the processors, because clients are on other
// machines; it counts into the generator's CPU. The collector of
// Kafka's Java is the one of its own scripts.
//
// A table shows medians over the rounds, their ranges, and the ratio of each
// median to the floor's; what the product is to reach stands beside it, met or
// missed. A file has the same, and all runs. Times on a machine that does
// anything else say little; ratios say more.
package main
