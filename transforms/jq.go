package transforms

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/itchyny/gojq"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(JQ{})
}

// JQ runs a jq program over values that are JSON. Its result becomes the value,
// as compact JSON with the members of objects sorted by name. A program without
// a result (`empty`) drops the record; one that fails, has more than one result,
// or does not end in time drops it and is counted as an error. Tombstones pass.
//
// The program knows these variables beside its input, the value:
//
// Variable | Meaning
// ---------|--------
// `$topic` | the topic's name
// `$partition` | the partition's number; -1 for a record that is being published
// `$offset` | the offset; 0 for a record that is being published
// `$timestamp` | the record's time in milliseconds since 1970; null if it has none yet
// `$key` | the key as a string, or null
// `$headers` | an object of the headers' values as strings, or null; of headers with the same name the last
//
// The programs are those of [gojq](https://github.com/itchyny/gojq), which keeps
// integers exact. They see neither the environment nor files.
type JQ struct {
	// The program. Required.
	Program string `json:"program,omitempty"`

	// What becomes of a value that is not JSON: `pass` it unchanged, or `drop`
	// it. Default: `pass`.
	NotJSON string `json:"not_json,omitempty"`

	code *gojq.Code
	// variables are those that the program may ask for.
	variables []jqVariable
}

// CaddyModule returns the Caddy module information.
func (JQ) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".jq",
		New: func() caddy.Module { return new(JQ) },
	}
}

// UnmarshalCaddyfile sets up the transform from Caddyfile tokens. Syntax:
//
//	jq <program> {
//		not_json  pass|drop
//	}
//
// A program that has quotes, braces or `#` is best put between backquotes. A
// Caddyfile takes some words in braces for placeholders wherever they stand:
// instead of `{path}` and `{host}`, write `{path: .path}` and `{host: .host}`.
func (j *JQ) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args, err := syntax{
		usage:   "<program>",
		min:     1,
		max:     1,
		joined:  true,
		options: map[string]*string{"not_json": &j.NotJSON},
	}.read(d)
	if err != nil {
		return err
	}
	j.Program = args[0]
	if err := cmp.Or(j.compile(), j.Validate()); err != nil {
		return d.Errf("jq: %w", err)
	}
	return nil
}

// Provision compiles the program.
func (j *JQ) Provision(caddy.Context) error { return j.compile() }

func (j *JQ) compile() error {
	if strings.TrimSpace(j.Program) == "" {
		return errors.New("program: none given; write . for one that changes nothing")
	}
	query, err := gojq.Parse(j.Program)
	if syntax, ok := errors.AsType[*gojq.ParseError](err); ok {
		return fmt.Errorf("%w (%s)", err, place(j.Program, syntax.Offset-len(syntax.Token)))
	}
	if err != nil {
		return err
	}
	j.variables = nil
	var names []string
	for _, v := range jqVariables {
		// It may be in a string or a comment as well, which costs its making.
		if strings.Contains(j.Program, v.name) {
			j.variables, names = append(j.variables, v), append(names, v.name)
		}
	}
	j.code, err = gojq.Compile(query, gojq.WithVariables(names))
	return err
}

// Validate checks the settings.
func (j *JQ) Validate() error {
	return checkChoice("not_json", j.NotJSON, notJSONPass, notJSONDrop)
}

// Transform implements Transform.
func (j *JQ) Transform(ctx context.Context, r *record.Record) (bool, error) {
	if r.Value == nil {
		return true, nil
	}
	if !isJSON(r.Value) {
		return j.NotJSON != notJSONDrop, nil
	}
	var input any
	decoder := json.NewDecoder(bytes.NewReader(r.Value))
	decoder.UseNumber()
	if err := decoder.Decode(&input); err != nil {
		return false, fmt.Errorf("decoding the value: %w", err)
	}
	values := make([]any, 0, len(jqVariables))
	for _, v := range j.variables {
		values = append(values, v.of(r))
	}
	results := j.code.RunWithContext(ctx, input, values...)
	result, ok, err := nextResult(ctx, results)
	if !ok || err != nil {
		return false, err
	}
	if _, more, err := nextResult(ctx, results); err != nil {
		return false, err
	} else if more {
		return false, errors.New("the program has more than one result; put them into a list, or take the first(...)")
	}
	if !within(result, maxJSONDepth) {
		return false, fmt.Errorf("the result is nested deeper than %d levels", maxJSONDepth)
	}
	value, err := gojq.Marshal(result)
	if err != nil {
		return false, fmt.Errorf("encoding the result: %w", shortError(err))
	}
	r.Value = value
	return true, nil
}

// nextResult returns the next result of a program, or false after the last one.
func nextResult(ctx context.Context, results gojq.Iter) (any, bool, error) {
	result, ok := results.Next()
	err, failed := result.(error)
	var halt *gojq.HaltError
	switch {
	case !ok:
		return nil, false, nil
	case !failed:
		return result, true, nil
	case ctx.Err() != nil:
		return nil, false, fmt.Errorf("running the program: %w", context.Cause(ctx))
	case errors.As(err, &halt) && halt.Value() == nil:
		return nil, false, nil
	default:
		return nil, false, shortError(err)
	}
}

// within reports whether a result is nested no deeper than so many levels.
func within(result any, levels int) bool {
	if levels < 0 {
		return false
	}
	switch v := result.(type) {
	case []any:
		for _, element := range v {
			if !within(element, levels-1) {
				return false
			}
		}
	case map[string]any:
		for _, member := range v {
			if !within(member, levels-1) {
				return false
			}
		}
	}
	return true
}

// jqVariable is a variable that programs know.
type jqVariable struct {
	name string
	of   func(*record.Record) any
}

var jqVariables = []jqVariable{
	{"$topic", func(r *record.Record) any { return r.Topic }},
	{"$partition", func(r *record.Record) any { return int(r.Partition) }},
	{"$offset", func(r *record.Record) any { return int(r.Offset) }},
	{"$timestamp", func(r *record.Record) any { return jqTime(r.Timestamp) }},
	{"$key", func(r *record.Record) any { return jqText(r.Key) }},
	{"$headers", func(r *record.Record) any {
		headers := make(map[string]any, len(r.Headers))
		for _, h := range r.Headers {
			headers[h.Key] = jqText(h.Value)
		}
		return headers
	}},
}

func jqTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return int(t.UnixMilli())
}

func jqText(b []byte) any {
	if b == nil {
		return nil
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*JQ)(nil)
	_ caddy.Validator       = (*JQ)(nil)
	_ caddyfile.Unmarshaler = (*JQ)(nil)
	_ Transform             = (*JQ)(nil)
)
