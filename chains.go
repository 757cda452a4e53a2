package kafkaws

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/transforms"
)

// chains are a handler's transforms.
type chains struct {
	in  []transforms.Transform
	out *gateway.Chain // nil when there is none

	// shared is the chain of sessions whose transforms do not depend on who
	// publishes; personal tells that each session needs one of its own.
	shared   *gateway.Chain
	personal bool

	inNames, outNames transforms.Names
}

// loadChains loads the transforms of both directions, as they were written:
// braces mean something else in programs, and each module knows its placeholders.
func (h *Handler) loadChains(ctx caddy.Context) error {
	in, err := loadChain(ctx, &h.Transforms, "InRaw", transforms.DirectionIn)
	if err != nil {
		return err
	}
	out, err := loadChain(ctx, &h.Transforms, "OutRaw", transforms.DirectionOut)
	if err != nil {
		return err
	}
	h.chains = chains{
		in:       in,
		out:      newChain(chainID(h.resolved.Transforms.OutRaw), out),
		shared:   newChain("", in),
		personal: slices.ContainsFunc(in, isPersonal),
		inNames:  transforms.NewNames(transforms.DirectionIn, in),
		outNames: transforms.NewNames(transforms.DirectionOut, out),
	}
	return nil
}

func loadChain(ctx caddy.Context, from *Transforms, field string, direction transforms.Direction) ([]transforms.Transform, error) {
	modules, err := ctx.LoadModule(from, field)
	if err != nil {
		return nil, fmt.Errorf("loading transforms: %w", err)
	}
	all, _ := modules.([]any)
	chain := make([]transforms.Transform, 0, len(all))
	for _, module := range all {
		t, ok := module.(transforms.Transform)
		if !ok {
			return nil, fmt.Errorf("transform module %T is not a transform: it must implement transforms.Transform", module)
		}
		if d, ok := t.(transforms.Directional); ok {
			if err := d.SetDirection(direction); err != nil {
				return nil, fmt.Errorf("loading transforms that go %s: %w", direction, err)
			}
		}
		chain = append(chain, t)
	}
	return chain, nil
}

func isPersonal(t transforms.Transform) bool {
	_, ok := t.(transforms.Binder)
	return ok
}

// chainID tells chains apart by their configuration, resolved: what a file or a
// variable stands for may change while the text stays.
func chainID(raws []json.RawMessage) string {
	if len(raws) == 0 {
		return ""
	}
	return keyOf(raws)
}

// newChain makes transforms a chain of the gateway's.
func newChain(id string, steps []transforms.Transform) *gateway.Chain {
	if len(steps) == 0 {
		return nil
	}
	chain := &gateway.Chain{ID: id}
	for _, step := range steps {
		chain.Steps = append(chain.Steps, step)
	}
	return chain
}

// bind returns the chain for the records of one client.
func (c *chains) bind(repl *caddy.Replacer) (*gateway.Chain, error) {
	if !c.personal {
		return c.shared, nil
	}
	bound := slices.Clone(c.in)
	for i, t := range bound {
		if b, ok := t.(transforms.Binder); ok {
			var err error
			if bound[i], err = b.Bind(repl); err != nil {
				return nil, err
			}
		}
	}
	return newChain("", bound), nil
}
