package customtransform

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// What becomes of a value that is no JSON object. Both transforms are there to
// protect somebody, so what they cannot look into does not pass by default.
const (
	notJSONDrop = "drop"
	notJSONPass = "pass"
)

func checkNotJSON(choice string) error {
	switch choice {
	case "", notJSONDrop, notJSONPass:
		return nil
	}
	return fmt.Errorf("not_json: got %q, expected %s or %s", choice, notJSONDrop, notJSONPass)
}

// parseObject reads a value that is a JSON object (RFC 8259, so it is UTF-8). It
// is json.Valid that keeps out what is nested without measure.
func parseObject(value []byte) (object gjson.Result, ok bool) {
	if !json.Valid(value) || !utf8.Valid(value) {
		return gjson.Result{}, false
	}
	object = gjson.ParseBytes(value)
	return object, object.IsObject()
}

// builder writes an object, member by member. It writes into bytes of its own:
// those that a record comes with may be read by others at the same time.
type builder []byte

func newBuilder(capacity int) builder {
	return append(make(builder, 0, capacity), '{')
}

// add adds a member; both are JSON already.
func (b *builder) add(name, value string) {
	if len(*b) > 1 {
		*b = append(*b, ',')
	}
	*b = append(*b, name...)
	*b = append(*b, ':')
	*b = append(*b, value...)
}

func (b *builder) end() []byte {
	return append(*b, '}')
}

// quote writes a string as JSON.
func quote(s string) string {
	p, _ := json.Marshal(s) // a string never fails
	return string(p)
}

// readOptions reads the block of a transform.
func readOptions(d *caddyfile.Dispenser, options map[string]*string) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		value, known := options[option]
		switch {
		case !known:
			return d.Errf("unknown option %q", option)
		case *value != "":
			return d.Errf("%s is given twice", option)
		case !d.AllArgs(value) || *value == "":
			return d.Errf("%s takes one value", option)
		}
	}
	return nil
}
