package main

import (
	"encoding/binary"
	"fmt"
)

// Operation codes of WebSocket frames.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// compressed is set in the first byte of a frame whose payload is compressed
// (RFC 7692, section 6).
const compressed = 0x40

// frame is what a server sent.
type frame struct {
	op       byte
	deflated bool
	payload  []byte // where it was read
}

// nextFrame cuts the first frame off b. It reports false where b ends before the
// frame does.
func nextFrame(b []byte) (f frame, rest []byte, ok bool, err error) {
	if len(b) < 2 {
		return f, b, false, nil
	}
	if b[0]&0xb0 != 0x80 || b[1]&0x80 != 0 {
		return f, b, false, fmt.Errorf("a frame that is a fragment or masked: % x", b[:2])
	}
	size, head := uint64(b[1]), 2
	switch size {
	case 126:
		if head = 4; len(b) < head {
			return f, b, false, nil
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if head = 10; len(b) < head {
			return f, b, false, nil
		}
		size = binary.BigEndian.Uint64(b[2:])
	}
	if uint64(len(b)-head) < size {
		return f, b, false, nil
	}
	end := head + int(size)
	return frame{op: b[0] & 0x0f, deflated: b[0]&compressed != 0, payload: b[head:end]}, b[end:], true, nil
}

// appendClientFrame frames what a client sends. The mask is zero, so that the
// payload stands as it is; a server unmasks it all the same.
func appendClientFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	if len(payload) < 126 {
		b = append(b, 0x80|byte(len(payload)))
	} else {
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}
