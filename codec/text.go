package codec

import (
	"slices"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(Text{})
}

// Text is the codec of the subprotocol kafka-text, whose messages are JSON:
//
//	{"topic":"orders","key":"17","message":"shipped"}
//
// The key is left out when the record has none or an empty one; the message of a
// tombstone is null. Bytes that are not valid UTF-8 become U+FFFD.
//
// A client's message is an object of the same members in any order; others are
// ignored, as is a message that lacks the topic or the message, which clients
// send to keep the connection alive. Of a member that is there twice, the last
// counts. A number or a boolean stands for its text, as it was written. An array
// or an object as the message is the record's value, byte for byte. A key that is
// null or empty is no key. A message that is null is a tombstone, and needs a
// key.
//
// Caddyfile syntax:
//
//	codec text
type Text struct{}

// CaddyModule returns the Caddy module information.
func (Text) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".text",
		New: func() caddy.Module { return new(Text) },
	}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. The codec has no options.
func (*Text) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalNoOptions(d)
}

// Subprotocol implements Codec.
func (Text) Subprotocol() string { return "kafka-text" }

// Binary implements Codec.
func (Text) Binary() bool { return false }

// Append implements Codec. It never fails.
func (Text) Append(dst []byte, r *record.Record) ([]byte, error) {
	dst = append(dst, `{"topic":`...)
	dst = appendQuotedName(dst, r.Topic)
	if len(r.Key) > 0 {
		dst = append(dst, `,"key":`...)
		dst = appendQuoted(dst, r.Key)
	}
	if r.Value == nil {
		return append(dst, `,"message":null}`...), nil
	}
	dst = append(dst, `,"message":`...)
	dst = appendQuoted(dst, r.Value)
	return append(dst, '}'), nil
}

// Decode implements Codec.
func (Text) Decode(r *record.Record, binary bool, message []byte) (bool, error) {
	return decodeFrame(r, binary, message)
}

var (
	errNotUTF8   = &Error{"the text message is not valid UTF-8"}
	errNotObject = &Error{`the message must be a JSON object: {"topic":"...","message":"..."}`}
	errTopicType = &Error{`"topic" must be a string`}
	errKeyType   = &Error{`"key" must be a string, a number, true, false or null`}
	errTombstone = &Error{`a tombstone needs a key: "message" is null and there is no "key"`}
)

// decodeText reads a message of Text's layout.
func decodeText(r *record.Record, message []byte) (bool, error) {
	// Whoever reads the socket has checked that already (RFC 6455, section
	// 8.1), but then the records of a caller that has not would not be text.
	if !utf8.Valid(message) {
		return false, errNotUTF8
	}
	m, err := scanMembers(message)
	if err != nil {
		return false, err
	}
	// In this order: the original looks first whether both are there.
	if m.topic.kind == absent || m.message.kind == absent {
		return false, nil
	}
	if m.topic.kind == nested || m.topic.kind == null {
		return false, errTopicType
	}
	if m.key.kind == nested {
		return false, errKeyType
	}
	var b unescaper
	b.reserve(m.topic, m.key, m.message)
	key, val := b.bytes(m.key), b.bytes(m.message)
	if len(key) == 0 {
		key = nil
	}
	if val == nil && key == nil {
		return false, errTombstone
	}
	setRecord(r, b.bytes(m.topic), key, val)
	return true, nil
}

// members are the members of Text's object.
type members struct {
	topic, key, message value
}

// scanMembers reads an object that is the whole of data.
func scanMembers(data []byte) (members, error) {
	var m members
	s := scanner{data: data}
	s.space()
	if !s.take('{') {
		if s.pos == len(data) {
			return m, errEndsEarly
		}
		return m, errNotObject
	}
	s.space()
	for first := true; !s.take('}'); first = false {
		if !first {
			if !s.take(',') {
				return m, s.unexpected()
			}
			s.space()
		}
		name, err := s.name()
		if err != nil {
			return m, err
		}
		v, err := s.value()
		if err != nil {
			return m, err
		}
		switch memberName(name) {
		case "topic":
			m.topic = v
		case "key":
			m.key = v
		case "message":
			m.message = v
		}
		s.space()
	}
	s.space()
	if s.pos < len(data) {
		return m, s.unexpected()
	}
	return m, nil
}

// memberName returns which member of Text's a name is, or "" for any other. The
// names are case-sensitive, and may be written with escapes as well.
func memberName(name value) string {
	var buf [len("message") * len(`\u0000`)]byte
	raw := name.raw
	if name.escaped {
		if len(raw) > len(buf) {
			return ""
		}
		raw = appendUnescaped(buf[:0], raw)
	}
	switch string(raw) {
	case "topic":
		return "topic"
	case "key":
		return "key"
	case "message":
		return "message"
	default:
		return ""
	}
}

// unescaper makes bytes of JSON values. Values without escapes are left where
// they stand; the others share one allocation.
type unescaper struct {
	buf []byte
}

// reserve makes room for the values.
func (u *unescaper) reserve(values ...value) {
	size := 0
	for _, v := range values {
		if v.escaped {
			size += len(v.raw)
		}
	}
	if size > 0 {
		u.buf = make([]byte, 0, size)
	}
}

// bytes returns the bytes that a value stands for: nil for null and for none, and
// otherwise never nil. Their capacity is their length, so that a transform that
// appends to them writes over nothing.
func (u *unescaper) bytes(v value) []byte {
	if v.kind == absent || v.kind == null {
		return nil
	}
	if !v.escaped {
		return slices.Clip(v.raw)
	}
	start := len(u.buf)
	u.buf = appendUnescaped(u.buf, v.raw)
	return u.buf[start:len(u.buf):len(u.buf)]
}

// Interface guards.
var (
	_ caddy.Module          = Text{}
	_ caddyfile.Unmarshaler = (*Text)(nil)
	_ Codec                 = Text{}
)
