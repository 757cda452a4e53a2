// Package gateway serves WebSocket sessions from Kafka topics. It knows nothing
// of Caddy, and of Kafka only the interfaces of package record.
//
// The way of a record out: a Source delivers batches to a topic, whose worker
// passes each record through each chain of transforms in use, once, and encodes
// what comes out once for each encoding in use, as a finished WebSocket
// frame, into a tail: a ring of segments of contiguous bytes. A session holds no
// records, just a position in each tail that it follows; ranges of the tail
// are written to its socket by a crew, a goroutine that serves many sessions
// while their sockets take what they are given, and else by its flusher, a
// goroutine that exists only while there is something to send.
//
// A session whose place in a tail is let go of, or that begins further back,
// catches up: by its next offset in each partition it reads blocks of records,
// which sessions share decoded and encoded, until the tail holds all that it still
// wants, and joins it there.
//
// A session that talks has more than records to send: what it is told of its
// subscriptions, which come and go while it lasts, are frames that its flusher makes
// at their point of the stream. So the positions in them are exactly those of what
// was sent before. One with a filter, or whose records go out as arrays, gets
// frames put together for it alone, from those that all share.
//
// A session that is a member of a consumer group follows no tail. A goroutine of
// its own reads for it, no faster than its socket takes.
//
// The way of a record in: the session's one lasting goroutine reads a message,
// the codec decodes it, the session's chain changes or drops it, the policy judges
// what came out, the producer takes it, and the acknowledgement frees its
// place in the session's window.
//
// Invariants that the whole package keeps:
//
//   - Only the flusher writes to the socket, and it is at most one goroutine at a
//     time: a crew's, which never waits, or the session's own. Everyone else
//     appends to the session's side buffer.
//   - Bytes of a tail never change once its head has passed them, so readers need
//     no lock.
//   - A session that waits holds no segment, and depends on none.
//   - Nothing a session does can block a topic's worker or another session.
//   - Transforms run without any lock: they may take long, or hang.
//   - Locks are taken in this order: hub, topic, followers, crew, session. Pool is a leaf.
package gateway
