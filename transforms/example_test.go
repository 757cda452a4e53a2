package transforms_test

import (
	"context"
	"fmt"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
	"github.com/kafkaws/kafkaws/transforms"
)

func init() { caddy.RegisterModule(Mask{}) }

// Mask hides a field: transform out mask card
type Mask struct {
	// The field to hide.
	Field string `json:"field,omitempty"`
}

func (Mask) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  transforms.Namespace + ".mask",
		New: func() caddy.Module { return new(Mask) },
	}
}

func (m *Mask) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the transform's name
	if !d.AllArgs(&m.Field) {
		return d.ArgErr()
	}
	if d.Next() {
		return d.Err("mask takes no block")
	}
	return nil
}

func (m Mask) Transform(_ context.Context, r *record.Record) (bool, error) {
	if !gjson.ValidBytes(r.Value) || !gjson.GetBytes(r.Value, m.Field).Exists() {
		return true, nil
	}
	masked, err := sjson.SetBytes(r.Value, m.Field, "****")
	if err != nil {
		return false, err
	}
	r.Value = masked
	return true, nil
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*Mask)(nil)
	_ transforms.Transform  = Mask{}
)

// The transform of the documentation of Transform.
func ExampleTransform() {
	d := caddyfile.NewTestDispenser("mask card")
	d.Next()
	module, err := caddyfile.UnmarshalModule(d, transforms.Namespace+".mask")
	if err != nil {
		fmt.Println(err)
		return
	}
	mask := module.(transforms.Transform)
	for _, value := range []string{`{"id":1,"card":"4111111111111111"}`, `{"id":2}`, `hello`} {
		r := record.Record{Topic: "payments", Value: []byte(value)}
		keep, err := mask.Transform(context.Background(), &r)
		fmt.Println(keep, err, string(r.Value))
	}
	// Output:
	// true <nil> {"id":1,"card":"****"}
	// true <nil> {"id":2}
	// true <nil> hello
}
