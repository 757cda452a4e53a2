// Package customtransform shows what transforms of your own look like: one for
// each direction, in a Go module that is not kafkaws.
//
// docs/extending.md walks through it.
package customtransform

import (
	"context"
	"errors"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
	"github.com/kafkaws/kafkaws/transforms"
)

func init() {
	caddy.RegisterModule(StampUser{})
}

// userPlaceholder is where Caddy's authentication leaves the user's name.
const userPlaceholder = "http.auth.user.id"

// StampUser writes the name of the user who publishes into each JSON object, so
// that those who read the topic know whom a record is from. It serves the way in.
//
// Whatever the client has written into that field is removed, in every spelling
// that differs in case only, since some readers do not tell those apart. Of a
// client that nobody has authenticated, the field is removed too. The other
// members stay as they were written; tombstones pass.
type StampUser struct {
	// The field that the name goes into, at the top of the object. Default:
	// `user`.
	Field string `json:"field,omitempty"`

	// What becomes of a value that is no JSON object: `drop` the record, or
	// `pass` it unchanged. Default: `drop`.
	NotJSON string `json:"not_json,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (StampUser) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  transforms.Namespace + ".stamp_user",
		New: func() caddy.Module { return new(StampUser) },
	}
}

// UnmarshalCaddyfile sets up the transform from Caddyfile tokens. Syntax:
//
//	transform in stamp_user [<field>] {
//		not_json drop|pass
//	}
func (s *StampUser) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the transform's name
	if d.NextArg() {
		s.Field = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := readOptions(d, map[string]*string{"not_json": &s.NotJSON}); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return d.WrapErr(err) // here rather than when it is loaded: this has the line
	}
	return nil
}

// Provision sets the defaults.
func (s *StampUser) Provision(caddy.Context) error {
	if s.Field == "" {
		s.Field = "user"
	}
	return nil
}

// Validate checks the settings.
func (s *StampUser) Validate() error {
	return checkNotJSON(s.NotJSON)
}

// SetDirection implements transforms.Directional.
func (s *StampUser) SetDirection(d transforms.Direction) error {
	if d != transforms.DirectionIn {
		return errors.New("stamp_user: records that go out are not published by a user; use it with `transform in`")
	}
	return nil
}

// Bind implements transforms.Binder.
func (s *StampUser) Bind(repl *caddy.Replacer) (transforms.Transform, error) {
	user, _ := repl.GetString(userPlaceholder)
	return &stamp{field: s.Field, user: user, pass: s.NotJSON == notJSONPass}, nil
}

// Transform implements transforms.Transform. Records pass the transform that
// Bind returns, never this one.
func (s *StampUser) Transform(context.Context, *record.Record) (bool, error) {
	return false, errors.New("stamp_user does not know who publishes")
}

// stamp is the StampUser of one session.
type stamp struct {
	field, user string
	pass        bool
}

// Transform implements transforms.Transform.
func (s *stamp) Transform(_ context.Context, r *record.Record) (bool, error) {
	if r.Value == nil {
		return true, nil
	}
	object, ok := parseObject(r.Value)
	if !ok {
		return s.pass, nil
	}
	b := newBuilder(len(r.Value) + len(s.field) + len(s.user) + 8)
	object.ForEach(func(name, value gjson.Result) bool {
		if !strings.EqualFold(name.Str, s.field) {
			b.add(name.Raw, value.Raw)
		}
		return true
	})
	if s.user != "" {
		b.add(quote(s.field), quote(s.user))
	}
	r.Value = b.end()
	return true, nil
}

// Interface guards.
var (
	_ caddy.Provisioner      = (*StampUser)(nil)
	_ caddy.Validator        = (*StampUser)(nil)
	_ caddyfile.Unmarshaler  = (*StampUser)(nil)
	_ transforms.Transform   = (*StampUser)(nil)
	_ transforms.Binder      = (*StampUser)(nil)
	_ transforms.Directional = (*StampUser)(nil)
	_ transforms.Transform   = (*stamp)(nil)
)
