package gateway

import (
	"fmt"

	"github.com/kafkaws/kafkaws/record"
)

// Codec is what the gateway needs of a codec: see package codec for the whole
// contract.
type Codec interface {
	// Binary tells the frame type of the messages that Append makes.
	Binary() bool
	// Append appends the message that carries r.
	Append(dst []byte, r *record.Record) ([]byte, error)
	// Decode reads a client's message into r; false means that it is to be
	// ignored. An error with a method CloseReason() string has a sentence for
	// the client.
	Decode(r *record.Record, binary bool, message []byte) (bool, error)
}

// Encoding is a way to put records on the wire. Sessions that follow a topic
// with encodings of the same ID, Chain and Deflate share one tail.
type Encoding struct {
	// Chain transforms the records.
	Chain *Chain
	// ID names the codec with all its options.
	ID string
	// Codec makes the messages.
	Codec Codec
	// Deflate compresses messages (permessage-deflate, RFC 7692).
	Deflate Deflate
}

type encodingKey struct {
	chain   string
	id      string
	deflate Deflate
}

func (e *Encoding) key() encodingKey { return encodingKey{e.Chain.id(), e.ID, e.Deflate} }

// append is the codec's Append. A codec of somebody else's that panics has failed
// on that record; it does not take everybody's sessions with it.
func (e *Encoding) append(dst []byte, r *record.Record) (message []byte, err error) {
	defer recovered("codec", &err)
	return e.Codec.Append(dst, r)
}

// decode is the codec's Decode, with the same care.
func (e *Encoding) decode(r *record.Record, binary bool, message []byte) (publish bool, err error) {
	defer recovered("codec", &err)
	return e.Codec.Decode(r, binary, message)
}

// recovered makes an error of a panic; it is deferred.
func recovered(of string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s panicked: %v", of, p)
	}
}

// firstByte is the first byte of the frame of an uncompressed message.
func (e *Encoding) firstByte() byte {
	if e.Codec.Binary() {
		return finBit | opBinary
	}
	return finBit | opText
}
