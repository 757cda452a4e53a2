package transforms

import (
	"context"
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(Filter{})
}

// Filter keeps the records for which a CEL expression is true and drops the
// others. One on which the expression fails, for example because a field is
// missing, is dropped and counted as an error.
//
// The expression knows `record.topic`, `record.partition`, `record.offset`,
// `record.timestamp`, `record.key`, `record.headers` and `record.value`. The
// value is what its JSON says, or a string if it is not JSON, or null for a
// tombstone. Numbers of JSON are doubles. `has(record.value.x)` asks whether
// there is a field.
type Filter struct {
	// The expression, in [CEL](https://cel.dev). Required.
	Expression string `json:"expression,omitempty"`

	condition *Expression
}

// CaddyModule returns the Caddy module information.
func (Filter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".filter",
		New: func() caddy.Module { return new(Filter) },
	}
}

// UnmarshalCaddyfile sets up the transform from Caddyfile tokens. Syntax:
//
//	filter <expression>
//
// An expression that has quotes, braces or `#` is best put between backquotes.
func (f *Filter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args, err := syntax{usage: "<expression>", min: 1, max: 1, joined: true}.read(d)
	if err != nil {
		return err
	}
	f.Expression = args[0]
	if err := f.compile(); err != nil {
		return d.Errf("filter: %w", err)
	}
	return nil
}

// Provision compiles the expression.
func (f *Filter) Provision(caddy.Context) error { return f.compile() }

func (f *Filter) compile() error {
	if f.Expression == "" {
		return errors.New("expression: none given; write the condition under which a record is kept")
	}
	var err error
	f.condition, err = CompileExpression(f.Expression, CostLimit)
	return err
}

// Transform implements Transform.
func (f *Filter) Transform(ctx context.Context, r *record.Record) (bool, error) {
	return f.condition.Match(ctx, NewView(r))
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*Filter)(nil)
	_ caddyfile.Unmarshaler = (*Filter)(nil)
	_ Transform             = (*Filter)(nil)
)
