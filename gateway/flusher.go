package gateway

import (
	"errors"
	"os"
	"time"
)

const (
	// chunkFree is how many bytes are written at once to a socket that takes
	// them: a longer write costs no less per byte, and lets other topics and
	// control frames wait.
	chunkFree = 256 << 10
	// chunkBlocked is how many are to one that can only be written to by waiting:
	// one record of TLS, which is what a session that waits holds of its own.
	chunkBlocked = 16 << 10
	// scrap is room for what most frames are.
	scrap = 1 << 10
)

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
		}
	}
	s.mu.Unlock()
	s.kill()
}

// push sends what the socket takes at once, without waiting, and leaves the rest
// to a flusher. It is how a crew serves its sessions.
func (s *Session) push() {
	for {
		switch s.flusher.Load() {
		case flushIdle:
			if !s.flusher.CompareAndSwap(flushIdle, flushRunning) {
				continue
			}
		case flushRunning:
			if !s.flusher.CompareAndSwap(flushRunning, flushAgain) {
				continue
			}
			return
		default:
			return
		}
		break
	}
	if !s.direct.ok() {
		go s.flushing() // there is no way to write without waiting
		return
	}
	more, err := s.sendSome()
	switch {
	case err != nil:
		s.fail(err)
	case more || !s.flusher.CompareAndSwap(flushRunning, flushIdle) && s.flusher.Load() != flushHeld:
		go s.flushing()
	}
}

// sendSome sends a chunk of records, and reports whether there may be more to
// send.
func (s *Session) sendSome() (more bool, err error) {
	if s.hasSide() || len(s.owed) > 0 {
		return true, nil
	}
	for sent := 0; sent < chunkFree; {
		f, frames, more := s.nextFrames()
		if f == nil {
			return more, nil
		}
		n, err := s.sendFrames(f, frames)
		if err != nil {
			return false, err
		}
		if len(s.owed) > 0 {
			return true, nil
		}
		sent += n
	}
	return true, nil
}

// send sends until there is nothing left: what is owed of a frame that was begun,
// what is in the side buffer, then a chunk of the next topic that has one.
func (s *Session) send() error {
	for {
		if err := s.pay(); err != nil {
			return err
		}
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
		if p := s.takePiece(); p != nil {
			if err := s.write(p); err != nil {
				return err
			}
			s.member.written <- struct{}{}
			continue
		}
		if o, ok := s.takeOrder(); ok {
			if err := s.carryOut(o); err != nil {
				return err
			}
			continue
		}
		f, frames, more := s.nextFrames()
		switch {
		case f != nil:
			if _, err := s.sendFrames(f, frames); err != nil {
				return err
			}
		case more:
			if err := s.sendNext(); err != nil {
				return err
			}
		case len(side) == 0:
			return nil
		}
	}
}

// hasSide reports whether there is anything in the side buffer, or to be done
// there, or was a Close frame, behind which nothing is sent.
func (s *Session) hasSide() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.side) > 0 || s.closing || s.talking != nil && len(s.talking.orders) > 0
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

// nextFrames returns what is new of the next topic in turn that has something. It
// reports more where that takes more than writing.
func (s *Session) nextFrames() (f *follower, frames stretch, more bool) {
	for range s.followers {
		f := s.followers[s.turn]
		if c := f.catchUp; c != nil && (!c.waiting || f.dismissed() || f.pos.Load() != f.tail.head.Load() || s.talking != nil && f.noticed != f.tail.noticed.Load()) {
			return nil, stretch{}, true
		} else if c == nil {
			frames, held := f.tail.read(f.pos.Load())
			if !held || f.dismissed() || s.talking != nil && f.due(&frames) {
				return nil, stretch{}, true
			}
			if len(frames.bytes) > 0 {
				f.index = frames.index
				s.pass()
				return f, frames, false
			}
		}
		s.pass()
	}
	return nil, stretch{}, false
}

// pass passes the turn to the next topic.
func (s *Session) pass() {
	if s.turn++; int(s.turn) == len(s.followers) {
		s.turn = 0
	}
}

// sendNext serves the topic whose turn it is and that takes more than writing.
func (s *Session) sendNext() error {
	f := s.followers[s.turn]
	s.pass()
	if f.dismissed() {
		return s.filterDismissed(f)
	}
	if f.catchUp != nil {
		return s.sendBehind(f)
	}
	if s.talking != nil {
		if told, err := s.tellDue(f); told || err != nil {
			return err
		}
	}
	return s.fallenOff(f)
}

// sendFrames sends what it can of frames of the tail that the follower stands
// before.
func (s *Session) sendFrames(f *follower, frames stretch) (n int, err error) {
	if f.alone() {
		g, buffer := s.gatherer()
		n = f.gather(g, frames)
		err = s.sendGathered(g, buffer)
	} else {
		n, err = s.writeFrames(frames)
	}
	f.pos.Add(uint64(n))
	f.tail.topic.pacer.moved()
	return n, err
}

// writeFrames writes from the front of frames, without waiting, and returns how
// many bytes of whole frames are done with. What a full socket did not take of a
// frame that was begun, and a little more, is copied to be written by somebody
// who waits: so nobody who waits keeps a segment in memory, or depends on it.
func (s *Session) writeFrames(frames stretch) (int, error) {
	if !s.direct.ok() {
		return s.owe(frames, 0, chunkBlocked), nil
	}
	frames = frames.until(frames.cut(0, chunkFree))
	written, err := s.direct.write(frames.bytes)
	if err != nil {
		return 0, err
	}
	if written > 0 {
		s.live()
	}
	if written < len(frames.bytes) {
		// No more than it takes to wait for the socket: what comes next is
		// written from where all sessions read it, while that is in the
		// processor's cache.
		return s.owe(frames, written, 1), nil
	}
	return written, nil
}

// owe copies what of frames is to be written next, after the first written bytes:
// about that many, up to the end of a frame. It returns where that is.
func (s *Session) owe(frames stretch, written, about int) int {
	end := frames.cut(written, written+about)
	s.buffer = s.pool.buffer(end - written)
	// A frame that is larger than the buffers are gets memory of its own.
	s.owed = append((*s.buffer)[:0], frames.bytes[written:end]...)
	return end
}

// pay writes what is owed, waiting for the socket.
func (s *Session) pay() error {
	if len(s.owed) == 0 {
		return nil
	}
	err := s.wait(s.owed)
	s.pool.giveBack(s.buffer)
	s.owed, s.buffer = nil, nil
	if err == nil {
		// That a client takes records is a sign of life; that the kernel takes
		// a ping is not.
		s.live()
	}
	return err
}

// write writes p whole. After an error nothing more can be written.
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
	return s.wait(p)
}

// wait writes p whole, waiting while the socket is full, as long as there is
// progress.
func (s *Session) wait(p []byte) error {
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
