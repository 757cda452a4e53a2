package transforms

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(Timestamp{})
}

// Formats that have a name, and where the time comes from.
const (
	formatRFC3339 = "rfc3339"
	formatUnix    = "unix"
	formatUnixMS  = "unix_ms"
	sourceNow     = "now"
	sourceRecord  = "record"
)

// rfc3339 is RFC 3339 to the millisecond, as far as Kafka's times go.
const rfc3339 = "2006-01-02T15:04:05.000Z07:00"

// Timestamp adds a time to values that are JSON objects. A field of that name is
// replaced, in its place; all else of the object stays byte for byte as it was.
// An object that has the field twice is an error, since its readers would not
// agree on which counts. Tombstones pass.
//
// With the source `now`, a record that is read again for a client that is behind
// gets another time than it had; the record's own time stays the same.
type Timestamp struct {
	// The name of the field, at the top of the object. Required.
	Field string `json:"field,omitempty"`

	// How the time is written: `rfc3339`, with milliseconds; `unix` or
	// `unix_ms`, as a number of seconds or milliseconds since 1970; or a string
	// in a [layout of Go](https://pkg.go.dev/time#Layout). Times are in UTC.
	// Default: `rfc3339`.
	Format string `json:"format,omitempty"`

	// Which time it is: that of passing here (`now`), or the record's own
	// (`record`), which for one that is being published without any is now as
	// well. Default: `now`.
	Source string `json:"source,omitempty"`

	// What becomes of a value that is no JSON object: `pass` it unchanged, or
	// `drop` it. Default: `pass`.
	NotJSON string `json:"not_json,omitempty"`

	path       string // of the field, as sjson has it
	appendTime func(dst []byte, t time.Time) []byte
	now        func() time.Time
}

// CaddyModule returns the Caddy module information.
func (Timestamp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".timestamp",
		New: func() caddy.Module { return new(Timestamp) },
	}
}

// UnmarshalCaddyfile sets up the transform from Caddyfile tokens. Syntax:
//
//	timestamp <field> [rfc3339|unix|unix_ms|<layout>] {
//		source    now|record
//		not_json  pass|drop
//	}
func (t *Timestamp) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args, err := syntax{
		usage:   "<field> [<format>]",
		min:     1,
		max:     2,
		options: map[string]*string{"source": &t.Source, "not_json": &t.NotJSON},
	}.read(d)
	if err != nil {
		return err
	}
	t.Field = args[0]
	if len(args) > 1 {
		t.Format = args[1]
	}
	if err := t.Validate(); err != nil {
		return d.Errf("timestamp: %w", err)
	}
	return nil
}

// Provision prepares the field's path and the format.
func (t *Timestamp) Provision(caddy.Context) error {
	t.now = time.Now
	// The colon has sjson take what follows for a name, even if it is a number.
	t.path = ":" + gjson.Escape(t.Field)
	t.appendTime = timeFormat(cmp.Or(t.Format, formatRFC3339))
	return nil
}

// Validate checks the settings.
func (t *Timestamp) Validate() error {
	if t.Field == "" {
		return errors.New("field: none given; name the field that the time goes into")
	}
	if !utf8.ValidString(t.Field) {
		return fmt.Errorf("field: got %q, expected UTF-8", t.Field)
	}
	return cmp.Or(
		checkFormat(t.Format),
		checkChoice("source", t.Source, sourceNow, sourceRecord),
		checkChoice("not_json", t.NotJSON, notJSONPass, notJSONDrop),
	)
}

// formatName is what names of formats look like, and layouts do not.
var formatName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// checkFormat refuses names of formats that there are not, and layouts that say
// the same at any time.
func checkFormat(format string) error {
	at := timeFormat(format)
	one := time.Date(2001, 1, 1, 1, 1, 1, 111222333, time.UTC)
	other := time.Date(2022, 12, 22, 22, 22, 22, 444555666, time.UTC)
	switch {
	case format == "" || format == formatRFC3339 || format == formatUnix || format == formatUnixMS,
		!formatName.MatchString(format) && string(at(nil, one)) != string(at(nil, other)):
		return nil
	}
	return fmt.Errorf("format: got %q, expected %s, %s, %s, or a layout such as %q; leave it out for %[2]s",
		format, formatRFC3339, formatUnix, formatUnixMS, time.DateTime)
}

// timeFormat returns what appends a time, as JSON.
func timeFormat(format string) func([]byte, time.Time) []byte {
	switch format {
	case formatUnix:
		return func(dst []byte, t time.Time) []byte { return strconv.AppendInt(dst, t.Unix(), 10) }
	case formatUnixMS:
		return func(dst []byte, t time.Time) []byte { return strconv.AppendInt(dst, t.UnixMilli(), 10) }
	case formatRFC3339:
		return func(dst []byte, t time.Time) []byte {
			return append(t.UTC().AppendFormat(append(dst, '"'), rfc3339), '"')
		}
	}
	return func(dst []byte, t time.Time) []byte {
		return gjson.AppendJSONString(dst, t.UTC().Format(format))
	}
}

// Transform implements Transform.
func (t *Timestamp) Transform(_ context.Context, r *record.Record) (bool, error) {
	if r.Value == nil {
		return true, nil
	}
	if !isJSONObject(r.Value) {
		return t.NotJSON != notJSONDrop, nil
	}
	if n := t.occurrences(r.Value); n > 1 {
		return false, fmt.Errorf("the object has the field %q %d times", t.Field, n)
	}
	at := r.Timestamp
	if t.Source != sourceRecord || at.IsZero() {
		at = t.now()
	}
	var buf [64]byte
	value, err := sjson.SetRawBytes(r.Value, t.path, t.appendTime(buf[:0], at))
	if err != nil {
		return false, fmt.Errorf("setting the field %q: %w", t.Field, shortError(err))
	}
	r.Value = value
	return true, nil
}

// occurrences counts the members of an object that have the field's name.
func (t *Timestamp) occurrences(object []byte) int {
	var n int
	gjson.ParseBytes(object).ForEach(func(name, _ gjson.Result) bool {
		if name.Str == t.Field {
			n++
		}
		return true
	})
	return n
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*Timestamp)(nil)
	_ caddy.Validator       = (*Timestamp)(nil)
	_ caddyfile.Unmarshaler = (*Timestamp)(nil)
	_ Transform             = (*Timestamp)(nil)
)
