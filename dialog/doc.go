// Package dialog is the subprotocol kafka-json beyond its records: what a client
// asks for, and what it is told. Package codec has the frames, package gateway the
// sessions; a Dialog stands between them for one session.
//
// Requests are answered by their id, in any order. What carries positions is told
// where the session's flusher comes to it in the stream of records, all else at
// once.
package dialog
