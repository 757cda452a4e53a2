package record

import (
	"testing"
	"unsafe"
)

// TestSizeOfRecord: there is a Record for each one that is on its way, so that a
// field more costs a gateway that is catching up a great deal of memory. The order
// of the fields leaves no gaps.
func TestSizeOfRecord(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("sizes are those of 64 bits")
	}
	if n := unsafe.Sizeof(Record{}); n != 128 {
		t.Errorf("a Record takes %d bytes, not 128", n)
	}
}

// TestCopiesKeepEmptyAndNull: null and what is empty are not the same, wherever
// the copy goes.
func TestCopiesKeepEmptyAndNull(t *testing.T) {
	for _, buf := range [][]byte{nil, {}, []byte("before")} {
		r := Record{Value: []byte{}, Headers: []Header{{Key: "empty", Value: []byte{}}, {Key: "null"}}}
		c, _ := r.CopyTo(buf)
		if c.Key != nil || c.Value == nil || c.Headers[0].Value == nil || c.Headers[1].Value != nil {
			t.Errorf("the copy behind %q is %#v", buf, c)
		}
	}
}
