package gateway

import (
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/record"
)

const (
	firstScratch = 512
	keptScratch  = 64 << 10
	// wireFactor and wireSlack bound what a message may take on the wire,
	// headers of its fragments included, in terms of the size it may have. A
	// fragment of one byte takes seven, so honest messages of the largest
	// size in fragments of a few bytes still pass.
	wireFactor = 4
	wireSlack  = 64 << 10
)

var (
	errTooBig  = errors.New("message too big")
	errNotUTF8 = errors.New("text is not utf-8")
)

// inbound is what one message takes, from its first byte until the record that it
// was is written; it is shared by all sessions of a pool, so that an idle session
// has none of it.
type inbound struct {
	buf    []byte
	record record.Record // its bytes may stand in buf
	box    timebox
	// session and size are those of a record that the producer has, and done is
	// what it calls, bound once.
	session *Session
	size    int
	done    func(record.Outcome)
}

func newInbound() *inbound {
	in := new(inbound)
	in.done = in.landed
	return in
}

// done takes an inbound back.
func (p *Pool) done(in *inbound) {
	if cap(in.buf) > keptScratch {
		in.buf = nil
	}
	// A client's records are mostly for one topic, whose name a codec need not
	// make again.
	in.record, in.session = record.Record{Topic: in.record.Topic}, nil
	p.scratch.Put(in)
}

// read reads messages until the client closes, the connection breaks, or the
// session has closed for something that the client sent. The error that it
// returns is never nil.
func (s *Session) read() error {
	for {
		if err := s.await(); err != nil {
			return err
		}
		opcode, r, err := s.ws.NextReader()
		if err != nil {
			return err
		}
		if err := s.readMessage(opcode == websocket.BinaryMessage, r); err != nil {
			return err
		}
	}
}

// await waits for the beginning of a message, and takes the pongs that come
// before it. An idle session waits here, not in the library: the library's way
// to the socket takes more stack than the 2 KB that a goroutine begins with, and
// that it would keep for as long as the session lasts.
func (s *Session) await() error {
	for {
		head, err := s.input.Peek(2)
		if err != nil {
			return err
		}
		n := int(head[1] & 0x7f)
		// Anything but a right pong is the library's business: fragments, and
		// what RFC 6455 §5.1 and §5.5 forbid, such as a frame without a mask.
		if head[0] != finBit|opPong || head[1]&maskBit == 0 || n > maxControl {
			return nil
		}
		const mask = 4
		if _, err := s.input.Discard(2 + mask + n); err != nil {
			return err
		}
		if err := s.onPong(""); err != nil {
			return err
		}
	}
}

// readMessage reads the rest of one message and acts on it.
func (s *Session) readMessage(binary bool, r io.Reader) error {
	in := s.pool.scratch.Get().(*inbound)
	taken := false
	defer func() {
		if !taken {
			s.pool.done(in)
		}
	}()
	limit := s.pool.cfg.MaxMessageSize
	s.conn.limit(wireFactor*limit + wireSlack)
	err := in.fill(r, limit, !binary)
	s.conn.unlimit()
	switch {
	case errors.Is(err, errTooBig), errors.Is(err, websocket.ErrReadLimit):
		s.Close(CloseTooBig, "the message is larger than this site takes")
	case errors.Is(err, errNotUTF8):
		s.Close(CloseNotDecodable, "the text message is not UTF-8")
	case errors.Is(err, errFlood):
		s.Close(ClosePolicy, "the message is made of too many fragments")
	case err == nil && !s.isClosing():
		taken = s.receive(binary, in)
	}
	return err
}

// fill reads a whole message into the buffer. Text is checked while it comes
// in, so that one that is wrong is not read to its end: the WebSocket library
// leaves that to us, and counts its own limit in compressed bytes.
func (in *inbound) fill(r io.Reader, limit int64, text bool) error {
	buf := in.buf[:0]
	defer func() { in.buf = buf }()
	checked := 0
	for {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(max(2*cap(buf), firstScratch), int(limit)+1+len(buf)))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return errTooBig
		}
		if text {
			end := len(buf)
			if err == nil {
				end -= incomplete(buf[checked:])
			}
			if !utf8.Valid(buf[checked:end]) {
				return errNotUTF8
			}
			checked = end
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// incomplete returns the length of the character at the end of p that is right
// so far but not yet whole.
func incomplete(p []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		if tail := p[len(p)-i:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return i
		}
	}
	return 0
}

// receive acts on a client's message, and reports whether somebody else has in now.
func (s *Session) receive(binary bool, in *inbound) (taken bool) {
	if s.talking != nil {
		s.receiving(true)
		s.talking.Receive(s, binary, in.buf)
		s.receiving(false)
		s.awaitSide(maxSide)
		return false
	}
	publish, err := s.encoding.decode(&in.record, binary, in.buf)
	switch {
	case err != nil:
		reason := "the message is not what the subprotocol says"
		var told interface{ CloseReason() string }
		if errors.As(err, &told) {
			reason = told.CloseReason()
		}
		s.Close(CloseNotDecodable, reason)
	case !publish:
		if s.pool.cfg.Ignored != nil {
			s.pool.cfg.Ignored()
		}
	default:
		return s.publish(in)
	}
	return false
}

// Control frames cost the sender little and are not counted as messages, so
// each session has a budget of them.
const (
	controlBurst  = 1000
	controlPerSec = 100
)

// bucket is a token bucket.
type bucket struct {
	used float64
	last time.Duration
}

// take takes a token at a time, and reports whether there was one.
func (b *bucket) take(now time.Duration) bool {
	b.used = max(0, b.used-controlPerSec*(now-b.last).Seconds()) + 1
	b.last = now
	return b.used <= controlBurst
}

var errControlFlood = errors.New("too many control frames")

func (s *Session) onPing(payload string) error {
	if err := s.onPong(""); err != nil {
		return err
	}
	s.queue(appendFrame(nil, finBit|opPong, []byte(payload)))
	s.awaitSide(maxSide)
	return nil
}

func (s *Session) onPong(string) error {
	if !s.control.take(s.pool.uptime()) {
		s.Close(ClosePolicy, "too many control frames")
		return errControlFlood
	}
	return nil
}
