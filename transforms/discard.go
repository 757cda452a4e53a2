package transforms

import (
	"context"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(Discard{})
}

// Discard drops all records, or those for which a CEL expression is true. One on
// which the expression fails, for example because a field is missing, is dropped
// and counted as an error. The transform `filter` says what expressions know.
type Discard struct {
	// The expression, in [CEL](https://cel.dev). Default: empty; all records
	// are dropped.
	Expression string `json:"expression,omitempty"`

	condition *Expression // nil: all
}

// CaddyModule returns the Caddy module information.
func (Discard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".discard",
		New: func() caddy.Module { return new(Discard) },
	}
}

// UnmarshalCaddyfile sets up the transform from Caddyfile tokens. Syntax:
//
//	discard [<expression>]
//
// An expression that has quotes, braces or `#` is best put between backquotes.
func (t *Discard) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args, err := syntax{usage: "[<expression>]", max: 1, joined: true}.read(d)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		t.Expression = args[0]
	}
	if err := t.compile(); err != nil {
		return d.Errf("discard: %w", err)
	}
	return nil
}

// Provision compiles the expression.
func (t *Discard) Provision(caddy.Context) error { return t.compile() }

func (t *Discard) compile() error {
	if t.Expression == "" {
		return nil
	}
	var err error
	t.condition, err = CompileExpression(t.Expression, CostLimit)
	return err
}

// Transform implements Transform.
func (t *Discard) Transform(ctx context.Context, r *record.Record) (bool, error) {
	if t.condition == nil {
		return false, nil
	}
	discard, err := t.condition.Match(ctx, NewView(r))
	return !discard && err == nil, err
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*Discard)(nil)
	_ caddyfile.Unmarshaler = (*Discard)(nil)
	_ Transform             = (*Discard)(nil)
)
