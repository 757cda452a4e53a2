package codec

import "unicode/utf8"

// malformedLen returns how many bytes at the beginning of s become one U+FFFD,
// where s begins with a sequence that is not valid UTF-8. It is how Java reads
// bytes as UTF-8, and with it the program whose wire this is: a maximal prefix of
// a well-formed sequence is replaced as one, as the Unicode Standard recommends
// and browsers do, but an encoded surrogate (ED A0..BF xx) is one as well, which
// is three for them. encoding/json replaces every byte.
func malformedLen(s []byte) int {
	b := s[0]
	switch {
	case b < 0xE0 || b > 0xF4: // no beginning, or one whose only successor is wrong
		return 1
	case len(s) == 1 || !continues(b, s[1]):
		return 1
	case len(s) == 2 || s[2]&0xC0 != 0x80:
		return 2
	default: // a surrogate, or the beginning of four bytes whose last is wrong
		return 3
	}
}

// continues reports whether second can follow first, the first byte of a
// sequence of three or four. Surrogates pass.
func continues(first, second byte) bool {
	switch first {
	case 0xE0:
		return second&0xE0 == 0xA0
	case 0xF0:
		return 0x90 <= second && second <= 0xBF
	case 0xF4:
		return second&0xF0 == 0x80
	default:
		return second&0xC0 == 0x80
	}
}

// firstMalformed returns where in s the first sequence stands that is not valid
// UTF-8, and its length; len(s) and 0 if there is none.
func firstMalformed(s []byte) (at, n int) {
	for at < len(s) {
		if s[at] < utf8.RuneSelf {
			at++
			continue
		}
		r, size := utf8.DecodeRune(s[at:])
		if r == utf8.RuneError && size == 1 {
			return at, malformedLen(s[at:])
		}
		at += size
	}
	return at, 0
}
