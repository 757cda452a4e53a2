// Package codec turns Kafka records into WebSocket messages and back: one file
// for each subprotocol, and beside them the JSON that they share.
package codec

import "github.com/kafkaws/kafkaws/record"

// Namespace is the namespace of Caddy modules that codecs are registered in:
// the codec of the Caddyfile's name "text" has the module ID Namespace + ".text".
const Namespace = "http.kafka_websocket.codecs"

// Codec is the form that records have on the wire of one WebSocket subprotocol.
// It is a guest module of the namespace http.kafka_websocket.codecs, so a Go
// module of anybody's can add one:
//
//	kafka_websocket {
//		codec <name> [<args...>] {
//			<options...>
//		}
//	}
//
// The module reads that itself, from its name on (caddyfile.Unmarshaler), and
// refuses what it does not know. The codec lines tell what is offered; the first
// of them serves the clients that name no subprotocol.
//
// The methods are called by many goroutines at once and must not block. After
// Provision a codec is pure: what its methods return depends on its options and
// their arguments alone, and it needs nothing that its Cleanup releases, since
// sessions and the frames made for them outlive the configuration that they
// began with.
type Codec interface {
	// Subprotocol is the WebSocket subprotocol that selects the codec, such as
	// "kafka-text". It is compared as it stands, case included.
	Subprotocol() string

	// Binary reports whether the messages that Append makes go out in binary
	// frames (RFC 6455, section 5.6). Those of a codec that returns false must
	// be valid UTF-8.
	Binary() bool

	// Append appends the message that carries r to dst and returns the
	// extended slice. It is called once for a record, not once for a session,
	// so that it may depend on nothing but r. It changes neither r nor its
	// bytes, and keeps none of them. It may use dst's capacity and leave
	// anything there beyond the length it returns. When it returns an error,
	// the record is skipped and counted, and the slice is dropped.
	Append(dst []byte, r *record.Record) ([]byte, error)

	// Decode reads one message of a client, the whole of it, into r; binary
	// tells the type of frame it came in, which a client may choose freely,
	// whatever the subprotocol. It returns false and no error for a message
	// that is to be ignored.
	//
	// Decode does not change message, but r's bytes may alias it, and any bytes
	// of r's may be those of the next record decoded into r: r is good for as
	// long as message is left alone and r is not used again (see
	// record.Record.Clone). Every field of r is set when Decode returns true;
	// otherwise r is as it was, or holds anything.
	//
	// Whether a client may publish to the topic, and whether Kafka could have a
	// topic of that name, is not the codec's business.
	//
	// An error closes the session: see Error.
	Decode(r *record.Record, binary bool, message []byte) (bool, error)
}
