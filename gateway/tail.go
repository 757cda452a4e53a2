package gateway

import (
	"fmt"
	"slices"
	"sort"
	"sync/atomic"
	"time"

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

// tail holds the newest records of a topic in one encoding, as finished frames
// in a ring of segments. Its stream of bytes is numbered from 0 when the tail is
// made; a session's place in it is such a number.
//
// The topic's worker appends, under the topic's lock. Readers need no lock: the
// head is stored after the bytes before it were written, and a view, once
// published, does not change.
type tail struct {
	topic    *topic
	encoding *Encoding
	deflater *deflater

	head atomic.Uint64
	view atomic.Pointer[[]*segment]

	// held is how many bytes the segments take, begun when the last of them was,
	// and appended when something was last put into it. The topic's lock guards
	// them.
	held            int64
	begun, appended time.Time

	followers followers
}

// read returns the bytes from pos on that stand contiguously, none where pos is
// the head. It reports false where the tail no longer holds pos.
func (t *tail) read(pos uint64) ([]byte, bool) {
	// The head is loaded first: a view that is loaded later holds all bytes
	// before it that have not been trimmed.
	head := t.head.Load()
	if pos == head {
		return nil, true
	}
	segments := *t.view.Load()
	i := sort.Search(len(segments), func(i int) bool { return segments[i].base > pos }) - 1
	if i < 0 {
		return nil, false
	}
	end := head
	if i+1 < len(segments) {
		end = min(end, segments[i+1].base)
	}
	seg := segments[i]
	return seg.data[pos-seg.base : end-seg.base], true
}

// oldest returns the first place that the tail still holds.
func (t *tail) oldest() uint64 {
	if segments := *t.view.Load(); len(segments) > 0 {
		return segments[0].base
	}
	return t.head.Load()
}

// append encodes records and makes them visible. The topic's lock is held.
func (t *tail) append(records []record.Record) {
	head := t.head.Load()
	for i := range records {
		n, err := t.encode(head, &records[i])
		if err != nil {
			t.topic.hub.cfg.skipped(t.topic.name, err)
			continue
		}
		head += uint64(n)
	}
	if head == t.head.Load() {
		return
	}
	t.head.Store(head)
	t.appended = time.Now()
	if t.held > t.topic.hub.cfg.Buffer {
		t.trim(t.held - t.topic.hub.cfg.Buffer)
	}
	t.followers.wake()
}

const reasonBehind = "records lost: the client reads more slowly than records come"

// encode puts one record's frame at the end of the stream, which is at head, and
// returns the frame's length. It is not visible before the head is moved.
func (t *tail) encode(head uint64, r *record.Record) (int, error) {
	first := t.encoding.firstByte()
	seg := t.last()
	if seg == nil || len(seg.data)-seg.used < maxHeader {
		seg = t.grow(head, r.Size()+maxHeader)
	}
	// The payload is encoded in place behind a gap for the header. Where it
	// does not fit, append has moved it to memory of its own.
	room := seg.data[seg.used+guessedHeader : seg.used+guessedHeader : len(seg.data)]
	payload, err := t.encoding.append(room, r)
	if err != nil {
		return 0, err
	}
	first, payload = t.deflater.frame(first, payload)
	header := headerLen(len(payload))
	if len(seg.data)-seg.used < header+len(payload) {
		seg = t.grow(head, header+len(payload))
	}
	frame := seg.data[seg.used : seg.used+header+len(payload)]
	copy(frame[header:], payload) // onto itself where it was encoded in place
	putHeader(frame, first, len(payload))
	seg.used += len(frame)
	return len(frame), nil
}

func (t *tail) last() *segment {
	segments := *t.view.Load()
	if len(segments) == 0 {
		return nil
	}
	return segments[len(segments)-1]
}

// grow ends the last segment and adds one that begins at head and has room for
// need bytes.
func (t *tail) grow(head uint64, need int) *segment {
	old := *t.view.Load()
	now := time.Now()
	size := firstSegment
	if n := len(old); n > 0 {
		size = min(nextSize(len(old[n-1].data), now.Sub(t.begun)), t.topic.hub.segmentLimit())
		if old[n-1].used == 0 {
			// Nothing was put into it, so nobody can stand in it.
			t.hold(-int64(len(old[n-1].data)))
			old = old[:n-1]
		}
	}
	seg := &segment{base: head, data: make([]byte, max(size, need))}
	t.begun = now
	t.hold(int64(len(seg.data)))
	view := append(slices.Clip(old), seg)
	t.view.Store(&view)
	return seg
}

// trim lets go of the oldest segments until that many bytes are free, or there
// is no other than the last. The topic's lock is held.
func (t *tail) trim(bytes int64) {
	segments := *t.view.Load()
	drop := 0
	for drop < len(segments)-1 && bytes > 0 {
		bytes -= int64(len(segments[drop].data))
		drop++
	}
	t.drop(drop)
}

// idle lets go of the last segment too, if there is no other and every follower
// has been served all of it. The topic's lock is held.
func (t *tail) idle() {
	if segments := *t.view.Load(); len(segments) == 1 && t.followers.allAt(t.head.Load()) {
		t.drop(1)
	}
}

// drop lets go of the first n segments. A session that has not been served them
// yet has lost records.
func (t *tail) drop(n int) {
	if n == 0 {
		return
	}
	segments := *t.view.Load()
	for _, seg := range segments[:n] {
		t.hold(-int64(len(seg.data)))
	}
	view := slices.Clone(segments[n:])
	t.view.Store(&view)
	oldest := t.oldest()
	t.followers.each(func(f *follower) {
		if !f.replaying.Load() && f.pos.Load() < oldest {
			// The flusher would notice by itself, unless it is blocked.
			f.session.Close(CloseRecordsLost, reasonBehind)
		}
	})
}

func (t *tail) hold(n int64) {
	t.held += n
	t.topic.hub.held.Add(n)
}
