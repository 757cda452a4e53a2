package codec

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// unescaped are the characters that the escapes of one letter stand for.
var unescaped = [utf8.RuneSelf]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// appendUnescaped appends what stands between the quotes of a JSON string, in
// which scanner.text found nothing wrong. It never appends more bytes than raw
// has. A surrogate without its other half becomes U+FFFD: UTF-8 has no bytes for
// it.
func appendUnescaped(dst, raw []byte) []byte {
	for {
		run := bytes.IndexByte(raw, '\\')
		if run < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:run]...)
		c := raw[run+1]
		raw = raw[run+2:]
		if c != 'u' {
			dst = append(dst, unescaped[c])
			continue
		}
		r := hexRune(raw)
		raw = raw[4:]
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
				pair = utf16.DecodeRune(r, hexRune(raw[2:]))
			}
			if r = pair; r != utf8.RuneError {
				raw = raw[6:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
}

// hexRune returns the number that the four hexadecimal digits at the beginning
// of s stand for.
func hexRune(s []byte) rune {
	var r rune
	for _, c := range s[:4] {
		switch {
		case c <= '9':
			c -= '0'
		case c <= 'F':
			c -= 'A' - 10
		default:
			c -= 'a' - 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
