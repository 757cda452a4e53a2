package codec

import (
	"fmt"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(Binary{})
}

// Binary is the codec of the subprotocol kafka-binary, whose messages are the
// record's bytes behind the topic's name:
//
//	[1 byte: n, unsigned][n bytes: topic][value]
//
// The layout has no place for a key, and none for null: a tombstone goes out as
// an empty value, and neither a key nor a tombstone can be published in it.
//
// Caddyfile syntax:
//
//	codec binary
type Binary struct{}

// CaddyModule returns the Caddy module information.
func (Binary) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".binary",
		New: func() caddy.Module { return new(Binary) },
	}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. The codec has no options.
func (*Binary) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalNoOptions(d)
}

// Subprotocol implements Codec.
func (Binary) Subprotocol() string { return "kafka-binary" }

// Binary implements Codec.
func (Binary) Binary() bool { return true }

// Append implements Codec. It fails for a topic's name that is longer than those
// of Kafka can be, as a transform may have made it.
func (Binary) Append(dst []byte, r *record.Record) ([]byte, error) {
	if len(r.Topic) > record.MaxTopicLength {
		return dst, fmt.Errorf("a topic's name of %d bytes does not fit the message, at most %d do",
			len(r.Topic), record.MaxTopicLength)
	}
	dst = append(dst, byte(len(r.Topic)))
	dst = append(dst, r.Topic...)
	return append(dst, r.Value...), nil
}

// Decode implements Codec.
func (Binary) Decode(r *record.Record, binary bool, message []byte) (bool, error) {
	return decodeFrame(r, binary, message)
}

// decodeFrame reads a message of either of the original's two subprotocols. The
// type of the frame decides, not the subprotocol, because there the subprotocol
// is about what goes out alone, and clients have come to mix them.
func decodeFrame(r *record.Record, binary bool, message []byte) (bool, error) {
	if binary {
		return decodeBinary(r, message)
	}
	return decodeText(r, message)
}

var (
	errBinaryEmpty = &Error{"the binary message is empty: it must begin with the length of the topic's name"}
	errBinaryTopic = &Error{"the topic's name in the binary message is not valid UTF-8"}
)

// decodeBinary reads a message of Binary's layout. It always takes it or fails:
// this layout knows no message to be ignored.
func decodeBinary(r *record.Record, message []byte) (bool, error) {
	if len(message) == 0 {
		return false, errBinaryEmpty
	}
	n, rest := int(message[0]), message[1:]
	if n > len(rest) {
		return false, &Error{fmt.Sprintf("the binary message ends within the topic's name: %d of %d bytes", len(rest), n)}
	}
	if !utf8.Valid(rest[:n]) {
		return false, errBinaryTopic
	}
	// Not nil where it is empty: that is an empty record, not a tombstone. The
	// capacity ends with the value, so that a transform that appends to it
	// cannot reach what may stand behind the message.
	value := rest[n:len(rest):len(rest)]
	setRecord(r, rest[:n], nil, value)
	return true, nil
}

// setRecord makes r the record of a client. The string of the topic that r had
// before is kept if it is the same, which saves the clients that publish to one
// topic all the time an allocation for each record.
func setRecord(r *record.Record, topic, key, value []byte) {
	name := r.Topic
	if name != string(topic) {
		name = string(topic)
	}
	*r = record.Record{Topic: name, Partition: record.AnyPartition, Key: key, Value: value}
}

// Interface guards.
var (
	_ caddy.Module          = Binary{}
	_ caddyfile.Unmarshaler = (*Binary)(nil)
	_ Codec                 = Binary{}
)
