package transforms

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/record"
)

// unmarshal reads the Caddyfile segment of a transform, without the words before
// its name.
func unmarshal(segment string) (caddyfile.Unmarshaler, error) {
	tokens, err := caddyfile.Tokenize([]byte(segment), "Testfile")
	if err != nil {
		return nil, err
	}
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	return caddyfile.UnmarshalModule(d, Namespace+"."+d.Val())
}

// load makes a transform as a host does: from the Caddyfile through JSON.
func load(t testing.TB, d Direction, segment string) (Transform, error) {
	t.Helper()
	parsed, err := unmarshal(segment)
	if err != nil {
		return nil, err
	}
	return loadJSON(t, d, strings.Fields(segment)[0], string(caddyconfig.JSON(parsed, nil)))
}

func loadJSON(t testing.TB, d Direction, name, config string) (Transform, error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	module, err := ctx.LoadModuleByID(Namespace+"."+name, []byte(config))
	if err != nil {
		return nil, err
	}
	if directional, ok := module.(Directional); ok {
		if err := directional.SetDirection(d); err != nil {
			return nil, err
		}
	}
	return module.(Transform), nil
}

func mustLoad(t testing.TB, d Direction, segments ...string) []Transform {
	t.Helper()
	var chain []Transform
	for _, segment := range segments {
		transform, err := load(t, d, segment)
		if err != nil {
			t.Fatalf("%s: %v", segment, err)
		}
		if stamp, ok := transform.(*Timestamp); ok {
			stamp.now = func() time.Time { return testNow }
		}
		chain = append(chain, transform)
	}
	return chain
}

var (
	testNow  = time.Date(2026, 3, 4, 5, 6, 7, 891_000_000, time.FixedZone("", 3600))
	testTime = time.UnixMilli(1_700_000_000_123)
)

// run has a record pass a chain, and checks that nothing is written into what the
// record was made of.
func run(t testing.TB, chain []Transform, r *record.Record) (bool, error) {
	t.Helper()
	before, same := *r, r.Clone()
	before.Headers = r.Headers[:len(r.Headers):len(r.Headers)]
	for _, transform := range chain {
		keep, err := transform.Transform(context.Background(), r)
		if keep && err != nil {
			t.Errorf("kept, with an error: %v", err)
		}
		if !reflect.DeepEqual(&before, same) {
			t.Fatalf("the bytes that the record came with were changed: %v, %v", before, same)
		}
		if !keep || err != nil {
			return false, err
		}
	}
	return true, nil
}

func text(s string) *record.Record {
	return &record.Record{
		Topic: "orders", Partition: 2, Offset: 17, Timestamp: testTime, Key: []byte("k"), Value: []byte(s),
		Headers: []record.Header{{Key: "a", Value: []byte("1")}, {Key: "b", Value: nil}, {Key: "a", Value: []byte("2")}},
	}
}

func tombstone() *record.Record {
	r := text("")
	r.Value = nil
	return r
}

// dropped and failed are results of records that do not go on; whatever follows
// failed is what the error says.
const (
	dropped = "dropped"
	failed  = "failed: "
)

// valueCases are cases of transforms that are about the value.
func valueCases(t *testing.T, cases []struct{ segment, value, want string }) {
	t.Helper()
	for _, c := range cases {
		r := text(c.value)
		if c.value == "tombstone" {
			r = tombstone()
		}
		keep, err := run(t, mustLoad(t, DirectionOut, c.segment), r)
		got := string(r.Value)
		switch {
		case err != nil:
			got = failed + err.Error()
		case !keep:
			got = dropped
		case r.Value == nil:
			got = "tombstone"
		}
		if got != c.want {
			t.Errorf("%s\n%s\n got %s\nwant %s", c.segment, shorten(c.value, 100), got, c.want)
		}
	}
}

func TestModules(t *testing.T) {
	for _, name := range []string{"timestamp", "discard", "filter", "jq", "header", "topic"} {
		info, err := caddy.GetModule(Namespace + "." + name)
		if err != nil {
			t.Fatal(err)
		}
		module := info.New()
		if _, ok := module.(Transform); !ok {
			t.Errorf("%s is no transform", name)
		}
		if _, ok := module.(caddyfile.Unmarshaler); !ok {
			t.Errorf("%s cannot stand in a Caddyfile", name)
		}
		if module == info.New() {
			t.Errorf("%s: two modules are one", name)
		}
	}
}

// TestCaddyfile reads segments; what is right becomes the JSON, what is wrong a
// message with its line.
func TestCaddyfile(t *testing.T) {
	for _, c := range []struct{ segment, want string }{
		{"timestamp time", `{"field":"time"}`},
		{"timestamp @timestamp unix_ms {\n source record\n not_json drop\n}", `{"field":"@timestamp","format":"unix_ms","source":"record","not_json":"drop"}`},
		{"timestamp time \"2006-01-02 15:04\"", `{"field":"time","format":"2006-01-02 15:04"}`},
		{"timestamp", "timestamp: wrong number of arguments; write: timestamp <field> [<format>], at Testfile:1"},
		{"timestamp a unix b", "timestamp: wrong number of arguments; write: timestamp <field> [<format>], at Testfile:1"},
		{`timestamp ""`, "timestamp: an argument is empty; write: timestamp <field> [<format>], at Testfile:1"},
		{"timestamp a iso8601", `timestamp: format: got "iso8601", expected rfc3339, unix, unix_ms, or a layout such as "2006-01-02 15:04:05"; leave it out for rfc3339, at Testfile:1`},
		{"timestamp a {\n source kafka\n}", `timestamp: source: got "kafka", expected now or record; leave it out for now, at Testfile:3`},
		{"timestamp a {\n not_json keep\n}", `timestamp: not_json: got "keep", expected pass or drop; leave it out for pass, at Testfile:3`},
		{"timestamp a {\n when now\n}", `timestamp: unknown option "when"; known are not_json and source, at Testfile:2`},
		{"timestamp a {\n source now\n source record\n}", `timestamp: source is given twice, first on line 2; keep one, at Testfile:3`},
		{"timestamp a {\n source\n}", `timestamp: source takes one value, at Testfile:2`},
		{"timestamp a {\n source now record\n}", `timestamp: source takes one value, at Testfile:2`},
		{"timestamp a {\n source \"\"\n}", `timestamp: source takes one value, at Testfile:2`},
		{"timestamp a {\n source now {\n  x\n }\n}", `timestamp: source takes one value, at Testfile:2`},
		{"timestamp a {\n source {\n  now\n }\n}", `timestamp: source takes one value, at Testfile:2`},

		{"discard", `{}`},
		{"discard `record.key == \"a\"`", `{"expression":"record.key == \"a\""}`},
		{"discard {\n x\n}", "discard: takes no block; write: discard [<expression>], at Testfile:2"},
		{`discard ""`, "discard: an argument is empty; write: discard [<expression>], at Testfile:1"},
		{"discard `record.topik == \"a\"`", `discard: undefined field 'topik' (line 1, column 7, at ".topik == \"a\""), at Testfile:1`},

		{`filter record.key == "a" && record.offset > 5`, `{"expression":"record.key == \"a\" \u0026\u0026 record.offset \u003e 5"}`},
		{`filter "record.offset > 5"`, `{"expression":"record.offset \u003e 5"}`},
		{"filter", "filter: wrong number of arguments; write: filter <expression>, at Testfile:1"},
		{"filter `record.offset >\n5 &&`", `filter: Syntax error: mismatched input '<EOF>' (line 2, column 5, at the end), at Testfile:1`},
		{"filter `true &&\n  // Ж\n  'Ж' == foo`", `filter: undeclared reference to 'foo' (in container '') (line 3, column 10, at "foo"), at Testfile:1`},
		{"filter `record.offset + 1`", `filter: the expression gives a int; write one that gives true or false, at Testfile:1`},
		{"filter `record.key.matches(\"a(\")`", "filter: error parsing regexp: missing closing ): `a(` (line 1, column 20, at \"\\\"a(\\\")\"), at Testfile:1"},
		{"filter `" + strings.Repeat(" ", 20000) + "true`", "filter: the expression has 20004 bytes, at most 16384 are taken, at Testfile:1"},

		{"jq .a", `{"program":".a"}`},
		{"jq .a | .b", `{"program":".a | .b"}`},
		{"jq `{a: .b}` {\n not_json drop\n}", `{"program":"{a: .b}","not_json":"drop"}`},
		{"jq", "jq: wrong number of arguments; write: jq <program>, at Testfile:1"},
		{"jq `.a |\n .b | | .c`", `jq: unexpected token "|" (line 2, column 7, at "| .c"), at Testfile:1`},
		{"jq `.a |`", `jq: unexpected EOF (line 1, column 5, at the end), at Testfile:1`},
		{"jq `\"abc`", `jq: unterminated string literal (line 1, column 5, at the end), at Testfile:1`},
		{"jq `nosuch(.)`", `jq: function not defined: nosuch/1, at Testfile:1`},
		{"jq `$nosuch`", `jq: variable not defined: $nosuch, at Testfile:1`},
		{"jq `import \"a\" as a; .`", `jq: cannot load module: "a", at Testfile:1`},
		{"jq . {\n not_json x\n}", `jq: not_json: got "x", expected pass or drop; leave it out for pass, at Testfile:3`},
		{"jq `  `", "jq: program: none given; write . for one that changes nothing, at Testfile:1"},

		{"header user {http.auth.user.id}", `{"name":"user","value":"{http.auth.user.id}"}`},
		{"header -user", `{"name":"user","delete":true}`},
		{"header", "header: wrong number of arguments; write: header <name> <value>, or: header -<name>, at Testfile:1"},
		{"header user", `header: got no value for the header "user"; give it one, or write -user to delete it, at Testfile:1`},
		{"header -user x", `header: got the value "x" for the header "user", which is deleted; remove one of them, at Testfile:1`},
		{"header -", `header: name: none given, at Testfile:1`},
		{`header user ""`, `header: an argument is empty; write: header <name> <value>, or: header -<name>, at Testfile:1`},
		{"header user {http.auth.user.id", `header: value: got "{http.auth.user.id", in which a placeholder is not closed; add the brace }, or write \{ for a brace, at Testfile:1`},
		{"header user a{}", `header: value: got "a{}", in which a placeholder is empty; put a name into it, or write \{\} for braces, at Testfile:1`},

		{"topic internal.* *", `{"from":"internal.*","to":"*"}`},
		{"topic {env.TENANT}.* *", `{"from":"{env.TENANT}.*","to":"*"}`},
		{"topic a", "topic: wrong number of arguments; write: topic <from> <to>, at Testfile:1"},
		{"topic a b c", "topic: wrong number of arguments; write: topic <from> <to>, at Testfile:1"},
		{"topic a a", `topic: got "a" twice, which renames nothing, at Testfile:1`},
		{"topic a* b", `topic: got "a*" and "b", but a * in the one needs a * in the other, which stands for the same, at Testfile:1`},
		{"topic a** b*", `topic: got "a**", expected one * at most, at Testfile:1`},
		{"topic a b/c", `topic: got "b/c", which no topic can be called; names are 1 to 249 letters, digits, dots, underscores and hyphens, at Testfile:1`},
		{"topic a? b?", `topic: got "a?", which no topic can be called; names are 1 to 249 letters, digits, dots, underscores and hyphens, at Testfile:1`},
		{"topic .. b", `topic: got "..", which no topic can be called; names are 1 to 249 letters, digits, dots, underscores and hyphens, at Testfile:1`},
		{"topic __* sys-*", `topic: got "__*", but topics that begin with two underscores are only renamed by whole names, at Testfile:1`},
		{"topic a b {\n x\n}", "topic: takes no block; write: topic <from> <to>, at Testfile:2"},
	} {
		parsed, err := unmarshal(c.segment)
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = string(caddyconfig.JSON(parsed, nil))
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", shorten(c.segment, 100), got, c.want)
		}
	}
}

// TestJSON loads configurations that did not come through a Caddyfile.
func TestJSON(t *testing.T) {
	t.Setenv("KAFKAWS_TEST_EMPTY", "")
	for _, c := range []struct{ name, config, want string }{
		{"timestamp", `{}`, "field: none given"},
		{"timestamp", `{"field":"a","format":"x"}`, `format: got "x"`},
		{"timestamp", `{"field":"a","source":"x"}`, `source: got "x"`},
		{"timestamp", `{"field":"a","not_json":"x"}`, `not_json: got "x"`},
		{"timestamp", `{"field":"a","layout":"x"}`, `unknown field "layout"`},
		{"filter", `{}`, "expression: none given"},
		{"filter", `{"expression":"1"}`, "the expression gives a int"},
		{"discard", `{"expression":"x"}`, "undeclared reference to 'x'"},
		{"jq", `{}`, "program: none given"},
		{"jq", `{"program":"|"}`, `unexpected token "|" (line 1, column 1, at "|")`},
		{"jq", `{"program":".","not_json":"x"}`, `not_json: got "x"`},
		{"header", `{"value":"x"}`, "name: none given"},
		{"header", `{"name":"x"}`, `got no value for the header "x"`},
		{"header", `{"name":"x","value":"{env.KAFKAWS_TEST_EMPTY}"}`, "the placeholder {env.KAFKAWS_TEST_EMPTY} is unknown or empty"},
		{"header", `{"name":"x","value":"{http.auth.user.id}"}`, "{http.auth.user.id} belongs to the request of one client"},
		{"header", `{"name":"x","value":"{time.now}"}`, "{time.now} belongs to the request of one client"},
		{"topic", `{"from":"a"}`, "a name is missing"},
		{"topic", `{"from":"a","to":"{env.KAFKAWS_TEST_EMPTY}"}`, "placeholder {env.KAFKAWS_TEST_EMPTY} is empty"},
		{"topic", `{"from":"a","to":"{http.auth.user.id}"}`, "unrecognized placeholder {http.auth.user.id}"},
	} {
		_, err := loadJSON(t, DirectionOut, c.name, c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s\n got %v\nwant %s", c.name, c.config, err, c.want)
		}
	}
}

// TestChains has records of all kinds pass chains of several transforms.
func TestChains(t *testing.T) {
	stamp := func(value string) string { return value[:len(value)-1] + `,"t":1700000000}` }
	chain := []string{
		"topic internal.* *",
		"discard `record.key == null`",
		"timestamp t unix {\n source record\n}",
		"filter `type(record.value) != map || has(record.value.t)`",
		"jq `del(.secret)`",
		"header source gateway",
		"header -a",
	}
	headers := []record.Header{{Key: "b"}, {Key: "source", Value: []byte("gateway")}}
	for _, c := range []struct {
		name, value string
		key         []byte
		want        string // the value
	}{
		{"JSON", `{"id":1,"secret":"x"}`, []byte("k"), stamp(`{"id":1}`)},
		{"text", `hello`, []byte("k"), `hello`},
		{"JSON that is no object", `["a"]`, []byte("k"), failed + `expected an object`},
		{"binary", "\x00\xff\xfe", []byte("k"), "\x00\xff\xfe"},
		{"empty", "", []byte("k"), ""},
		{"no key", `{"id":1}`, nil, dropped},
		{"binary key", `{"id":1}`, []byte{0xff}, stamp(`{"id":1}`)},
	} {
		r := text(c.value)
		r.Topic, r.Key = "internal.orders", c.key
		keep, err := run(t, mustLoad(t, DirectionOut, chain...), r)
		switch {
		case err != nil:
			if !strings.HasPrefix(failed+err.Error(), c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
		case !keep:
			if c.want != dropped {
				t.Errorf("%s: dropped", c.name)
			}
		default:
			want := text(c.want)
			want.Key, want.Headers = c.key, headers
			if !reflect.DeepEqual(r, want) {
				t.Errorf("%s:\n got %+v\nwant %+v", c.name, r, want)
			}
		}
	}
	r := tombstone()
	r.Topic = "internal.orders"
	if keep, err := run(t, mustLoad(t, DirectionOut, chain...), r); !keep || err != nil || r.Value != nil || r.Topic != "orders" {
		t.Errorf("a tombstone: %v, %v, %+v", keep, err, r)
	}
}

// TestExampleIsDocumented compares the example in the documentation of Transform
// with the one that is run.
func TestExampleIsDocumented(t *testing.T) {
	documentation, err := os.ReadFile("transform.go")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, documented, _ := strings.Cut(string(documentation), "//\t)\n//\n//\tfunc init()")
	documented, _, _ = strings.Cut("func init()"+documented, "//\n// `xcaddy")
	documented = strings.ReplaceAll(strings.ReplaceAll(documented, "//\t", ""), "\n//\n", "\n\n")
	if len(documented) < 500 || !strings.Contains(string(example), documented) {
		t.Errorf("the example is another one than this, from the documentation:\n%s", documented)
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		text   string
		offset int
		want   string
	}{
		{"abc", 1, `line 1, column 2, at "bc"`},
		{"", 0, `line 1, column 1, at the end`},
		{"a\nЖb", 4, `line 2, column 2, at "b"`},
		{"a\nb", 1, `line 1, column 2, at the end`},
		{"abc", -1, `line 1, column 1, at "abc"`},
		{"abc", 9, `line 1, column 4, at the end`},
		{strings.Repeat("Ж", 20), 0, `line 1, column 1, at "ЖЖЖЖЖЖЖЖЖЖ..."`},
		{"x" + strings.Repeat("Ж", 20), 0, `line 1, column 1, at "xЖЖЖЖЖЖЖЖЖ..."`},
	} {
		if got := place(c.text, c.offset); got != c.want {
			t.Errorf("%q, %d: got %s, want %s", c.text, c.offset, got, c.want)
		}
	}
}
