package gateway

import (
	"bytes"

	"github.com/klauspost/compress/flate"
)

// Deflate says how messages are compressed (permessage-deflate, RFC 7692). The
// zero value sends them as they are.
//
// Each message is compressed alone ("server_no_context_takeover"): that is what
// lets all sessions share the frame, and what bounds memory.
type Deflate struct {
	// On turns compression on.
	On bool
	// MinSize is the size in bytes below which a message is sent as it is.
	MinSize int
	// WindowBits is the LZ77 window that the client asked for, as a power of
	// two, 8 to 15 (RFC 7692 §7.1.2.1); 0 is 15.
	WindowBits int
}

// deflater compresses messages one at a time. Its output is good until the next
// call.
type deflater struct {
	cfg Deflate
	out bytes.Buffer
	w   *flate.Writer
}

func newDeflater(cfg Deflate) *deflater {
	if !cfg.On {
		return nil
	}
	return &deflater{cfg: cfg}
}

// compress returns the compressed form of a message, or the message itself and
// false where that is shorter.
func (d *deflater) compress(payload []byte) ([]byte, bool) {
	if len(payload) < d.cfg.MinSize || len(payload) == 0 {
		return payload, false
	}
	d.out.Reset()
	if d.w == nil {
		d.w = d.newWriter()
	} else {
		d.w.Reset(&d.out)
	}
	// Writing to a bytes.Buffer cannot fail.
	_, _ = d.w.Write(payload)
	_ = d.w.Flush()
	// The last four bytes are those of an empty stored block, which RFC 7692
	// §7.2.1 has the sender leave out.
	compressed := bytes.TrimSuffix(d.out.Bytes(), []byte{0x00, 0x00, 0xff, 0xff})
	if len(compressed) >= len(payload) {
		return payload, false
	}
	return compressed, true
}

// frame returns what goes into the frame of a message whose first byte is first:
// the compressed message, marked as such, where that pays. A nil deflater leaves
// both as they are.
func (d *deflater) frame(first byte, payload []byte) (byte, []byte) {
	if d == nil {
		return first, payload
	}
	payload, compressed := d.compress(payload)
	if compressed {
		first |= rsv1Bit
	}
	return first, payload
}

func (d *deflater) newWriter() *flate.Writer {
	var w *flate.Writer
	var err error
	if bits := d.cfg.WindowBits; bits != 0 && bits < 15 {
		w, err = flate.NewWriterWindow(&d.out, 1<<bits)
	} else {
		w, err = flate.NewWriter(&d.out, flate.BestSpeed)
	}
	if err != nil {
		// Only a level or a window out of range fails, and both are ours.
		panic(err)
	}
	return w
}
