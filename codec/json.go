package codec

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(JSON{})
}

// JSON is the codec of the subprotocol kafka-json. Its records are JSON with all
// that Kafka has of them:
//
//	{"type":"record","topic":"orders","partition":0,"offset":17,"epoch":3,"timestamp":1716400000123,"key":"17","value":"shipped","headers":[["k","v"]]}
//
// The epoch is the leader epoch (KIP-101) of the record, left out where it is not
// known. The timestamp is in milliseconds since 1970, and -1 where Kafka has none.
// The key is left out when it is null, and headers when there are none. The value of
// a tombstone is null. Bytes that are not valid UTF-8 are base64, and then
// "key_encoding" or "value_encoding" behind them says "base64", as does a third
// element of a header.
//
// The codec that EmbedValues returns writes values that are JSON as they are,
// and then "value_encoding" says "json".
//
// Beside records the subprotocol has requests and replies: see DecodeRequests,
// and the types that have a method Append.
//
// Caddyfile syntax:
//
//	codec json
type JSON struct {
	embed bool
}

// maxEmbeddedDepth is how deep the arrays and objects of an embedded value may be
// nested. With the record and a batch around it, that is still below the 64
// levels that the strictest of the usual parsers takes (.NET's System.Text.Json
// by default); one deep value in a batch must not cost a client the others.
const maxEmbeddedDepth = 60

// CaddyModule returns the Caddy module information.
func (JSON) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".json",
		New: func() caddy.Module { return new(JSON) },
	}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. The codec has no options:
// what there is to choose is the client's choice.
func (*JSON) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalNoOptions(d)
}

// EmbedValues returns the codec for clients that asked for values=json. It
// differs in Append alone: a value that is valid JSON, nested no deeper than 60
// levels, stands in the record as it stands in Kafka, byte for byte, and is
// marked. All others are as they are without it, so that a record can be read
// without knowing what the session asked for.
func (JSON) EmbedValues() JSON { return JSON{embed: true} }

// Subprotocol implements Codec.
func (JSON) Subprotocol() string { return "kafka-json" }

// Binary implements Codec.
func (JSON) Binary() bool { return false }

// Append implements Codec. It never fails. What it appends is one JSON object
// without white space around it, so that batches can be made of such messages.
func (c JSON) Append(dst []byte, r *record.Record) ([]byte, error) {
	dst = append(dst, `{"type":"record","topic":`...)
	dst = appendQuotedName(dst, r.Topic)
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, r.Offset, 10)
	if r.Epoch >= 0 {
		dst = append(dst, `,"epoch":`...)
		dst = strconv.AppendInt(dst, int64(r.Epoch), 10)
	}
	dst = append(dst, `,"timestamp":`...)
	timestamp := int64(-1)
	if !r.Timestamp.IsZero() {
		timestamp = r.Timestamp.UnixMilli()
	}
	dst = strconv.AppendInt(dst, timestamp, 10)
	if r.Key != nil {
		dst = append(dst, `,"key":`...)
		var text bool
		if dst, text = appendBytes(dst, r.Key); !text {
			dst = append(dst, `,"key_encoding":"base64"`...)
		}
	}
	dst = c.appendValue(dst, r.Value)
	if len(r.Headers) > 0 {
		dst = appendHeaders(dst, r.Headers)
	}
	return append(dst, '}'), nil
}

// appendValue appends the members that carry a record's value.
func (c JSON) appendValue(dst, value []byte) []byte {
	dst = append(dst, `,"value":`...)
	switch {
	case value == nil:
		return append(dst, "null"...)
	case c.embed && embeddable(value):
		dst = append(dst, value...)
		return append(dst, `,"value_encoding":"json"`...)
	}
	dst, text := appendBytes(dst, value)
	if !text {
		dst = append(dst, `,"value_encoding":"base64"`...)
	}
	return dst
}

// appendHeaders appends the member that carries a record's headers.
func appendHeaders(dst []byte, headers []record.Header) []byte {
	dst = append(dst, `,"headers":[`...)
	for i := range headers {
		h := &headers[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = appendQuotedName(dst, h.Key)
		dst = append(dst, ',')
		if h.Value == nil {
			dst = append(dst, "null]"...)
			continue
		}
		var text bool
		if dst, text = appendBytes(dst, h.Value); !text {
			dst = append(dst, `,"base64"`...)
		}
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// Decode implements Codec, for whoever has no session that answers requests. It
// takes one publish request, as DecodeRequests does. A ping is to be ignored. What
// would need an answer is an error: another request, several in an array, or a
// publish request that is numbered, whose promise nobody here would keep.
func (JSON) Decode(r *record.Record, binary bool, message []byte) (bool, error) {
	if binary {
		return false, errBinaryFrame
	}
	var one [1]Request
	one[0].topic = r.Topic
	requests, err := DecodeRequests(one[:0], message)
	if err != nil {
		return false, err
	}
	if len(requests) != 1 {
		return false, errOneRequest
	}
	switch q := &requests[0]; {
	case q.Type == TypePing && q.Failure == nil:
		return false, nil
	case q.Type != TypePublish && q.Type != "":
		return false, errOneRequest
	case q.Failure != nil:
		return false, &Error{q.Failure.Message}
	case q.Producer != "":
		return false, errNumbered
	default:
		*r = q.Record
		return true, nil
	}
}

var (
	errBinaryFrame = &Error{"kafka-json has text messages only"}
	errOneRequest  = &Error{`expected one request of the type "publish"`}
	errNumbered    = &Error{`"producer" and "sequence" need a session of kafka-json`}
)

// Interface guards.
var (
	_ caddy.Module          = JSON{}
	_ caddyfile.Unmarshaler = (*JSON)(nil)
	_ Codec                 = JSON{}
)
