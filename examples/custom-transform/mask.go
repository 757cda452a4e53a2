package customtransform

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
	"github.com/kafkaws/kafkaws/transforms"
)

func init() {
	caddy.RegisterModule(MaskCard{})
}

// keptDigits is how much of a card's number may be shown.
const keptDigits = 4

// MaskCard hides card numbers in JSON objects: "4111 1111 1111 1111" becomes
// "**** **** **** 1111". It serves the way out; Kafka keeps the whole number.
//
// Names of fields are compared without regard to case. A number becomes a
// string; null stays null. A field with anything else in it is an error, and its
// record goes to nobody. The other members stay as they were written, and
// tombstones pass.
type MaskCard struct {
	// The fields that hold a card's number, at the top of the object. Default:
	// `card`.
	Fields []string `json:"fields,omitempty"`

	// What becomes of a value that is no JSON object: `drop` the record, or
	// `pass` it unchanged. Default: `drop`.
	NotJSON string `json:"not_json,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (MaskCard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  transforms.Namespace + ".mask_card",
		New: func() caddy.Module { return new(MaskCard) },
	}
}

// UnmarshalCaddyfile sets up the transform from Caddyfile tokens. Syntax:
//
//	transform out mask_card [<fields...>] {
//		not_json drop|pass
//	}
func (m *MaskCard) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the transform's name
	m.Fields = d.RemainingArgs()
	if err := readOptions(d, map[string]*string{"not_json": &m.NotJSON}); err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// Provision sets the defaults.
func (m *MaskCard) Provision(caddy.Context) error {
	if len(m.Fields) == 0 {
		m.Fields = []string{"card"}
	}
	return nil
}

// Validate checks the settings.
func (m *MaskCard) Validate() error {
	if slices.Contains(m.Fields, "") {
		return errors.New("fields: one of them has no name")
	}
	return checkNotJSON(m.NotJSON)
}

// SetDirection implements transforms.Directional.
func (m *MaskCard) SetDirection(d transforms.Direction) error {
	if d != transforms.DirectionOut {
		return errors.New("mask_card: on the way in, Kafka would lose the number; use it with `transform out`")
	}
	return nil
}

// Transform implements transforms.Transform.
func (m *MaskCard) Transform(_ context.Context, r *record.Record) (bool, error) {
	if r.Value == nil {
		return true, nil
	}
	object, ok := parseObject(r.Value)
	if !ok {
		return m.NotJSON == notJSONPass, nil
	}
	var err error
	b := newBuilder(len(r.Value) + 2)
	object.ForEach(func(name, value gjson.Result) bool {
		raw := value.Raw
		if slices.ContainsFunc(m.Fields, func(f string) bool { return strings.EqualFold(f, name.Str) }) {
			raw, err = masked(name.Str, value)
		}
		b.add(name.Raw, raw)
		return err == nil
	})
	if err != nil {
		return false, err
	}
	r.Value = b.end()
	return true, nil
}

// masked returns what goes out in a field's place. An error goes to the log, so
// it does not say what the field holds.
func masked(field string, value gjson.Result) (string, error) {
	switch value.Type {
	case gjson.Null:
		return value.Raw, nil
	case gjson.Number:
		return quote(maskDigits(value.Raw)), nil
	case gjson.String:
		return quote(maskDigits(value.Str)), nil
	default:
		return "", fmt.Errorf("the field %q holds neither a string nor a number, so its card number cannot be masked", field)
	}
}

// maskDigits hides all digits but the last few.
func maskDigits(s string) string {
	hide := -keptDigits
	for _, c := range s {
		if unicode.IsDigit(c) {
			hide++
		}
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsDigit(c) && hide > 0 {
			hide--
			return '*'
		}
		return c
	}, s)
}

// Interface guards.
var (
	_ caddy.Provisioner      = (*MaskCard)(nil)
	_ caddy.Validator        = (*MaskCard)(nil)
	_ caddyfile.Unmarshaler  = (*MaskCard)(nil)
	_ transforms.Transform   = (*MaskCard)(nil)
	_ transforms.Directional = (*MaskCard)(nil)
)
