package gateway

import "encoding/binary"

// Opcodes of RFC 6455 §5.2.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

const (
	finBit  = 0x80
	rsv1Bit = 0x40 // marks a compressed message, RFC 7692 §6
	maskBit = 0x80 // marks a frame of a client, RFC 6455 §5.3
	// maxControl is the longest payload of a control frame, RFC 6455 §5.5.
	maxControl = 125

	// maxHeader is the longest header of an unmasked frame.
	maxHeader = 10
	// guessedHeader is the header's length for payloads of 126 to 65,535
	// bytes, which most records have: payloads are encoded behind a gap of
	// this length, and moved when the guess was wrong.
	guessedHeader = 4
)

// headerLen returns the length of the header of an unmasked frame (RFC 6455
// §5.2) whose payload has n bytes.
func headerLen(n int) int {
	switch {
	case n <= 125:
		return 2
	case n <= 0xffff:
		return 4
	default:
		return maxHeader
	}
}

// putHeader writes the header of a whole, unmasked message with a payload of n
// bytes to dst, which has headerLen(n) bytes of room.
func putHeader(dst []byte, first byte, n int) {
	dst[0] = first
	switch headerLen(n) {
	case 2:
		dst[1] = byte(n)
	case 4:
		dst[1] = 126
		binary.BigEndian.PutUint16(dst[2:], uint16(n))
	default:
		dst[1] = 127
		binary.BigEndian.PutUint64(dst[2:], uint64(n))
	}
}

// appendFrame appends a whole, unmasked message to dst.
func appendFrame(dst []byte, first byte, payload []byte) []byte {
	var h [maxHeader]byte
	putHeader(h[:], first, len(payload))
	dst = append(dst, h[:headerLen(len(payload))]...)
	return append(dst, payload...)
}

// appendClose appends a Close frame (RFC 6455 §5.5.1). The reason is cut to the
// 123 bytes that a control frame has room for.
func appendClose(dst []byte, code int, reason string) []byte {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	dst = append(dst, finBit|opClose, byte(2+len(reason)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}
