package kafkaws

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"time"
)

// errNoHijack means that something in front of the handler hides the
// connection.
var errNoHijack = errors.New("connection cannot be taken over")

// handshake lets the WebSocket library upgrade a connection of Caddy's.
//
// The library wants an http.Hijacker, which Caddy's writers are not (they only
// unwrap to one), and takes the connection before it has sent the response,
// which nobody between it and the server then sees. So what it hijacks here is
// the session's own connection, whose first Write hands the response to
// switchProtocols: there it goes through all writers, so that access logs,
// metrics and the header directive see a 101, and only then is the connection
// taken from the innermost one. The outer ones would count its bytes, and hold
// the request in memory, for as long as the session lasts.
type handshake struct {
	http.ResponseWriter
	conn net.Conn
	rw   *bufio.ReadWriter
	// extensions replaces what the library says of compression.
	extensions string
}

// Hijack gives the library the session's connection.
func (h *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, h.rw, nil
}

// switchProtocols sends the library's response and returns the client's
// connection, with what the client has sent early.
func (h *handshake) switchProtocols(response []byte) (net.Conn, []byte, error) {
	parsed, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(response)), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the upgrade response: %w", err)
	}
	_ = parsed.Body.Close() // a 101 has none
	hijacker, err := innermost(h.ResponseWriter)
	if err != nil {
		return nil, nil, err
	}
	header := h.Header()
	maps.Copy(header, parsed.Header)
	if h.extensions != "" {
		header.Set("Sec-WebSocket-Extensions", h.extensions)
	}
	h.WriteHeader(http.StatusSwitchingProtocols)

	conn, rw, err := hijacker.Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over the connection: %w", err)
	}
	if err := rw.Flush(); err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("sending the upgrade response: %w", err)
	}
	early, err := rw.Peek(rw.Reader.Buffered())
	if err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("reading what came early: %w", err)
	}
	// The server's own time limits do not reach a session.
	_ = conn.SetDeadline(time.Time{})
	return conn, bytes.Clone(early), nil // rw's buffer is the server's
}

// innermost finds the server's own response writer.
func innermost(w http.ResponseWriter) (http.Hijacker, error) {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = wrapper.Unwrap()
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return nil, fmt.Errorf("%w: the response writer is a %T; a handler in front of kafka_websocket must implement Unwrap", errNoHijack, w)
	}
	return hijacker, nil
}

var _ http.Hijacker = (*handshake)(nil)
