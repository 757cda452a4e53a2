package codec

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// maxDepth is how deep the arrays and objects of a client's message may be
// nested, its outermost object included. Nobody's data is: the limit bounds what
// a message can make the programs do that read the record later.
const maxDepth = 1000

var (
	errEndsEarly = &Error{"the message is not JSON: it ends too early"}
	errTooDeep   = &Error{fmt.Sprintf("the message is nested deeper than %d levels", maxDepth)}
	errNotJSON   = &Error{"the message is not JSON"}
)

// kind tells apart what the codecs treat differently of JSON's values.
type kind uint8

const (
	absent  kind = iota // no value at all
	null                // null
	literal             // a number, true or false
	text                // a string
	nested              // an array or an object
)

// value is a JSON value as it stands in a message: the whole of it, but of a
// string what stands between the quotes.
type value struct {
	kind    kind
	escaped bool // whether the string has escapes
	raw     []byte
}

// scanner reads JSON as RFC 8259 has it, from data that is valid UTF-8. It copies
// nothing and allocates nothing but its errors, and not even these when it is
// quiet.
type scanner struct {
	data  []byte
	pos   int
	quiet bool // whether errors need not say what is wrong
}

// unexpected returns the error about the byte at the position.
func (s *scanner) unexpected() error {
	if s.quiet {
		return errNotJSON
	}
	if s.pos >= len(s.data) {
		return errEndsEarly
	}
	r, _ := utf8.DecodeRune(s.data[s.pos:])
	return &Error{fmt.Sprintf("the message is not JSON: unexpected %q at byte %d", r, s.pos)}
}

// space skips white space.
func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\n', '\r', '\t':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the byte at the position, and zero at the end, which is no
// character of JSON's either.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// take skips c if it is next, and reports whether it was.
func (s *scanner) take(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// value reads the value that begins at the position.
func (s *scanner) value() (value, error) {
	switch start := s.pos; s.peek() {
	case '"':
		return s.text()
	case '{', '[':
		err := s.nested(1)
		return value{kind: nested, raw: s.data[start:s.pos]}, err
	case 'n':
		err := s.word("null")
		return value{kind: null}, err
	default:
		err := s.literal()
		return value{kind: literal, raw: s.data[start:s.pos]}, err
	}
}

// name reads a member's name and the colon, up to its value.
func (s *scanner) name() (value, error) {
	if s.peek() != '"' {
		return value{}, s.unexpected()
	}
	v, err := s.text()
	if err != nil {
		return v, err
	}
	s.space()
	if !s.take(':') {
		return v, s.unexpected()
	}
	s.space()
	return v, nil
}

// text reads the string whose opening quote is at the position.
func (s *scanner) text() (value, error) {
	v := value{kind: text}
	data, i := s.data, s.pos+1
	start := i
	for {
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			marks := equalBytes(w, '"') | equalBytes(w, '\\') | controlBytes(w)
			if marks != 0 {
				i += firstByte(marks)
				break
			}
			i += 8
		}
		if i >= len(data) {
			return v, errEndsEarly
		}
		switch c := data[i]; {
		case c == '"':
			v.raw, s.pos = data[start:i], i+1
			return v, nil
		case c == '\\':
			v.escaped = true
			s.pos = i + 1
			if err := s.escape(); err != nil {
				return v, err
			}
			i = s.pos
		case c < 0x20:
			s.pos = i
			return v, s.unexpected()
		default:
			i++
		}
	}
}

// escape reads what stands behind a backslash.
func (s *scanner) escape() error {
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		for range 4 {
			if !isHex(s.peek()) {
				return s.unexpected()
			}
			s.pos++
		}
		return nil
	default:
		return s.unexpected()
	}
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// literal reads a number, true, false or null.
func (s *scanner) literal() error {
	switch s.peek() {
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

// word reads the word w.
func (s *scanner) word(w string) error {
	for i := range len(w) {
		if !s.take(w[i]) {
			return s.unexpected()
		}
	}
	return nil
}

// number reads a number.
func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') {
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.take('.') {
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return nil
}

// digits reads one digit or more.
func (s *scanner) digits() error {
	if !isDigit(s.peek()) {
		return s.unexpected()
	}
	for isDigit(s.peek()) {
		s.pos++
	}
	return nil
}

// nested reads the array or object that begins at the position and stands within
// as many others as outside says. It keeps one bit for each level instead of
// calling itself, so that a hostile message cannot grow the stack.
func (s *scanner) nested(outside int) error {
	var objects [maxDepth/64 + 1]uint64 // of each level, whether it is an object
	depth := 0
	for {
		// A value begins here.
		switch open := s.peek(); open {
		case '{', '[':
			if outside+depth == maxDepth {
				return errTooDeep
			}
			word, bit := depth/64, uint64(1)<<(depth%64)
			objects[word] &^= bit
			if open == '{' {
				objects[word] |= bit
			}
			depth++
			s.pos++
			s.space()
			if s.peek() == closing(open == '{') {
				break // the loop below closes it
			}
			if open == '{' {
				if _, err := s.name(); err != nil {
					return err
				}
			}
			continue
		case '"':
			if _, err := s.text(); err != nil {
				return err
			}
		default:
			if err := s.literal(); err != nil {
				return err
			}
		}
		// A value ended here, or one that is empty ends.
		for {
			s.space()
			object := objects[(depth-1)/64]>>((depth-1)%64)&1 == 1
			if s.take(closing(object)) {
				depth--
				if depth == 0 {
					return nil
				}
				continue
			}
			if !s.take(',') {
				return s.unexpected()
			}
			s.space()
			if object {
				if _, err := s.name(); err != nil {
					return err
				}
			}
			break
		}
	}
}

// closing returns the bracket that closes an object or an array.
func closing(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}
