package codec

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// unmarshalNoOptions reads the Caddyfile segment of a codec that has no options:
// its name and nothing else. (Caddy drops a block that is empty before it comes
// here.)
func unmarshalNoOptions(d *caddyfile.Dispenser) error {
	d.Next() // the codec's name
	name := d.Val()
	if d.NextArg() {
		return d.Errf("the codec '%s' takes no arguments, but '%s' was given", name, d.Val())
	}
	if d.Next() {
		return d.Errf("the codec '%s' takes no block", name)
	}
	return nil
}
