package embedded

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("kafka_embedded", parseGlobalOption)
}

// parseGlobalOption reads the global option kafka_embedded; see
// App.UnmarshalCaddyfile for its grammar.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	if existing != nil {
		return nil, d.Err("kafka_embedded stands here a second time; one broker is all there is")
	}
	return httpcaddyfile.App{
		Name:  "kafka_embedded",
		Value: caddyconfig.JSON(app, nil),
	}, nil
}

// UnmarshalCaddyfile reads the app from a Caddyfile:
//
//	kafka_embedded {
//		listen <host:port>
//		topics <name[:partitions]...>
//	}
//
// The block may be left out. topics may stand on any number of lines. Errors
// name the file and the line: an unknown subdirective, listen given twice, an
// address that no client could be sent to, a subdirective without its arguments
// or with too many, an illegal topic name, a topic named twice, a number of
// partitions that is not 1 to 1000.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "listen":
			if err := a.unmarshalListen(d); err != nil {
				return err
			}
		case "topics":
			if err := a.unmarshalTopics(d); err != nil {
				return err
			}
		default:
			return d.Errf("kafka_embedded knows no %q; it knows listen and topics", d.Val())
		}
		if d.NextBlock(1) {
			return d.Err("kafka_embedded: its subdirectives take no block")
		}
	}
	return nil
}

func (a *App) unmarshalListen(d *caddyfile.Dispenser) error {
	if a.Listen != "" {
		return d.Err("kafka_embedded: listen is given twice")
	}
	if !d.Args(&a.Listen) || d.NextArg() {
		return d.ArgErr()
	}
	// A placeholder is resolved when the configuration is provisioned.
	if strings.Contains(a.Listen, "{") {
		return nil
	}
	if _, err := canonicalAddress(a.Listen); err != nil {
		return d.Errf("kafka_embedded: %w", err)
	}
	return nil
}

func (a *App) unmarshalTopics(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	for _, arg := range args {
		// One partition is written out here, so that the adapted JSON tells what
		// the line means.
		t := Topic{Name: arg, Partitions: 1}
		if name, number, ok := strings.Cut(arg, ":"); ok {
			n, err := strconv.Atoi(number)
			if err != nil {
				return d.Errf("kafka_embedded: %q: the number of partitions is not a number", arg)
			}
			t = Topic{Name: name, Partitions: n}
		}
		if err := t.validate(); err != nil {
			return d.Errf("kafka_embedded: %w", err)
		}
		if slices.ContainsFunc(a.Topics, func(o Topic) bool { return o.Name == t.Name }) {
			return d.Errf("kafka_embedded: topic %q is named twice", t.Name)
		}
		a.Topics = append(a.Topics, t)
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*App)(nil)
