package gateway

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
)

// farewell carries out the closing handshake (RFC 6455 §7) after reading has
// ended with err, and returns the code with which the session ended.
func (s *Session) farewell(err error) int {
	var peer *websocket.CloseError
	peerClosed := errors.As(err, &peer) && peer.Code != closeGone
	gone := !peerClosed && lost(err)
	if gone {
		s.markBroken()
	}
	s.mu.Lock()
	closing, code := s.closing, 0
	if closing {
		code = s.parting.code
	}
	s.mu.Unlock()
	if !closing && !gone {
		// What is left is a message that the library could not inflate.
		code = CloseNotDecodable
		s.Close(code, "the message could not be decompressed")
	}
	s.awaitSide(1)
	if !peerClosed && !gone {
		s.awaitPeer()
	}
	if !closing && gone {
		return closeGone
	}
	return code
}

// lost reports whether reading ended because of the connection, not because of
// what was read.
func lost(err error) bool {
	var gone *websocket.CloseError
	var netErr net.Error
	return errors.As(err, &gone) || errors.As(err, &netErr) ||
		errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
}

// awaitPeer waits for the client to close the connection. To close it while
// something unread is left in the socket would reset it, and might take the
// Close frame away from the client.
func (s *Session) awaitPeer() {
	if half, ok := s.conn.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = s.conn.Conn.SetReadDeadline(time.Now().Add(lingerPatience))
	_, _ = io.CopyN(io.Discard, s.conn.Conn, maxLinger)
}

const (
	// lingerPatience is how long, and maxLinger how many bytes, are read of a
	// client that was sent a Close frame and goes on sending.
	lingerPatience = 2 * time.Second
	maxLinger      = 64 << 20
)

// logEnd writes the line that stands for the session in the log: the access log
// has only its handshake.
func (s *Session) logEnd(code int) {
	entry := s.pool.cfg.Logger.Check(zap.InfoLevel, "session ended")
	if entry == nil {
		return
	}
	s.mu.Lock()
	reason, by := s.part().reason, "server"
	switch {
	case s.parting.byClient:
		by = "client"
	case !s.closing:
		by = "network"
	}
	s.mu.Unlock()
	fields := append([]zap.Field{
		zap.Int("code", code), zap.String("reason", reason), zap.String("by", by),
		zap.Duration("duration", s.pool.uptime()-s.started),
	}, s.fields...)
	entry.Write(fields...)
}
