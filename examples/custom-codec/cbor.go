// Package customcodec shows what a codec of your own looks like: records as CBOR,
// in a Go module that is not kafkaws.
//
// docs/extending.md walks through it.
package customcodec

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(CBOR{})
}

// How keys and values go out.
const (
	valuesBytes = "bytes"
	valuesText  = "text"
)

// CBOR is the codec of the subprotocol kafka-cbor, whose messages are CBOR
// (RFC 8949) in binary frames. A record goes out as a map; here in the diagnostic
// notation:
//
//	{"topic": "orders", "partition": 0, "offset": 17, "timestamp": 1700000000123,
//	 "key": h'01', "value": h'00ff', "headers": [["trace", h'2a']]}
//
// The timestamp is in milliseconds since 1970. A record without a key has null in
// its place, a tombstone null as its value. Headers are left out where there are
// none.
//
// A client's message is such a map too. It needs a topic and a value; key and
// headers may be left out. Key and values are byte strings, text strings or null.
// Other members are ignored, so that a record can be sent on as it came. A null
// value, a tombstone, needs a key. An empty message is ignored: clients may send
// it to keep the connection alive.
type CBOR struct {
	// How keys and values, those of headers included, go out: as `bytes`, or as
	// `text` where they are valid UTF-8 and as bytes otherwise. Default:
	// `bytes`.
	Values string `json:"values,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (CBOR) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  codec.Namespace + ".cbor",
		New: func() caddy.Module { return new(CBOR) },
	}
}

// UnmarshalCaddyfile sets up the codec from Caddyfile tokens. Syntax:
//
//	codec cbor {
//		values bytes|text
//	}
func (c *CBOR) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the codec's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch option := d.Val(); {
		case option != "values":
			return d.Errf("unknown option %q", option)
		case c.Values != "":
			return d.Errf("%s is given twice", option)
		case !d.AllArgs(&c.Values) || c.Values == "":
			return d.Errf("%s takes one value", option)
		}
	}
	if err := c.Validate(); err != nil {
		return d.WrapErr(err) // here rather than when it is loaded: this has the line
	}
	return nil
}

// Validate checks the settings.
func (c *CBOR) Validate() error {
	switch c.Values {
	case "", valuesBytes, valuesText:
		return nil
	}
	return fmt.Errorf("values: got %q, expected %s or %s", c.Values, valuesBytes, valuesText)
}

// Subprotocol implements codec.Codec.
func (*CBOR) Subprotocol() string { return "kafka-cbor" }

// Binary implements codec.Codec.
func (*CBOR) Binary() bool { return true }

// outgoing is the map of a record that goes out.
type outgoing struct {
	Topic     string           `cbor:"topic"`
	Partition int32            `cbor:"partition"`
	Offset    int64            `cbor:"offset"`
	Timestamp int64            `cbor:"timestamp"`
	Key       any              `cbor:"key"`
	Value     any              `cbor:"value"`
	Headers   []outgoingHeader `cbor:"headers,omitempty"`
}

type outgoingHeader struct {
	_     struct{} `cbor:",toarray"`
	Key   string
	Value any
}

// encoding and decoding are the library's, set up once: both may be used by many
// goroutines.
var encoding, decoding = modes()

func modes() (cbor.UserBufferEncMode, cbor.DecMode) {
	enc, err := cbor.EncOptions{}.UserBufferEncMode()
	if err != nil {
		panic(err) // the options above are wrong
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF, // readers would not agree on which counts
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		MaxNestedLevels:   8,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return enc, dec
}

// Append implements codec.Codec. It fails for names that are not UTF-8, which a
// CBOR text cannot hold.
func (c *CBOR) Append(dst []byte, r *record.Record) ([]byte, error) {
	if !utf8.ValidString(r.Topic) {
		return dst, fmt.Errorf("the topic's name %q is not valid UTF-8", r.Topic)
	}
	m := outgoing{
		Topic:     r.Topic,
		Partition: r.Partition,
		Offset:    r.Offset,
		Timestamp: r.Timestamp.UnixMilli(),
		Key:       c.item(r.Key),
		Value:     c.item(r.Value),
	}
	for _, h := range r.Headers {
		if !utf8.ValidString(h.Key) {
			return dst, fmt.Errorf("the header's name %q is not valid UTF-8", h.Key)
		}
		m.Headers = append(m.Headers, outgoingHeader{Key: h.Key, Value: c.item(h.Value)})
	}
	buf := bytes.NewBuffer(dst) // appends
	if err := encoding.MarshalToBuffer(&m, buf); err != nil {
		return dst, err
	}
	return buf.Bytes(), nil
}

// item chooses the CBOR type of a key or a value.
func (c *CBOR) item(b []byte) any {
	switch {
	case b == nil:
		return nil
	case c.Values == valuesText && utf8.Valid(b):
		return string(b)
	default:
		return b
	}
}

// Interface guards.
var (
	_ caddy.Validator       = (*CBOR)(nil)
	_ caddyfile.Unmarshaler = (*CBOR)(nil)
	_ codec.Codec           = (*CBOR)(nil)
)
