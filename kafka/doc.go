// Package kafka speaks to Apache Kafka for the gateway, through sarama's
// connections and codecs. It implements record.Source, record.Producer and
// record.Groups.
//
// Reading does not use sarama's consumer. One fetch loop per broker and
// isolation level reads every partition that somebody wants, so the load on the
// brokers does not depend on the number of sessions, and a slow reader holds up
// nobody else. Where a loop has very many partitions, those that bring records
// are read over a second connection, because a request costs the broker time for
// each partition that it names. Faults of the brokers never reach a record.Sink: a loop retries,
// asks for metadata and follows the leaders until the records flow again. What
// a sink is told about is the loss of records, and nothing else.
//
// A log that was cut is noticed by its leader epochs (KIP-101): every fetch names
// the leader's, so that no other leader answers it, and before a new leader is
// read its log is compared with what was read from the old one: at the last
// offset, and where that differs by halving, to find where they part. sarama has
// no request for the latter (OffsetForLeaderEpoch), so it is done with fetches.
//
// Writing does not use sarama's producer. Records wait in a lane for each
// partition; one goroutine and one connection per leader take a batch from every
// lane that has none on its way, several requests at a time. Nothing lingers: what
// comes while a batch is on its way is the next batch, which gives small batches
// when idle and big ones when busy. Batches are numbered (KIP-98), and one that
// got no answer is sent again under its number until its records' time is over, so
// that records are neither doubled nor reordered. When that ends with its fate
// open, a new epoch begins (KIP-360): the old batch can then no longer be written
// behind its successors. What a broker turns down for one record is taken apart
// until that record is alone. Limits per topic keep one that is stuck from
// stopping the others.
//
// Membership of a consumer group is sarama's: joining, heartbeats, assignors. It
// gets a client that lets it speak to the coordinator and to nobody else. What a
// member is given is read by fetch loops like those above, which the members of
// all groups share, one reading for each partition; commits are requests of our
// own, because sarama tells nobody what became of its.
//
// The texts of errors name no broker, because they may travel to browsers; the
// addresses are in the logs.
package kafka
