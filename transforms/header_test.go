package transforms

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/kafkaws/kafkaws/record"
)

func headersOf(r *record.Record) string {
	var s strings.Builder
	for _, h := range r.Headers {
		if h.Value == nil {
			fmt.Fprintf(&s, "%s ", h.Key)
		} else {
			fmt.Fprintf(&s, "%s=%s ", h.Key, h.Value)
		}
	}
	return strings.TrimSpace(s.String())
}

func TestHeader(t *testing.T) {
	t.Setenv("KAFKAWS_TEST", "{x}")
	for _, c := range []struct{ segment, want string }{
		{"header x 1", "a=1 b a=2 x=1"},
		{"header b 1", "a=1 a=2 b=1"},
		{"header a 3", "b a=3"},
		{"header A 3", "a=1 b a=2 A=3"},
		{"header -a", "b"},
		{"header -b", "a=1 a=2"},
		{"header -x", "a=1 b a=2"},
		{`header x \{a\}`, "a=1 b a=2 x={a}"},
		{`header x a\b`, `a=1 b a=2 x=a\b`},
		{"header x <{env.KAFKAWS_TEST}>", "a=1 b a=2 x=<{x}>"},
		{"header x {system.slash}", "a=1 b a=2 x=/"},
	} {
		for _, direction := range []Direction{DirectionIn, DirectionOut} {
			for _, r := range []*record.Record{text("text"), text(`{"a":1}`), text("\xff\x00"), tombstone()} {
				value := r.Value
				keep, err := run(t, mustLoad(t, direction, c.segment), r)
				if got := headersOf(r); !keep || err != nil || got != c.want || string(r.Value) != string(value) {
					t.Errorf("%s: %v, %v, %s, want %s", c.segment, keep, err, got, c.want)
				}
			}
		}
	}
	r := &record.Record{}
	if keep, err := run(t, mustLoad(t, DirectionIn, "header x 1"), r); !keep || err != nil || headersOf(r) != "x=1" {
		t.Errorf("no headers: %v, %v, %s", keep, err, headersOf(r))
	}
}

func TestHeaderOfRequest(t *testing.T) {
	t.Setenv("KAFKAWS_TEST", "dc1")
	request := func(values ...string) *caddy.Replacer {
		repl := caddy.NewReplacer()
		for i := 0; i < len(values); i += 2 {
			repl.Set(values[i], values[i+1])
		}
		return repl
	}
	for _, c := range []struct {
		segment string
		repl    *caddy.Replacer
		want    string
	}{
		{"header user {http.auth.user.id}", request("http.auth.user.id", "alice"), "a=1 b a=2 user=alice"},
		{"header user {env.KAFKAWS_TEST}/{http.auth.user.id}!", request("http.auth.user.id", "{env.PATH}"), "a=1 b a=2 user=dc1/{env.PATH}!"},
		{"header user {http.auth.user.id}", request(), "a=1 b a=2"},
		{"header a {http.auth.user.id}", request("http.auth.user.id", "alice"), "b a=alice"},
		// What a client sent does not pass for what the server says.
		{"header a {http.auth.user.id}", request(), "b"},
		{"header a {http.auth.user.id}", request("http.auth.user.id", ""), "b"},
		{"header a x{http.auth.user.id}", request(), "b"},
		{"header a {http.auth.user.id}{other}", request("http.auth.user.id", "alice"), "b"},
		{"header a fixed", request(), "b a=fixed"},
		{"header -a", request(), "b"},
	} {
		configured := mustLoad(t, DirectionIn, c.segment)[0]
		bound, err := configured.(Binder).Bind(c.repl)
		if err != nil {
			t.Fatal(err)
		}
		c.repl.Set("http.auth.user.id", "mallory") // what is bound keeps nothing of the request
		r := text("x")
		keep, err := run(t, []Transform{bound}, r)
		if got := headersOf(r); !keep || err != nil || got != c.want {
			t.Errorf("%s: %v, %v, %s, want %s", c.segment, keep, err, got, c.want)
		}
	}
	unbound := mustLoad(t, DirectionIn, "header user {http.auth.user.id}")
	if keep, err := run(t, unbound, text("x")); keep || err == nil {
		t.Errorf("not bound: %v, %v", keep, err)
	}
}

// TestHeaderRefusesDirection asks what was only read from a Caddyfile, too.
func TestHeaderRefusesDirection(t *testing.T) {
	for segment, refused := range map[string]bool{
		"header user {http.auth.user.id}": true,
		"header at {time.now}":            true,
		"header dc {env.DC}":              false,
		"header x 1":                      false,
		"header -x":                       false,
	} {
		parsed, err := unmarshal(segment)
		if err != nil {
			t.Fatal(err)
		}
		if err := parsed.(Directional).SetDirection(DirectionIn); err != nil {
			t.Errorf("%s: %v", segment, err)
		}
		if err := parsed.(Directional).SetDirection(DirectionOut); (err != nil) != refused {
			t.Errorf("%s: %v", segment, err)
		}
	}
}
