package gateway

import (
	"bufio"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

const (
	// closePatience is how long a client has to take the Close frame and what
	// is in flight before it, and then to answer with its own.
	closePatience = 5 * time.Second
	// maxSide is how many bytes of frames outside the tails may wait before
	// the session is no longer read from.
	maxSide = 64 << 10
	// inputBuffer is the size of the buffer that a session reads through, while
	// its client says little: about the smallest that the library takes.
	inputBuffer = 288
)

// States of a session's flusher.
const (
	flushHeld    int32 = iota // nothing may be written: before the handshake, after the end
	flushIdle                 // no flusher runs
	flushRunning              // a flusher runs
	flushAgain                // a flusher runs and must look again before it ends
)

// Session is one WebSocket client.
//
// It has one lasting goroutine, which reads; the flusher comes and goes. All
// that is sent outside the tails goes through the side buffer.
type Session struct {
	pool       *Pool
	encoding   *Encoding
	chain      *Chain
	mayPublish func(topic string) bool
	fields     []zap.Field
	// followers are changed by the flusher alone, which replaces the slice, under
	// the lock.
	followers []*follower
	talking   *talking // nil for subprotocols that have nothing but records
	member    *member  // nil for sessions that are in no consumer group

	conn    Conn
	input   *bufio.Reader // of conn; the library reads through it too
	ws      *websocket.Conn
	direct  direct
	started time.Duration // by the pool's clock

	// The wheel's: where the session stands, and what it saw of it last.
	slot, slotIndex int32
	tended          uint32
	pinged          bool
	// seen is the tick of the last sign of life.
	seen atomic.Uint32
	// paused tells that the reader waits for something else than the client.
	paused atomic.Bool

	flusher atomic.Int32
	// flushing is the flush method, bound once: to start it allocates nothing.
	flushing func()
	// turn is the topic that is served next; the flusher's own.
	turn int32
	// owed is what must be written before anything else, in buffer where it fits
	// into one. The flusher's own.
	owed   []byte
	buffer *[]byte
	// control is the reader's budget of control frames.
	control bucket

	// mu guards what follows; changed is broadcast when the reader, the end of
	// the session or who arranges subscriptions may wait for it.
	mu      sync.Mutex
	changed sync.Cond
	// side holds whole frames that go out between records; writing tells that
	// the flusher has taken some that are not out yet.
	side    []byte
	writing bool
	// closing tells that a Close frame is or was in the side buffer, behind
	// which nothing is sent; ending that the session closes once its records
	// are acknowledged. parting has more about both.
	closing bool
	ending  bool
	parting *parting
	// waiting tells that the flusher waits for a full socket, under a
	// deadline.
	waiting bool
	// broken tells that the socket is of no more use, and left that the session
	// follows nothing any more.
	broken, left bool
	// inFlight counts the records that are not acknowledged, flightBytes
	// their bytes.
	inFlight    int32
	flightBytes int32
}

// parting is what is known of a session's end. No session has one before, for
// there are many sessions and few that end.
type parting struct {
	// code and reason are what the Close frame said, or what is logged where
	// there was none.
	code     int
	reason   string
	byClient bool      // the client closed, not we
	by       time.Time // the end of the client's time
	// laterCode and laterReason are those of a session that is ending.
	laterCode   int
	laterReason string
}

// part returns the session's parting. The lock is held.
func (s *Session) part() *parting {
	if s.parting == nil {
		s.parting = new(parting)
	}
	return s.parting
}

func newSession(p *Pool, cfg SessionConfig) *Session {
	s := &Session{pool: p, encoding: cfg.Encoding, chain: cfg.Chain, mayPublish: cfg.MayPublish, fields: cfg.Fields}
	s.changed.L = &s.mu
	s.talking = newTalking(p, cfg)
	return s
}

// Conn returns what the WebSocket library is to get when it hijacks the
// connection for the handshake, which it carries out by a Write of the response.
// The library must read through the reader, as websocket.Upgrader does unless it
// was told the size of one.
func (s *Session) Conn(h Handshake) (net.Conn, *bufio.ReadWriter) {
	s.conn.session, s.conn.handshake = s, h
	s.input = bufio.NewReaderSize(&s.conn, inputBuffer)
	// The library borrows the writer's buffer to put the response together.
	return &s.conn, bufio.NewReadWriter(s.input, bufio.NewWriterSize(&s.conn, 256))
}

// Abort ends a session that was not served.
func (s *Session) Abort() {
	s.leave()
	if s.member != nil {
		s.member.leave()
	}
	s.pool.release(s)
}

// Serve starts the session on a WebSocket connection over its Conn, after the
// handshake, and returns.
func (s *Session) Serve(ws *websocket.Conn) {
	s.ws = ws
	s.started = s.pool.uptime()
	s.direct = newDirect(s.conn.Conn)
	limitUnsent(s.conn.Conn)
	// A message that is over the limit on the wire already need not be read; a
	// compressed one may be a little longer than what it stands for.
	limit := s.pool.cfg.MaxMessageSize
	ws.SetReadLimit(limit + limit/1000 + 64)
	ws.SetPingHandler(s.onPing)
	ws.SetPongHandler(s.onPong)
	ws.SetCloseHandler(s.onClose)
	s.live()
	s.tended = s.pool.wheel.now.Load()
	s.flushing = s.flush
	s.flusher.Store(flushIdle)
	if s.talking != nil {
		s.tellAside(Opened{})
	}
	s.pool.wheel.add(s)
	s.reach()
	if s.member != nil {
		s.member.serve()
	}
	go s.run()
	s.wake()
}

// connected gives the session its socket.
func (s *Session) connected(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn.Conn = conn
	if s.closing {
		_ = conn.SetDeadline(s.parting.by)
	}
}

// run reads until the session ends, and ends it.
func (s *Session) run() {
	err := s.read()
	s.leave()
	code := s.farewell(err)
	s.flusher.Store(flushHeld)
	_ = s.conn.Close()
	s.pool.wheel.remove(s)
	if s.member != nil {
		s.member.leave()
	}
	s.logEnd(code)
	if s.pool.cfg.Ended != nil {
		s.pool.cfg.Ended(code)
	}
	s.pool.release(s)
}

// leave ends to follow anything.
func (s *Session) leave() {
	s.mu.Lock()
	s.left = true
	followers := slices.Clone(s.followers)
	if t := s.talking; t != nil {
		for _, o := range t.orders {
			followers = append(followers, o.followers...)
		}
		t.orders, t.asked = nil, nil
		t.cancel()
		s.changed.Broadcast()
	}
	s.mu.Unlock()
	for _, f := range followers {
		f.leave()
	}
	if s.member != nil {
		s.member.cancel()
	}
}

// gone is closed when the session has ended.
func (s *Session) gone() <-chan struct{} {
	if s.talking != nil {
		return s.talking.ctx.Done()
	}
	return s.pool.ctx.Done()
}

// Close sends a Close frame and lets nothing follow it. A session that is
// closing already keeps its first code. It does not block.
func (s *Session) Close(code int, reason string) {
	var frames []byte
	if s.talking != nil {
		frames = s.message(Closing{code})
	}
	s.queueClose(appendClose(frames, code, reason), code, reason)
}

// finishAndClose closes the session once Kafka has answered for all records
// that it has published, and all requests that were read are answered.
func (s *Session) finishAndClose(code int, reason string) {
	s.mu.Lock()
	wait := s.answering()
	if wait && !s.ending {
		s.ending = true
		s.part().laterCode, s.part().laterReason = code, reason
	}
	s.mu.Unlock()
	if !wait {
		s.Close(code, reason)
	}
}

// giveUp closes the session without waiting for Kafka's answers any longer. A
// client that has records without one is told so instead of the reason; but not one
// that is told of each record, and so knows which ones these are.
func (s *Session) giveUp(code int, reason string) {
	s.mu.Lock()
	unanswered := s.inFlight > 0 && s.talking == nil
	s.mu.Unlock()
	if unanswered {
		code, reason = publishFailure(record.ErrUnknownOutcome)
	}
	s.Close(code, reason)
}

// kill ends the session without a word.
func (s *Session) kill() {
	s.markBroken()
	_ = s.conn.Close()
}

// live notes a sign of life.
func (s *Session) live() { s.seen.Store(s.pool.wheel.now.Load()) }

// tend is called once in a ping interval: it pings a quiet client, and ends the
// session of one that gave no sign of life since it was last pinged.
func (s *Session) tend(now uint32) {
	s.mu.Lock()
	// While the reader waits, a pong may be in the socket, unread; and behind
	// a write that waits no ping gets out. Both have time limits of their own.
	excused := s.paused.Load() || s.waiting || s.closing
	talks := s.talking != nil && !s.closing && len(s.followers) > 0 && len(s.talking.orders) == 0
	s.mu.Unlock()
	if talks {
		s.order(order{progress: true})
	}
	seen := s.seen.Load()
	alive := int32(seen-s.tended) >= 0
	s.tended = now
	switch {
	case excused:
		s.pinged = false
	case !alive && s.pinged:
		s.mu.Lock()
		s.part().reason = "no sign of life"
		s.mu.Unlock()
		s.kill()
	case now-seen >= slots/4 || !alive:
		s.pinged = true
		s.queue(pingFrame)
	default:
		s.pinged = false
	}
}

// pingFrame is a ping without payload (RFC 6455 §5.5.2).
var pingFrame = []byte{finBit | opPing, 0}

// queue puts whole frames into the side buffer, unless the session is closing.
func (s *Session) queue(frames []byte) {
	s.mu.Lock()
	if s.closing || s.broken {
		s.mu.Unlock()
		return
	}
	s.side = append(s.side, frames...)
	s.mu.Unlock()
	s.wake()
}

// queueClose puts a Close frame into the side buffer and gives the client its
// last seconds.
func (s *Session) queueClose(frame []byte, code int, reason string) {
	s.mu.Lock()
	if s.closing || s.broken {
		s.mu.Unlock()
		return
	}
	s.closing = true
	if s.member != nil {
		s.member.cancel()
	}
	s.side = append(s.side, frame...)
	p := s.part()
	p.code, p.reason, p.by = code, reason, time.Now().Add(closePatience)
	if s.conn.Conn != nil {
		// A flusher that is blocked, and the reader, get until then too.
		_ = s.conn.Conn.SetDeadline(p.by)
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	s.wake()
}

// onClose answers the client's Close frame with its code (RFC 6455 §5.5.1), unless
// it is itself the answer to ours.
func (s *Session) onClose(code int, reason string) error {
	frame := []byte{finBit | opClose, 0}
	if code != websocket.CloseNoStatusReceived {
		frame = appendClose(nil, code, "")
	}
	s.mu.Lock()
	s.part().byClient = !s.closing
	s.mu.Unlock()
	s.queueClose(frame, code, reason)
	return nil
}

// isClosing reports whether what the client still sends is of no interest.
func (s *Session) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing || s.ending || s.broken
}

func (s *Session) isBroken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

func (s *Session) markBroken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
	s.side = nil
	s.changed.Broadcast()
}

// awaitSide waits until the side buffer has fewer than limit bytes, none of
// them on their way, if limit is 1. It ends early when the socket breaks, which
// a write that makes no progress makes happen.
func (s *Session) awaitSide(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.broken && (len(s.side) >= limit || limit == 1 && s.writing) {
		s.paused.Store(true)
		s.changed.Wait()
	}
	s.paused.Store(false)
}
