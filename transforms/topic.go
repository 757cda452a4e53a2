package transforms

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

func init() {
	caddy.RegisterModule(Topic{})
}

// Topic gives topics another name: an outward one on the way out, and Kafka's on
// the way in. Clients subscribe and publish by outward names, and `subscribe` and
// `publish` are about those. A site that renames in both directions writes both:
//
//	transform out topic internal.* *
//	transform in  topic * internal.*
//
// Names are whole ones, or have one `*` on either side, which stands for any run
// of characters that is the same in both. A `*` leaves alone the names that
// begin with two underscores, which Kafka keeps for itself; those are renamed by
// their whole names only.
//
// Renaming is one to one: a topic whose name goes to another has no outward name,
// nobody can subscribe to it or publish to it, and its records are errors. So
// with `transform out topic a b`, clients know `a` as `b`, and neither anything
// as `a` nor Kafka's `b`.
type Topic struct {
	// The name that records come with. Placeholders that are known when the
	// configuration is loaded, such as `{env.*}`, may be used. Required.
	From string `json:"from,omitempty"`

	// The name that they go on with. Required.
	To string `json:"to,omitempty"`

	direction Direction
	from, to  topicPattern
}

// CaddyModule returns the Caddy module information.
func (Topic) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".topic",
		New: func() caddy.Module { return new(Topic) },
	}
}

// UnmarshalCaddyfile sets up the transform from Caddyfile tokens. Syntax:
//
//	topic <from> <to>
func (t *Topic) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args, err := syntax{usage: "<from> <to>", min: 2, max: 2}.read(d)
	if err != nil {
		return err
	}
	t.From, t.To = args[0], args[1]
	// What a placeholder stands for is known where the configuration is loaded,
	// which may be another machine.
	if strings.Contains(t.From+t.To, "{") {
		return nil
	}
	if _, _, err := compileRenaming(t.From, t.To); err != nil {
		return d.Errf("topic: %w", err)
	}
	return nil
}

// Provision resolves placeholders and compiles the names.
func (t *Topic) Provision(caddy.Context) error {
	repl := caddy.NewReplacer()
	from, fromErr := repl.ReplaceOrErr(t.From, true, true)
	to, toErr := repl.ReplaceOrErr(t.To, true, true)
	if err := cmp.Or(fromErr, toErr); err != nil {
		return err
	}
	var err error
	t.from, t.to, err = compileRenaming(from, to)
	return err
}

// SetDirection implements Directional.
func (t *Topic) SetDirection(d Direction) error {
	t.direction = d
	return nil
}

// Transform implements Transform.
func (t *Topic) Transform(_ context.Context, r *record.Record) (bool, error) {
	if name, ok := rename(r.Topic, t.from, t.to); ok {
		if name == "" {
			return false, fmt.Errorf("the topic %q cannot be renamed from %s to %s: no topic could have that name", r.Topic, t.From, t.To)
		}
		r.Topic = name
		return true, nil
	}
	if _, taken := t.to.match(r.Topic); taken {
		return false, fmt.Errorf("the topic %q has no name: it is another's, as %s is renamed to %s", r.Topic, t.From, t.To)
	}
	return true, nil
}

// Inward implements Renamer. It needs the direction.
func (t *Topic) Inward(outward string) (string, bool) {
	if t.direction == DirectionIn {
		return rename(outward, t.from, t.to)
	}
	return rename(outward, t.to, t.from)
}

// Outward implements Renamer. It needs the direction.
func (t *Topic) Outward(kafka string) (string, bool) {
	if t.direction == DirectionIn {
		return rename(kafka, t.to, t.from)
	}
	return rename(kafka, t.from, t.to)
}

// rename renames a topic; ok is false if from does not match it. The new name is
// empty if no topic could have it.
func rename(name string, from, to topicPattern) (renamed string, ok bool) {
	middle, ok := from.match(name)
	if !ok {
		return "", false
	}
	renamed = to.before + middle + to.after
	if !record.ValidTopic(renamed) || to.wild && record.InternalTopic(renamed) {
		return "", true
	}
	return renamed, true
}

// compileRenaming compiles two names. Every name that either matches has one
// counterpart in the other, or none.
func compileRenaming(from, to string) (f, t topicPattern, err error) {
	f, fromErr := compileTopicPattern(from)
	t, toErr := compileTopicPattern(to)
	switch err := cmp.Or(fromErr, toErr); {
	case err != nil:
		return f, t, err
	case f.wild != t.wild:
		return f, t, fmt.Errorf("got %q and %q, but a * in the one needs a * in the other, which stands for the same", from, to)
	case f == t:
		return f, t, fmt.Errorf("got %q twice, which renames nothing", from)
	}
	return f, t, nil
}

// topicPattern is a topic's name, or what stands before and after the `*` of one.
type topicPattern struct {
	before, after string
	wild          bool
}

func compileTopicPattern(s string) (topicPattern, error) {
	var p topicPattern
	p.before, p.after, p.wild = strings.Cut(s, "*")
	switch {
	case s == "":
		return p, errors.New("a name is missing; write the one that records come with, and the one that they go on with")
	case strings.Contains(p.after, "*"):
		return p, fmt.Errorf("got %q, expected one * at most", s)
	case !p.wild && !record.ValidTopic(s),
		// One character for the *, which may stand for none or for many.
		p.wild && !record.ValidTopic(p.before+"x"+p.after):
		return p, fmt.Errorf("got %q, which no topic can be called; names are 1 to %d letters, digits, dots, underscores and hyphens",
			s, record.MaxTopicLength)
	case p.wild && record.InternalTopic(s):
		return p, fmt.Errorf("got %q, but topics that begin with two underscores are only renamed by whole names", s)
	}
	return p, nil
}

// match reports whether the pattern matches a name, and what its `*` stands for.
func (p topicPattern) match(name string) (middle string, ok bool) {
	if !p.wild {
		return "", name == p.before
	}
	if len(name) < len(p.before)+len(p.after) || record.InternalTopic(name) ||
		!strings.HasPrefix(name, p.before) || !strings.HasSuffix(name, p.after) {
		return "", false
	}
	return name[len(p.before) : len(name)-len(p.after)], true
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*Topic)(nil)
	_ caddyfile.Unmarshaler = (*Topic)(nil)
	_ Transform             = (*Topic)(nil)
	_ Renamer               = (*Topic)(nil)
	_ Directional           = (*Topic)(nil)
)
