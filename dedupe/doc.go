// Package dedupe remembers what became of numbered records, so that a client
// that lost its socket before the answer can publish again without writing
// twice.
//
// A client numbers the records of a series: each has a producer, the name of
// the series, and a sequence. The key of the memory is (owner, producer), where
// the owner is whom the series belongs to: an authenticated user, or whoever
// knows a secret. The gateway asks with Begin before it publishes. A sequence
// that is new is Fresh: the gateway publishes the record and says with Finish
// what became of it. A sequence that was there before is Repeated, and gets the
// answer of the first one, at once or when it comes; whether that was written,
// discarded or is unknown, the record is not written again. Only a record that
// certainly was not written leaves its sequence free, so that the client can try
// again with it. A Fingerprint tells a repeat from another record with the same
// number, which is a Conflict.
//
// # Order and holes
//
// Sequences may come in any order and may be skipped, within a window: the
// newest one of the producer and those up to Config.Window behind it. What is
// further behind is OutOfWindow, and never published. A producer may begin at
// any sequence: the node may be another than the one that it began at.
//
// # Bounds
//
// The memory has a bound, Config.Entries. A producer has a ring, which is small
// at first and doubles until it has the whole window. When there is no more
// room, the widest rings are halved, so that all come down to about the same
// width: what falls out of them is OutOfWindow from then on. An idle producer
// is no worse off than a busy one, since it may be the one whose client is just
// connecting again. No ring is halved below sixteen; where that does not
// suffice, producers are forgotten, those first that have been idle for longest.
// One that has been idle for Config.Age is forgotten in any case, and one with
// a record in flight never.
//
// Clients with a user's name and clients with nothing but a secret, which
// costs nothing to have many of, are best kept in two Memories: then the latter
// cannot crowd out the former. Nothing is remembered of an owner that numbers
// no record, nor of a producer all of whose records have failed: whoever may not
// publish takes no room.
//
// # What remains possible
//
// While a producer is known, no sequence is Fresh a second time unless its record
// failed. But one that was forgotten cannot be told from one that is new: a
// repeat after that is Fresh, and its record is written a second time without
// anybody noticing. So it is with a Memory that is new, because the process was
// started again or the handler's configuration changed, and on another node:
// nodes share no memory. Stats counts what was forgotten for want of room.
//
// There is no goroutine and no timer: what is old is dropped on the way, a little
// with each Begin.
package dedupe
