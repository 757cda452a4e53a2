package kafkaws

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// requestReplacer is a replacer as a request has it, with some placeholders.
func requestReplacer(values map[string]any) *caddy.Replacer {
	repl := caddy.NewReplacer()
	for name, value := range values {
		repl.Set(name, value)
	}
	return repl
}

func TestPatternMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, topic string
		want           bool
	}{
		{"orders", "orders", true},
		{"orders", "Orders", false},
		{"orders", "orders2", false},
		{"orders", "myorders", false},
		{"orders", "", false},
		{"a.b", "aXb", false}, // a dot is a dot
		{"*", "orders", true},
		{"*", "_orders", true},
		{"orders.*", "orders.eu", true},
		{"orders.*", "orders.", true},
		{"orders.*", "orders", false},
		{"*.eu", "orders.eu", true},
		{"*.eu", "orders.eu.old", false},
		{"a*b*c", "aXXbYYc", true},
		{"a*b*c", "abc", true},
		{"a*b*c", "acb", false},
		{"*ab", "aab", true},
		{"a**b", "ab", true},
		{"?", "a", true},
		{"?", "", false},
		{"?", "ab", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*?", "", false},
		{"*?", "a", true},
		{"?*?", "a", false},
		{"?*?", "ab", true},
		{"*", "__consumer_offsets", false},
		{"__consumer_offsets", "__consumer_offsets", true},
		{"_*", "__consumer_offsets", false},
		{"_?consumer_offsets", "__consumer_offsets", false},
		{"??consumer_offsets", "__consumer_offsets", false},
	} {
		p, err := newPolicy([]string{test.pattern}, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		client := p.resolve(nil)
		if got := client.maySubscribe(test.topic); got != test.want {
			t.Errorf("pattern %q, topic %q: got %v, want %v", test.pattern, test.topic, got, test.want)
		}
		if client.mayPublish(test.topic) {
			t.Errorf("pattern %q of subscribe allows publishing to %q", test.pattern, test.topic)
		}
	}
}

// What a placeholder stands for is nobody's pattern.
func TestPatternPlaceholders(t *testing.T) {
	const user = "{http.auth.user.id}"
	for _, test := range []struct {
		name, pattern string
		value         any // nil for a placeholder that is unknown
		topic         string
		want          bool
	}{
		{"own topic", "inbox." + user, "alice", "inbox.alice", true},
		{"topic of another", "inbox." + user, "alice", "inbox.bob", false},
		{"case", "inbox." + user, "alice", "inbox.Alice", false},
		{"wildcard of the site", user + ".*", "alice", "alice.x", true},
		{"twice", user + "-" + user, "a", "a-a", true},
		{"dots", user + ".x", "a.b", "a.b.x", true},
		{"parent", user, "..", "..", true}, // no topic is called so
		{"number", "n" + user, 7, "n7", true},
		{"unknown", "inbox." + user, nil, "inbox.", false},
		{"unknown beside a wildcard", user + "*", nil, "orders", false},
		{"empty", "inbox." + user, "", "inbox.", false},
		{"empty beside a wildcard", user + "*", "", "orders", false},
		{"star", user, "*", "orders", false},
		{"star inside", "inbox." + user, "a*", "inbox.alice", false},
		{"question mark", "inbox." + user, "alic?", "inbox.alice", false},
		{"placeholder", "inbox." + user, "{other}", "inbox.bob", false},
		{"escaped", "inbox." + user, `\{other\}`, "inbox.bob", false},
		{"space", "inbox." + user, "a b", "inbox.a b", false},
		{"line", "inbox." + user, "a\n", "inbox.a", false},
		{"long", user, strings.Repeat("a", 250), strings.Repeat("a", 250), false},
		{"internal by its value", user, "__consumer_offsets", "__consumer_offsets", false},
		{"internal by half its value", "_" + user, "_consumer_offsets", "__consumer_offsets", false},
		{"internal by the site", "__" + user, "consumer_offsets", "__consumer_offsets", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			repl := requestReplacer(map[string]any{"other": "bob"})
			if test.value != nil {
				repl.Set("http.auth.user.id", test.value)
			}
			p, err := newPolicy(nil, []string{test.pattern}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.resolve(repl).mayPublish(test.topic); got != test.want {
				t.Errorf("pattern %q, value %q, topic %q: got %v, want %v", test.pattern, test.value, test.topic, got, test.want)
			}
		})
	}
}

// A pattern that matches nothing for a client leaves the others as they are.
func TestPolicyWithUnknownPlaceholder(t *testing.T) {
	p, err := newPolicy([]string{"inbox.{http.auth.user.id}", "news"}, []string{"in"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, repl := range []*caddy.Replacer{nil, caddy.NewReplacer()} {
		client := p.resolve(repl)
		if !client.maySubscribe("news") || !client.mayPublish("in") || client.maySubscribe("inbox.") {
			t.Errorf("got %+v", client)
		}
	}
}

func TestPolicyClosedByDefault(t *testing.T) {
	p, err := newPolicy(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := p.resolve(caddy.NewReplacer())
	if client.maySubscribe("a") || client.mayPublish("a") || client.maySubscribe("") {
		t.Error("something is allowed")
	}
}

func TestPolicyAllocations(t *testing.T) {
	p, err := newPolicy([]string{"a.*", "b"}, []string{"*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	repl := caddy.NewReplacer()
	var allowed bool
	if n := testing.AllocsPerRun(100, func() {
		client := p.resolve(repl)
		allowed = client.maySubscribe("b") && client.mayPublish("orders")
	}); n != 0 || !allowed {
		t.Errorf("%v allocations, allowed %v", n, allowed)
	}
}

func TestCompilePatternErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                       "empty pattern",
		"a,b":                    `can contain ','`,
		"a b":                    `can contain ' '`,
		"^orders$":               `can contain '^'`,
		"größe":                  `can contain 'ö'`,
		"a\x00":                  `can contain '\x00'`,
		`a\{b\}`:                 `can contain '\\'`,
		"a}":                     `can contain '}'`,
		"a{":                     "not closed",
		`{a\}`:                   "not closed",
		"{}":                     "placeholder is empty",
		".":                      "no topic may be called",
		"..":                     "no topic may be called",
		"__*":                    "two underscores",
		strings.Repeat("a", 250): "at most 249",
		strings.Repeat("?", 250): "at most 249",
	} {
		_, err := compilePattern(pattern)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("pattern %q: got error %v, want one with %q", pattern, err, want)
		}
	}
}

func TestNewPolicyNamesTheDirective(t *testing.T) {
	if _, err := newPolicy([]string{"a b"}, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "subscribe: ") {
		t.Errorf("got %v", err)
	}
	if _, err := newPolicy(nil, []string{"a b"}, nil); err == nil || !strings.HasPrefix(err.Error(), "publish: ") {
		t.Errorf("got %v", err)
	}
}

// No pattern makes matching slow, however its wildcards are set.
func TestMatchIsBounded(t *testing.T) {
	name := strings.Repeat("a", 249)
	for _, text := range []string{
		strings.Repeat("*a", 124) + "b",
		strings.Repeat("a*", 124) + "b",
		strings.Repeat("*?", 124) + "b",
		strings.Repeat("*", 10_000) + strings.Repeat("a", 240) + "b",
		"*" + strings.Repeat("a", 124) + "b" + "*" + strings.Repeat("a", 124),
	} {
		start := time.Now()
		if (glob{text: text}).match(name) {
			t.Errorf("pattern %.20q... matches", text)
		}
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Errorf("pattern %.20q... took %v", text, d)
		}
	}
}

// referenceMatch says by the definition of `*` and `?` whether a name matches:
// table[i][j] is whether the first i bytes of the pattern match the first j of
// the name.
func referenceMatch(pattern, name string) bool {
	table := make([][]bool, len(pattern)+1)
	for i := range table {
		table[i] = make([]bool, len(name)+1)
		for j := range table[i] {
			switch {
			case i == 0:
				table[i][j] = j == 0
			case pattern[i-1] == '*':
				table[i][j] = table[i-1][j] || j > 0 && table[i][j-1]
			default:
				table[i][j] = j > 0 && table[i-1][j-1] && (pattern[i-1] == '?' || pattern[i-1] == name[j-1])
			}
		}
	}
	return table[len(pattern)][len(name)]
}

func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "aXbYc")
	f.Add("*a*a*a", "aaaa")
	f.Add("**", "")
	f.Add("?*?", "ab")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 500 || len(name) > 500 {
			return
		}
		g := glob{text: pattern, internal: true}
		if got, want := g.match(name), referenceMatch(pattern, name); got != want {
			t.Errorf("pattern %q, name %q: got %v, want %v", pattern, name, got, want)
		}
		g.internal = false
		if strings.HasPrefix(name, "__") && g.match(name) {
			t.Errorf("pattern %q matches the internal name %q", pattern, name)
		}
	})
}

// Whatever a client makes of a placeholder, it reaches no other topics than
// those whose names are the pattern with exactly its text in it.
func FuzzPlaceholderValue(f *testing.F) {
	f.Add("alice", "inbox.alice.x")
	f.Add("*", "inbox.bob.x")
	f.Add("{other}", "inbox.bob.x")
	f.Add("?", "inbox.b.x")
	p, err := newPolicy([]string{"inbox.{user}.x"}, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value, topic string) {
		client := p.resolve(requestReplacer(map[string]any{"user": value, "other": "bob"}))
		if client.maySubscribe(topic) && (value == "" || topic != "inbox."+value+".x") {
			t.Errorf("value %q opens topic %q", value, topic)
		}
	})
}

func FuzzCompilePattern(f *testing.F) {
	for _, s := range []string{"a", "{x}", `\{x\}`, "{{", "}{", "a{b}c*", "__x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := compilePattern(s)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, part := range p.parts {
			if part.placeholder {
				b.WriteString("{" + part.text + "}")
			} else {
				b.WriteString(part.text)
			}
		}
		if b.String() != s {
			t.Errorf("pattern %q was read as %q", s, b.String())
		}
	})
}
