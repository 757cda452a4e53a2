package codec

import (
	"encoding/binary"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// separatorLead is the first byte of U+2028 and U+2029 in UTF-8; the others are
// 0x80 and 0xA8 or 0xA9.
const separatorLead = 0xE2

// longEscape in escapes stands for the escape \u00XX.
const longEscape = 'u'

// escapes holds, for the ASCII characters to be escaped, what stands behind the
// backslash, and zero for all others.
var escapes = func() (t [utf8.RuneSelf]byte) {
	for c := range 0x20 {
		t[c] = longEscape
	}
	t['"'], t['\\'] = '"', '\\'
	t['\b'], t['\f'], t['\n'], t['\r'], t['\t'] = 'b', 'f', 'n', 'r', 't'
	return t
}()

// appendQuoted appends s as a JSON string. It writes what Gson wrote for the
// program whose wire this is: escaped are the quote, the backslash, the control
// characters below space and U+2028 and U+2029, with lower-case hexadecimal
// digits, and all else stands as it is, DEL and < > & ' = included. What is not
// valid UTF-8 becomes U+FFFD, in the manner of malformedLen.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	if utf8.Valid(s) {
		dst = appendEscaped(dst, s)
		return append(dst, '"')
	}
	for len(s) > 0 {
		at, n := firstMalformed(s)
		dst = appendEscaped(dst, s[:at])
		if n > 0 {
			dst = append(dst, "\uFFFD"...)
		}
		s = s[at+n:]
	}
	return append(dst, '"')
}

// appendQuotedName appends a topic's name as a JSON string. Such a name has
// nothing to escape, unless a transform made it.
func appendQuotedName(dst []byte, name string) []byte {
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || escapes[c] != 0 {
			return appendQuoted(dst, []byte(name))
		}
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"')
}

// appendEscaped appends s, which must be valid UTF-8, as it stands between the
// quotes of a JSON string. Looking at words finds the runs between the escapes
// about twice as fast as looking at bytes where there are few escapes, and about as
// fast where every fifth byte is one; see BenchmarkQuote.
func appendEscaped(dst, s []byte) []byte {
	start := 0 // of the run that stands as it is
	for i := 0; i < len(s); {
		for i+8 <= len(s) {
			w := binary.LittleEndian.Uint64(s[i:])
			marks := equalBytes(w, '"') | equalBytes(w, '\\') | equalBytes(w, separatorLead) | controlBytes(w)
			if marks != 0 {
				i += firstByte(marks)
				break
			}
			i += 8
		}
		if i == len(s) {
			break
		}
		c := s[i]
		if c == separatorLead {
			if s[i+1] == 0x80 && s[i+2]&^1 == 0xA8 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, `\u202`...)
				dst = append(dst, '8'+s[i+2]&1)
				start = i + 3
			}
			i += 3
			continue
		}
		if c >= utf8.RuneSelf || escapes[c] == 0 {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		if e := escapes[c]; e != longEscape {
			dst = append(dst, '\\', e)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
		}
		i++
		start = i
	}
	return append(dst, s[start:]...)
}
