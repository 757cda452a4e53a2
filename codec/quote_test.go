package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// replaced returns s with U+FFFD for what is not valid UTF-8 in it. It is not nil.
func replaced(s []byte) []byte {
	out := []byte{}
	for len(s) > 0 {
		at, n := firstMalformed(s)
		out = append(out, s[:at]...)
		if n > 0 {
			out = append(out, "\uFFFD"...)
		}
		s = s[at+n:]
	}
	return out
}

// TestReplacement has what Java makes of bytes that are not valid UTF-8; ? stands
// for U+FFFD.
func TestReplacement(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a continuation", "\x80", "?"},
		{"no byte of UTF-8", "\xff\xfe", "??"},
		{"cut two", "\xc2", "?"},
		{"broken two", "\xc2A", "?A"},
		{"overlong two", "\xc0\x80\xc1\xbf", "????"},
		{"cut three", "\xe2\x82", "?"},
		{"broken three", "\xe2\x82A", "?A"},
		{"overlong three", "\xe0\x80\x80", "???"},
		{"overlong three, cut", "\xe0\x80A", "??A"},
		{"good beginning of three", "\xe0\xa0", "?"},
		{"surrogate", "\xed\xa0\x80", "?"},
		{"surrogate, cut", "\xed\xa0", "?"},
		{"surrogate, broken", "\xed\xa0A", "?A"},
		{"surrogate, low", "\xed\xb0\x80", "?"},
		{"surrogates, paired", "A\xed\xa0\xbd\xed\xb8\x80B", "A??B"},
		{"overlong four", "\xf0\x80\x80\x80", "????"},
		{"overlong four, cut", "\xf0\x80\x80", "???"},
		{"cut four", "\xf0\x90\x80", "?"},
		{"broken four", "\xf0\x90\x80A", "?A"},
		{"beyond the last", "\xf4\x90\x80\x80", "????"},
		{"last, cut to one", "\xf4", "?"},
		{"last, cut to two", "\xf4\x8f", "?"},
		{"last, cut to three", "\xf4\x8f\xbf", "?"},
		{"last, broken", "\xf4\x8f\xbfA", "?A"},
		{"a first byte of no use", "\xf5\x80\x80\x80", "????"},
		{"five bytes", "\xf8\x80\x80\x80\x80", "?????"},
		{"good", "Aé日😀\uffff\uFFFD", "Aé日😀\uffff\uFFFD"},
	} {
		want := bytes.ReplaceAll([]byte(c.want), []byte("?"), []byte("\uFFFD"))
		if got := replaced([]byte(c.in)); !bytes.Equal(got, want) {
			t.Errorf("%s: %+q became %+q, want %+q", c.name, c.in, got, want)
		}
	}
}

// TestReplacementIsJavas compares with a digest of what Java made of the same
// sequences; testdata/Replacement.java prints it.
func TestReplacementIsJavas(t *testing.T) {
	const want = "db1b9f24eac5f1f1fe757899b4cf5820f67ad013c989c14b13f3829abdabd79d"
	alphabet := []byte{
		0x41, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
		0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
	}
	digest := sha256.New()
	out := make([]byte, 0, 64)
	for length, count := 1, len(alphabet); length <= 5; length, count = length+1, count*len(alphabet) {
		in := make([]byte, length)
		for i := range count {
			for at, rest := length-1, i; at >= 0; at, rest = at-1, rest/len(alphabet) {
				in[at] = alphabet[rest%len(alphabet)]
			}
			// No byte of the alphabet is escaped, so the quotes are all there is to strip.
			out = appendQuoted(out[:0], in)
			out[len(out)-1] = '\n'
			digest.Write(out[1:])
		}
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// appendQuotedByBytes is appendQuoted by the byte, for valid UTF-8: what
// appendQuoted is compared with, in its results and its speed.
func appendQuotedByBytes(dst, s []byte) []byte {
	if !utf8.Valid(s) {
		panic("not valid UTF-8")
	}
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == separatorLead && s[i+1] == 0x80 && s[i+2]&^1 == 0xA8:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, '8'+s[i+2]&1)
			i += 2
		case c >= utf8.RuneSelf || escapes[c] == 0:
			continue
		default:
			dst = append(dst, s[start:i]...)
			if e := escapes[c]; e != longEscape {
				dst = append(dst, '\\', e)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
			}
		}
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendQuotedBySlowJSON is appendQuoted by encoding/json, but for invalid UTF-8,
// each byte of which becomes \ufffd there.
func appendQuotedBySlowJSON(t *testing.T, s []byte) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(string(s)); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func TestQuoteEveryCharacterAtEveryPlace(t *testing.T) {
	var characters []string
	for c := range 0x100 {
		characters = append(characters, string(rune(c)))
	}
	for _, r := range []rune{0x2000, 0x2027, 0x2028, 0x2029, 0x202a, 0x2128, 0xd7ff, 0xe000, 0xfffd, 0xffff, 0x1f600, 0x10ffff} {
		characters = append(characters, string(r))
	}
	for _, c := range characters {
		for before := range 18 {
			for after := range 10 {
				s := []byte("abcdefghijklmnopqrs"[:before] + c + "0123456789"[:after])
				want := appendQuotedBySlowJSON(t, s)
				if got := appendQuoted(nil, s); !bytes.Equal(got, want) {
					t.Fatalf("%q became %s, want %s", s, got, want)
				}
				if got := appendQuotedName(nil, string(s)); !bytes.Equal(got, want) {
					t.Fatalf("the name %q became %s, want %s", s, got, want)
				}
			}
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{
		"", "a", `{"a":"\\"}`, "\x00\x1f\x7f\b\f", "<>&'=", "\u2028\u2029\u2027", "Жук 日本語 😀",
		"1234567\u2028", "12345678\"", "\xe2", "\xe2\x80", "a\xe2\x80\xff\u2028\xed\xa0\x80\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		got := appendQuoted([]byte("before"), s)
		if !bytes.HasPrefix(got, []byte("before")) {
			t.Fatalf("%q", got)
		}
		got = got[len("before"):]
		if !utf8.Valid(got) || !json.Valid(got) {
			t.Fatalf("%q became %q", s, got)
		}
		valid := s
		if !utf8.Valid(s) {
			valid = replaced(s)
		}
		if want := appendQuotedBySlowJSON(t, valid); !bytes.Equal(got, want) {
			t.Fatalf("%q became %q, want %q", s, got, want)
		}
		if want := appendQuotedByBytes(nil, valid); !bytes.Equal(got, want) {
			t.Fatalf("%q became %q, want %q by bytes", s, got, want)
		}
		if name := appendQuotedName(nil, string(s)); !bytes.Equal(name, got) {
			t.Fatalf("%q became %q as a name, want %q", s, name, got)
		}
	})
}
