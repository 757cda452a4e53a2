// Package kafka speaks to Apache Kafka for the gateway, through sarama's
// connections and codecs. It implements record.Source and record.Producer.
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
// Writing uses sarama's asynchronous producer, set up so that records are
// neither doubled nor reordered, behind limits of our own that keep one stuck
// topic from stopping the others.
//
// The texts of errors name no broker, because they may travel to browsers; the
// addresses are in the logs.
package kafka
