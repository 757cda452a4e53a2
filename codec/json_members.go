package codec

import (
	"strconv"

	"github.com/kafkaws/kafkaws/record"
)

// What frames of the server are made of. The names of members have nothing to
// escape.

// appendReply appends the beginning of a frame, up to the members behind its id.
func appendReply(dst []byte, kind string, id []byte) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, kind...)
	dst = append(dst, '"')
	if len(id) > 0 {
		dst = append(dst, `,"id":`...)
		dst = append(dst, id...)
	}
	return dst
}

// appendTextMember appends a member that is a string.
func appendTextMember(dst []byte, name, s string) []byte {
	return appendQuotedName(appendMember(dst, name), s)
}

// appendOptional appends a member that is a string, unless it is empty.
func appendOptional(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	return appendTextMember(dst, name, s)
}

// appendNumber appends a member that is an integer.
func appendNumber(dst []byte, name string, n int64) []byte {
	return strconv.AppendInt(appendMember(dst, name), n, 10)
}

// appendTopics appends the member "topics".
func appendTopics(dst []byte, topics []string) []byte {
	dst = append(dst, `,"topics":[`...)
	for i, topic := range topics {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuotedName(dst, topic)
	}
	return append(dst, ']')
}

// appendPositions appends the member "positions".
func appendPositions(dst []byte, p record.Positions) []byte {
	return p.Append(append(dst, `,"positions":`...))
}

// appendMember appends a comma, a member's name and the colon.
func appendMember(dst []byte, name string) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	return append(dst, `":`...)
}
