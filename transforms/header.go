package transforms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(Header{})
}

// Header sets a header of each record, or deletes it. One that is set takes the
// place of all that the record has by that name, and goes behind the others.
// Names are case-sensitive, as in Kafka.
//
// On the way in, the value may have placeholders of the request, such as
// `{http.auth.user.id}`: they are replaced once, when the client connects. If one
// of them is unknown or empty then, the header is deleted, so that what a client
// sent by that name never passes for what the server says. Placeholders that are
// known when the configuration is loaded (`{env.*}`, `{file.*}`, `{system.*}`)
// may be used in both directions, and have to have a value.
type Header struct {
	// The header's name. Required.
	Name string `json:"name,omitempty"`

	// The value to set. Required, unless the header is deleted.
	Value string `json:"value,omitempty"`

	// Delete the header. Default: false.
	Delete bool `json:"delete,omitempty"`

	value template
	// edit is what is done to each record; nil if that depends on a request.
	edit *headerEdit
}

// CaddyModule returns the Caddy module information.
func (Header) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".header",
		New: func() caddy.Module { return new(Header) },
	}
}

// UnmarshalCaddyfile sets up the transform from Caddyfile tokens. Syntax:
//
//	header <name> <value>
//	header -<name>
func (h *Header) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args, err := syntax{usage: "<name> <value>, or: header -<name>", min: 1, max: 2}.read(d)
	if err != nil {
		return err
	}
	name, deletes := strings.CutPrefix(args[0], "-")
	h.Name, h.Delete = name, deletes
	if len(args) > 1 {
		h.Value = args[1]
	}
	if err := h.Validate(); err != nil {
		return d.Errf("header: %w", err)
	}
	return nil
}

// Provision resolves the placeholders that are known now.
func (h *Header) Provision(caddy.Context) error {
	value, err := parseTemplate(h.Value)
	if err == nil {
		value, err = value.replaceEarly()
	}
	if err != nil {
		return fmt.Errorf("value: %w", err)
	}
	h.value = value
	if _, ok := value.ofRequest(); !ok {
		h.edit = &headerEdit{name: h.Name, value: []byte(value.text()), remove: h.Delete}
	}
	return nil
}

// Validate checks the settings.
func (h *Header) Validate() error {
	switch {
	case h.Name == "":
		return errors.New("name: none given")
	case h.Delete && h.Value != "":
		return fmt.Errorf("got the value %q for the header %q, which is deleted; remove one of them", h.Value, h.Name)
	case !h.Delete && h.Value == "":
		return fmt.Errorf("got no value for the header %q; give it one, or write -%[1]s to delete it", h.Name)
	}
	if _, err := parseTemplate(h.Value); err != nil {
		return fmt.Errorf("value: %w", err)
	}
	return nil
}

// SetDirection implements Directional.
func (h *Header) SetDirection(d Direction) error {
	value, err := parseTemplate(h.Value)
	if err != nil {
		return fmt.Errorf("header: value: %w", err)
	}
	if name, ok := value.ofRequest(); ok && d == DirectionOut {
		return fmt.Errorf("header: {%s} belongs to the request of one client, but records go out to all of them alike; "+
			"on the way in it can be used", name)
	}
	return nil
}

// Bind implements Binder.
func (h *Header) Bind(repl *caddy.Replacer) (Transform, error) {
	if h.edit != nil {
		return h, nil
	}
	value, err := h.value.replace(repl, func(string) bool { return true })
	if err != nil { // a placeholder has no value
		return &headerEdit{name: h.Name, remove: true}, nil
	}
	return &headerEdit{name: h.Name, value: []byte(value.text())}, nil
}

// Transform implements Transform. It fails where the value has placeholders of
// the request, which Bind replaces.
func (h *Header) Transform(ctx context.Context, r *record.Record) (bool, error) {
	if h.edit == nil {
		return false, fmt.Errorf("the header %q needs a request, and is not bound to one", h.Name)
	}
	return h.edit.Transform(ctx, r)
}

// headerEdit is a Header whose value is known.
type headerEdit struct {
	name   string
	value  []byte
	remove bool
}

// Transform implements Transform.
func (e *headerEdit) Transform(_ context.Context, r *record.Record) (bool, error) {
	named := func(h record.Header) bool { return h.Key == e.name }
	if e.remove && !slices.ContainsFunc(r.Headers, named) {
		return true, nil
	}
	// A list of its own: others may be reading this one.
	headers := make([]record.Header, 0, len(r.Headers)+1)
	for _, h := range r.Headers {
		if !named(h) {
			headers = append(headers, h)
		}
	}
	if !e.remove {
		headers = append(headers, record.Header{Key: e.name, Value: e.value})
	}
	r.Headers = headers
	return true, nil
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*Header)(nil)
	_ caddy.Validator       = (*Header)(nil)
	_ caddyfile.Unmarshaler = (*Header)(nil)
	_ Transform             = (*Header)(nil)
	_ Binder                = (*Header)(nil)
	_ Directional           = (*Header)(nil)
	_ Transform             = (*headerEdit)(nil)
)
