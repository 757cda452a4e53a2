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

// nextFrame cuts the first frame off b. It reports false where b ends before the
// frame does.
func nextFrame(b []byte) (op byte, payload, rest []byte, ok bool, err error) {
	if len(b) < 2 {
		return 0, nil, b, false, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return 0, nil, b, false, fmt.Errorf("a frame that is a fragment, compressed or masked: % x", b[:2])
	}
	size, head := uint64(b[1]), 2
	switch size {
	case 126:
		if head = 4; len(b) < head {
			return 0, nil, b, false, nil
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if head = 10; len(b) < head {
			return 0, nil, b, false, nil
		}
		size = binary.BigEndian.Uint64(b[2:])
	}
	if uint64(len(b)-head) < size {
		return 0, nil, b, false, nil
	}
	end := head + int(size)
	return b[0] & 0x0f, b[head:end], b[end:], true, nil
}

// clientFrame frames what a client sends. The mask is zero, so that the payload
// stands as it is.
func clientFrame(op byte, payload []byte) []byte {
	frame := []byte{0x80 | op}
	if len(payload) < 126 {
		frame = append(frame, 0x80|byte(len(payload)))
	} else {
		frame = append(frame, 0x80|126)
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	}
	return append(append(frame, 0, 0, 0, 0), payload...)
}
