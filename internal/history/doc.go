// Package history checks whole histories of what was sent to Kafka and what was
// read from it, after the queue and Kafka workloads of Jepsen.
//
// A test makes a [History], gives each producer a [Producer] and each logical
// client a [Reader], and records what happens from as many goroutines as it
// likes: sends and their answers, records in the order of their arrival, and
// where sessions begin, resume, are told of a gap, or end. When all is over it
// loads the truth, which is the log as a plain consumer finds it
// ([History.ReadLog]), and calls [History.Check].
//
// A reader is one client over all of its reconnects. It expects, in each
// partition, every record from its position on, in order, and nothing else:
// neither between two records of a session nor from one session to the next may
// one be missing, unless the reader was told.
//
// Values identify records. Each is sent once; one that a client sends again
// because its fate was unknown is recorded as another send of the same value,
// and may then stand in the log as often as it was sent.
//
// Records are held in arrays of 24 to 32 bytes each, so a few million fit and
// are checked within seconds.
package history
