package codec

import (
	"encoding/base64"
	"unicode/utf8"
)

// appendBytes appends bytes of a record's as a JSON string: text if they are
// valid UTF-8, and otherwise standard base64, padded. It reports which.
func appendBytes(dst, s []byte) (_ []byte, text bool) {
	text = utf8.Valid(s)
	dst = append(dst, '"')
	if text {
		dst = appendEscaped(dst, s)
	} else {
		dst = base64.StdEncoding.AppendEncode(dst, s)
	}
	return append(dst, '"'), text
}

// embeddable reports whether a value is JSON that can stand in a record as it
// is. Most that is no JSON fails at its first byte or soon after.
func embeddable(value []byte) bool {
	s := scanner{data: value, quiet: true}
	s.space()
	var err error
	if c := s.peek(); c == '{' || c == '[' {
		err = s.nested(maxDepth - maxEmbeddedDepth)
	} else {
		_, err = s.value()
	}
	if err != nil {
		return false
	}
	s.space()
	// The scanner looks at what is text, not whether all of it is.
	return s.pos == len(value) && utf8.Valid(value)
}
