package codec

import "unicode/utf8"

// maxReason is the room that a WebSocket close frame has for a reason, in bytes
// (RFC 6455, section 5.5: 125, of which the code takes two).
const maxReason = 123

// Error tells a client that its message cannot be decoded. Its session is closed
// with 1007 and the reason. The text of an error of any other type stays in the
// server: it may hold what is not for clients.
type Error struct {
	// Reason is a short English sentence for whoever writes the client: under
	// 123 bytes, no names of Go's, no more of the message than a few quoted
	// bytes.
	Reason string
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// CloseReason returns the reason, cut where it would not fit a close frame. It
// is a method so that it can be asked for without importing this package.
func (e *Error) CloseReason() string {
	s := e.Reason
	if len(s) <= maxReason {
		return s
	}
	end := maxReason
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// Interface guard.
var _ error = (*Error)(nil)
