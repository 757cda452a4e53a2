package customcodec

import (
	"bytes"
	"errors"

	"github.com/fxamacker/cbor/v2"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/record"
)

// What clients are told: for those who write them, in words of theirs, and never
// what the library says, which has names of Go's.
var (
	errTextFrame = &codec.Error{Reason: "kafka-cbor takes binary messages only"}
	errSyntax    = &codec.Error{Reason: "the message is not well-formed CBOR, or nested too deeply"}
	errBehind    = &codec.Error{Reason: "there is something behind the CBOR map"}
	errTwice     = &codec.Error{Reason: "the CBOR map has a member twice"}
	errShape     = &codec.Error{Reason: `expected a CBOR map: {"topic": text, "value": bytes, "key": bytes, "headers": [[text, bytes]]}`}
	errNoTopic   = &codec.Error{Reason: `the CBOR map has no "topic"`}
	errNoValue   = &codec.Error{Reason: `the CBOR map has no "value"; that of a tombstone is null`}
	errTombstone = &codec.Error{Reason: `a tombstone needs a key: "value" is null and there is no "key"`}
)

// incoming is the map that a client sends.
type incoming struct {
	Topic   *string          `cbor:"topic"`
	Key     octets           `cbor:"key"`
	Value   octets           `cbor:"value"`
	Headers []incomingHeader `cbor:"headers"`
}

type incomingHeader struct {
	_     struct{} `cbor:",toarray"`
	Key   *string
	Value octets
}

// octets are the bytes of a byte string or a text string, or nil for null.
type octets struct {
	bytes []byte
	given bool
}

// The first bytes of what octets may be.
const (
	cborNull      = 0xf6
	cborUndefined = 0xf7
	majorBytes    = 2
	majorText     = 3
)

// typedArray is the tag that some libraries put before a Uint8Array (RFC 8746).
var typedArray = []byte{0xd8, 0x40}

// UnmarshalCBOR implements cbor.Unmarshaler. It looks at the type first, so that
// nothing is made of what is refused anyway.
func (o *octets) UnmarshalCBOR(item []byte) error {
	item = bytes.TrimPrefix(item, typedArray)
	if len(item) == 0 {
		return errShape
	}
	switch {
	case item[0] == cborUndefined: // as if it were not there
		return nil
	case item[0] == cborNull:
		o.given = true
		return nil
	case item[0]>>5 == majorBytes:
		o.given = true
		return decoding.Unmarshal(item, &o.bytes)
	case item[0]>>5 == majorText:
		o.given = true
		var s string
		err := decoding.Unmarshal(item, &s)
		o.bytes = []byte(s)
		return err
	default:
		return errShape
	}
}

// Decode implements codec.Codec.
func (c *CBOR) Decode(r *record.Record, binary bool, message []byte) (bool, error) {
	if !binary {
		return false, errTextFrame
	}
	if len(message) == 0 {
		return false, nil
	}
	var m incoming
	if err := decoding.Unmarshal(message, &m); err != nil {
		return false, sentence(err)
	}
	switch {
	case m.Topic == nil:
		return false, errNoTopic
	case !m.Value.given:
		return false, errNoValue
	case m.Value.bytes == nil && m.Key.bytes == nil:
		return false, errTombstone
	}
	// All fields, also those that the message says nothing about: r may hold
	// the record before.
	*r = record.Record{Topic: *m.Topic, Partition: record.AnyPartition, Key: m.Key.bytes, Value: m.Value.bytes}
	for _, h := range m.Headers {
		if h.Key == nil || !h.Value.given {
			return false, errShape
		}
		r.Headers = append(r.Headers, record.Header{Key: *h.Key, Value: h.Value.bytes})
	}
	return true, nil
}

// sentence returns what the client is told about an error of the library's.
func sentence(err error) *codec.Error {
	var (
		twice  *cbor.DupMapKeyError
		behind *cbor.ExtraneousDataError
		shape  *cbor.UnmarshalTypeError
		ours   *codec.Error
	)
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &twice):
		return errTwice
	case errors.As(err, &behind):
		return errBehind
	case errors.As(err, &shape):
		return errShape
	default:
		return errSyntax
	}
}
