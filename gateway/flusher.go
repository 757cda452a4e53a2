package gateway

import (
	"errors"
	"net"
	"os"
	"time"
)

const (
	// chunkFree is how many bytes are written at once to a socket that takes
	// them: a longer write costs no less per byte, and lets other topics and
	// control frames wait.
	chunkFree = 64 << 10
	// chunkBlocked is how many are, once the socket has been full: it is what
	// a session that waits holds of its own, and one record of TLS.
	chunkBlocked = 16 << 10
)

// errTorn means that the rest of a frame that was begun is no longer held, so
// that nothing sensible can follow on the connection.
var errTorn = errors.New("fell off the tail in the middle of a frame")

// wake makes sure that a flusher looks at what there is to send.
func (s *Session) wake() {
	for {
		switch s.flusher.Load() {
		case flushIdle:
			if s.flusher.CompareAndSwap(flushIdle, flushRunning) {
				go s.flushing()
				return
			}
		case flushRunning:
			if s.flusher.CompareAndSwap(flushRunning, flushAgain) {
				return
			}
		default:
			return
		}
	}
}

// flush sends what there is to send, and ends.
func (s *Session) flush() {
	for {
		if err := s.send(); err != nil {
			s.fail(err)
			return
		}
		if s.flusher.CompareAndSwap(flushRunning, flushIdle) {
			return
		}
		if !s.flusher.CompareAndSwap(flushAgain, flushRunning) {
			return // held: the session has ended
		}
	}
}

// fail gives up the socket: an expired deadline, a reset, a torn frame.
func (s *Session) fail(err error) {
	s.flusher.Store(flushHeld)
	s.mu.Lock()
	if p := s.part(); p.reason == "" {
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.reason = "the client takes nothing"
		case errors.Is(err, errTorn):
			p.reason = reasonBehind
		}
	}
	s.mu.Unlock()
	s.kill()
}

// send sends until there is nothing left: what is in the side buffer first, then
// a chunk of the next topic that has one.
func (s *Session) send() error {
	for {
		side, closing := s.takeSide()
		if len(side) > 0 {
			if err := s.write(side); err != nil {
				return err
			}
			s.sideWritten()
		}
		if closing {
			return nil // nothing follows a Close frame
		}
		more, err := s.sendChunk()
		if err != nil {
			return err
		}
		if !more && len(side) == 0 {
			return nil
		}
	}
}

// takeSide takes what is in the side buffer, and reports whether it was the
// last.
func (s *Session) takeSide() ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	side := s.side
	s.side = nil
	s.writing = len(side) > 0
	return side, s.closing
}

func (s *Session) sideWritten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	s.changed.Broadcast()
}

// sendChunk writes one chunk of the next topic in turn that has something, and
// reports whether one had.
func (s *Session) sendChunk() (bool, error) {
	for range s.followers {
		f := s.followers[s.turn]
		if s.turn++; int(s.turn) == len(s.followers) {
			s.turn = 0
		}
		if f.replay != nil {
			if s.isBroken() {
				return false, net.ErrClosed
			}
			return true, s.replayPiece(f)
		}
		chunk, held := f.tail.read(f.pos.Load())
		if !held {
			s.Close(CloseRecordsLost, reasonBehind)
			return true, nil
		}
		if len(chunk) > 0 {
			return true, s.writeFrames(f, chunk)
		}
	}
	return false, nil
}

// writeFrames writes whole frames from the front of chunk and moves the
// follower. A socket that is full is waited for with a copy, so that nobody who
// waits keeps a segment in memory.
func (s *Session) writeFrames(f *follower, chunk []byte) error {
	limit := chunkFree
	if s.slow || !s.direct.ok() {
		limit = chunkBlocked
	}
	chunk = chunk[:wholeFrames(chunk, limit)]
	pos := f.pos.Load()
	written := 0
	if s.direct.ok() {
		var err error
		if written, err = s.direct.write(chunk); err != nil {
			return err
		}
		if written > 0 {
			s.live()
		}
		s.slow = written < len(chunk)
	}
	f.pos.Store(pos + uint64(written))
	f.tail.topic.pacer.moved()
	if written == len(chunk) {
		return nil
	}
	piece, owed := nextPiece(chunk, written)
	return s.writeCopies(f, piece, owed)
}

// nextPiece returns what of chunk to copy and write after its first written
// bytes: whole frames where they fit, else a part of one, and then how many
// bytes of that frame are owed after the piece.
func nextPiece(chunk []byte, written int) (piece []byte, owed int) {
	boundary := 0
	for boundary < written {
		boundary += frameLen(chunk[boundary:])
	}
	rest := boundary - written
	if boundary < len(chunk) {
		// Whole frames behind the one that was begun, if they fit too.
		if whole := wholeFrames(chunk[boundary:], chunkBlocked-min(rest, chunkBlocked)); rest == 0 || rest+whole <= chunkBlocked {
			rest += whole
		}
	}
	n := min(rest, chunkBlocked)
	return chunk[written : written+n], rest - n
}

// writeCopies writes a piece of the tail, and then what is owed of its last
// frame, from a buffer of the session's own.
func (s *Session) writeCopies(f *follower, piece []byte, owed int) error {
	buf := s.pool.chunks.Get().(*[chunkBlocked]byte)
	defer s.pool.chunks.Put(buf)
	for {
		n := copy(buf[:], piece) // from here on, nothing refers to the segment
		err := s.write(buf[:n])
		if err != nil {
			return err
		}
		// That a client takes records is a sign of life; that the kernel takes
		// a ping is not.
		s.live()
		pos := f.pos.Add(uint64(n))
		f.tail.topic.pacer.moved()
		if owed == 0 {
			return nil
		}
		var held bool
		if piece, held = f.tail.read(pos); !held {
			return errTorn
		}
		piece = piece[:min(owed, chunkBlocked)]
		owed -= len(piece)
	}
}

// write writes p whole, waiting while the socket is full, as long as there is
// progress. After an error nothing more can be written.
func (s *Session) write(p []byte) error {
	if s.direct.ok() {
		n, err := s.direct.write(p)
		if err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
	for {
		s.armWrite()
		n, err := s.conn.Conn.Write(p)
		p = p[n:]
		switch {
		case err == nil:
			s.disarmWrite()
			return nil
		case n > 0 && s.direct.ok() && errors.Is(err, os.ErrDeadlineExceeded) && !s.isClosing():
			// A client that takes little is slow, not gone. (TLS cannot be
			// gone on with after a deadline.)
		default:
			return err
		}
	}
}

// armWrite sets the deadline of a write that may wait; a session that is closing has its own.
func (s *Session) armWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := time.Now().Add(s.pool.cfg.WriteTimeout)
	if s.closing && s.parting.by.Before(by) {
		by = s.parting.by
	}
	_ = s.conn.Conn.SetWriteDeadline(by)
	s.waiting = true
}

// disarmWrite takes the deadline away: one that is past would fail the next
// write that does not wait.
func (s *Session) disarmWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = false
	if !s.closing {
		_ = s.conn.Conn.SetWriteDeadline(time.Time{})
	}
}
