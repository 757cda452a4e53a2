package transforms

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// maxJSONDepth is how deep JSON may be nested, as in encoding/json. What walks
// through it calls itself at every level, and Go ends the process when a stack
// outgrows its limit.
const maxJSONDepth = 10000

// isJSON reports whether value is one JSON text (RFC 8259), which is UTF-8, and
// not nested without measure.
func isJSON(value []byte) bool {
	if !utf8.Valid(value) {
		return false
	}
	// A text that opens no more brackets is not nested deeper.
	if bytes.Count(value, []byte("["))+bytes.Count(value, []byte("{")) > maxJSONDepth {
		return json.Valid(value) // gjson's is faster, but goes to any depth
	}
	return gjson.ValidBytes(value)
}

// isJSONObject reports whether value is a JSON text that holds an object.
func isJSONObject(value []byte) bool {
	start := bytes.TrimLeft(value, " \t\r\n")
	return len(start) > 0 && start[0] == '{' && isJSON(value)
}
