package transforms

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/kafkaws/kafkaws/record"
)

// testContext is for what is provisioned without a configuration.
var testContext = caddy.Context{Context: context.Background()}

// expressions, and what they say about a value: "true", "false", or an error.
var expressionCases = []struct{ expression, value, want string }{
	{`true`, ``, "true"},
	{`record.topic == "orders"`, ``, "true"},
	{`record.topic.startsWith("x")`, ``, "false"},
	{`record.partition == 2 && record.offset >= 17`, ``, "true"},
	{`record.timestamp > timestamp("2023-11-14T00:00:00Z")`, ``, "true"},
	{`record.timestamp.getFullYear() == 2023`, ``, "true"},
	{`int(record.timestamp) == 1700000000`, ``, "true"},
	{`record.key == "k"`, ``, "true"},
	{`has(record.key) && has(record.value)`, ``, "true"},
	{`record.headers["a"] == "2"`, ``, "true"},
	{`record.headers.a == "2"`, ``, "true"},
	{`record.headers.b == null`, ``, "true"},
	{`has(record.headers.x) || "x" in record.headers`, ``, "false"},
	{`record.headers.x == "1"`, ``, "no such key: x"},
	{`record.headers.all(k, k in ["a", "b"])`, ``, "true"},
	{`record.headers.size() == 2`, ``, "true"},

	{`record.value == "text"`, `text`, "true"},
	{`record.value == ""`, ``, "true"},
	{`record.value == "text"`, `"text"`, "true"},
	{`record.value.startsWith("te")`, `text`, "true"},
	{`record.value == b"\xff\x00"`, "\xff\x00", "true"},
	{`record.value == null`, `null`, "true"},
	{`record.value == null`, `tombstone`, "true"},
	{`has(record.value)`, `tombstone`, "false"},
	{`record.value == null`, `x`, "false"},
	{`record.value == true`, `true`, "true"},
	{`record.value`, `true`, "true"},
	{`record.value`, `1`, "the expression gave a double, not true or false"},
	{`record.value.x`, `text`, "no such key: x"},
	{`record.value.x`, `[]`, "unsupported index type 'string' in list"},

	{`record.value.id == 42`, `{"id":42}`, "true"},
	{`record.value.id == 42.0`, `{"id":42}`, "true"},
	{`record.value.id + 1 == 43`, `{"id":42}`, "no such overload"},
	{`record.value.id + 1.0 == 43.0`, `{"id":42}`, "true"},
	{`record.value.id * 1.5 < 64`, `{"id":42}`, "true"},
	{`int(record.value.id) % 2 == 0`, `{"id":42}`, "true"},
	{`record.value.id > 41 && record.value.id <= 42`, `{"id":42}`, "true"},
	{`record.value.id == 9007199254740993`, `{"id":9007199254740993}`, "true"},
	{`record.value.id == 9007199254740992`, `{"id":9007199254740993}`, "false"},
	{`record.value.id == 9223372036854775807`, `{"id":9223372036854775807}`, "true"},
	{`record.value.id == 9223372036854775806`, `{"id":9223372036854775807}`, "false"},
	{`record.value.id == 1.8446744073709552e19`, `{"id":18446744073709551616}`, "true"},
	{`record.value.id > 1e308`, `{"id":1e999}`, "true"},
	{`record.value.a.b.c == "x"`, `{"a":{"b":{"c":"x"}}}`, "true"},
	{`record.value["a.b"] == "\u00e9"`, `{"a.b":"\u00e9"}`, "true"},
	{`record.value.a == 2`, `{"a":1,"\u0061":2}`, "true"},
	{`record.value.a == 1`, `{"a":1,"a":2}`, "false"},
	{`record.value.x == 1`, `{"id":42}`, "no such key: x"},
	{`record.value.x == 1 || record.value.id == 42`, `{"id":42}`, "true"},
	{`has(record.value.x)`, `{"x":null}`, "true"},
	{`has(record.value.x)`, `{}`, "false"},
	{`has(record.value.x.y)`, `{}`, "no such key: x"},
	{`record.value.?x.?y.orValue("") == ""`, `{}`, "true"},
	{`record.value.?x.?y.orValue("") == "z"`, `{"x":{"y":"z"}}`, "true"},
	{`record.value.size() == 2`, `{"a":1,"b":2,"a":3}`, "true"},
	{`record.value == {"a": 1.0, "b": [true, null]}`, `{"a":1,"b":[true,null]}`, "true"},
	{`{"a": 1.0} == record.value`, `{"a":1}`, "true"},
	{`record.value != {"a": 1.0}`, `{"a":1}`, "false"},
	{`type(record.value) == map`, `{}`, "true"},
	{`type(record.value) == map`, `[]`, "false"},
	{`"a" in record.value && !("b" in record.value)`, `{"a":1}`, "true"},
	{`1 in record.value`, `{"1":1}`, "false"},
	{`record.value[1] == 2`, `[1,2]`, "true"},
	{`record.value[2] == 2`, `[1,2]`, "index out of bounds: 2"},
	{`record.value.map(x, x * 2.0) == [2.0, 4.0]`, `[1,2]`, "true"},
	{`record.value.exists(k, record.value[k] == 2)`, `{"a":1,"b":2}`, "true"},
	{`record.value.items.exists(i, i.price > 10)`, `{"items":[{"price":5},{"price":20}]}`, "true"},
	{`dyn(record.value).a == 1`, `{"a":1}`, "true"},
	{`record.value.a + record.value.b + record.value.c + record.value.d + record.value.e + record.value.a + record.value.b + record.value.c + record.value.d + record.value.e == 30.0`, `{"a":1,"b":2,"c":3,"d":4,"e":5}`, "true"},
	{`record.value.matches("^[a-z]+$")`, `text`, "true"},
	{`record.value.b.matches(record.value.a)`, `{"a":"(","b":""}`, "error parsing regexp: missing closing ): `(`"},
	{`record.key.matches("^[a-z]{1}$")`, ``, "true"},
	{`record.value.b.matches(record.value.a)`, `{"a":"x{3}","b":"xxx"}`, "true"},
	{`record.value.b.matches(record.value.a)`, `{"a":"x{999}y{999}","b":"x"}`, "the regular expression is too large: it comes to about 2002 instructions, at most 1000 are taken"},
	{`record.value.b.matches(record.value.a)`, `{"a":1,"b":"x"}`, "no such overload"},
	{`record == null`, ``, "a record is no value by itself, only its fields are"},
	{`int(record.value) == 1`, `x`, "type conversion error from 'string' to 'int'"},
	{`record.value.matches("^x*$")`, strings.Repeat("x", 1<<20), "true"},
}

func TestExpressions(t *testing.T) {
	for _, c := range expressionCases {
		r := text(c.value)
		if c.value == "tombstone" {
			r = tombstone()
		}
		e, err := CompileExpression(c.expression, CostLimit)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		view := NewView(r)
		for range 2 { // what the first one made is there for the second
			got, err := "", error(nil)
			match, err := e.Match(t.Context(), view)
			switch {
			case err != nil:
				got = err.Error()
			case match:
				got = "true"
			default:
				got = "false"
			}
			if got != c.want {
				t.Errorf("%s of %s: got %s, want %s", c.expression, shorten(c.value, 100), got, c.want)
			}
		}
	}
}

func TestFilterAndDiscard(t *testing.T) {
	for _, c := range []struct{ expression, kept, discarded string }{
		{"record.value.ok == true", "kept", dropped},
		{"record.value.ok == false", dropped, "kept"},
		{"record.value.nosuch", failed + "no such key: nosuch", failed + "no such key: nosuch"},
		{"record.value.text", failed + "the expression gave a string, not true or false", failed + "the expression gave a string, not true or false"},
	} {
		for segment, want := range map[string]string{"filter `" + c.expression + "`": c.kept, "discard `" + c.expression + "`": c.discarded} {
			r := text(`{"ok":true,"text":""}`)
			keep, err := run(t, mustLoad(t, DirectionOut, segment), r)
			got := "kept"
			switch {
			case err != nil:
				got = failed + err.Error()
			case !keep:
				got = dropped
			}
			if got != want {
				t.Errorf("%s: %s, want %s", segment, got, want)
			}
		}
	}
	for _, r := range []*record.Record{text("text"), text(`{"a":1}`), text("\xff\x00"), tombstone()} {
		if keep, err := run(t, mustLoad(t, DirectionIn, "discard"), r); keep || err != nil {
			t.Errorf("%v, %v", keep, err)
		}
	}
}

// TestMetering pins down up to which size of a record expressions go without it.
func TestMetering(t *testing.T) {
	for expression, want := range map[string]int{
		`record.value.id == 42`: maxPlain,
		`record.topic.startsWith("a") && record.headers["x"] == "y"`: maxPlain,
		`record.value.items.exists(i, i.price > 10)`:                 1 << 17,
		`record.value.all(a, record.value.all(b, a <= b))`:           1 << 7,
		`["x"].map(a, [a+a].map(b, [b+b])).size() == record.offset`:  -1,
		`record.key + record.key == "x"`:                             1 << 22,
		`[record.key].map(a, [a+a].map(b, [b+b])).size() == 1`:       -1,
	} {
		e, err := CompileExpression(expression, CostLimit)
		if err != nil {
			t.Fatal(err)
		}
		if e.plainMax != want {
			t.Errorf("%s: up to %d bytes, want %d", expression, e.plainMax, want)
		}
	}
}

func TestLoopsAreLimited(t *testing.T) {
	r := text("[" + strings.Repeat("1,", 99) + "1]")
	for limit, refused := range map[uint64]bool{10_000: true, CostLimit: false} {
		e, err := CompileExpression(`record.value.all(a, record.value.all(b, a <= b))`, limit)
		if err != nil {
			t.Fatal(err)
		}
		if match, err := e.Match(t.Context(), NewView(r)); match == refused || (err != nil) != refused {
			t.Errorf("%d: %v, %v", limit, match, err)
		}
	}
}

// TestGrowthIsLimited doubles a string again and again.
func TestGrowthIsLimited(t *testing.T) {
	nested := "record.value"
	for range 40 {
		nested = "[" + nested + "].map(a, a + a)[0]"
	}
	e, err := CompileExpression(nested+` == ""`, CostLimit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Match(t.Context(), NewView(text("xxxx"))); err == nil || !strings.Contains(err.Error(), "cost limit") {
		t.Error(err)
	}
}

func TestExpressionsLookAtNoMoreThanTheyNeed(t *testing.T) {
	r := text(`{"a":1}`)
	view := NewView(r)
	e, err := CompileExpression(`record.topic == "orders" || record.value.a == 1`, CostLimit)
	if err != nil {
		t.Fatal(err)
	}
	if match, err := e.Match(t.Context(), view); !match || err != nil {
		t.Fatal(match, err)
	}
	if view.value != nil || view.key != nil || view.headers != nil {
		t.Error("more than the topic was looked at")
	}
}

func TestRepeatedLookupsDecodeTheObject(t *testing.T) {
	object := jsonValue(`{"a":1,"b":{"c":2}}`).(*jsonObject)
	for i := range maxScans + 2 {
		if object.Get(textValue([]byte("a"))).Value() != 1.0 {
			t.Fatal("another value")
		}
		if (object.decoded != nil) != (i >= maxScans) {
			t.Errorf("decoded after %d look-ups", i+1)
		}
	}
}

func TestIsJSON(t *testing.T) {
	for value, want := range map[string]bool{
		``: false, ` `: false, `{}`: true, " [1]\n": true, `01`: false, `1.`: false, `-`: false, `"\x"`: false,
		"\"\xff\"": false, `{"a":1,}`: false, `nul`: false, `NaN`: false, "\"\t\"": false, `{} x`: false, "\uFEFF{}": false,
		strings.Repeat("[", 10000) + strings.Repeat("]", 10000):           true,
		strings.Repeat("[", 10001) + strings.Repeat("]", 10001):           false,
		`[` + strings.Repeat("{},", 20000) + `1]`:                         true,
		strings.Repeat(`{"a":`, 10001) + `1` + strings.Repeat("}", 10001): false,
		strings.Repeat("[", 5_000_000):                                    false,
		`"` + strings.Repeat("[", 20000) + `"`:                            true,
	} {
		if got := isJSON([]byte(value)); got != want {
			t.Errorf("%s: %v", shorten(value, 50), got)
		}
	}
}

// FuzzIsJSON compares with encoding/json.
func FuzzIsJSON(f *testing.F) {
	for _, c := range expressionCases {
		if len(c.value) < 1000 {
			f.Add([]byte(c.value))
		}
	}
	f.Add([]byte(`[-0.0e-1, 1E+5, "\ud834\u0000", {"":{}}]`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if got, want := isJSON(value), json.Valid(value) && strings.ToValidUTF8(string(value), "") == string(value); got != want {
			t.Errorf("%q: %v", value, got)
		}
	})
}

// FuzzExpression evaluates anything over anything.
func FuzzExpression(f *testing.F) {
	for _, c := range expressionCases {
		if len(c.value) < 1000 { // it takes long with large ones
			f.Add(c.expression, []byte(c.value))
		}
	}
	f.Fuzz(func(t *testing.T, expression string, value []byte) {
		e, err := CompileExpression(expression, 10_000)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := text(string(value))
		r.Key = value
		same := string(value)
		_, err = e.Match(ctx, NewView(r))
		if err != nil && strings.Contains(err.Error(), "internal error") { // a panic that CEL caught
			t.Errorf("%s: %v", expression, err)
		}
		if string(r.Value) != same || string(value) != same {
			t.Error("the record was written into")
		}
	})
}

// FuzzJSONObject compares an object that is searched with the same one decoded.
func FuzzJSONObject(f *testing.F) {
	for _, c := range expressionCases {
		if len(c.value) < 1000 {
			f.Add([]byte(c.value), "a")
		}
	}
	f.Add([]byte(`{"a":{"b":[1,{"c":"\u00e9"}]},"a":-0}`), "a")
	f.Fuzz(func(t *testing.T, value []byte, name string) {
		if !isJSONObject(value) {
			return
		}
		object := jsonValue(string(value)).(*jsonObject)
		found, ok := object.Find(textValue([]byte(name)))
		if object.decoded != nil {
			return // name is no string
		}
		want, wantOK := object.all().Find(textValue([]byte(name)))
		if ok != wantOK || ok && found.Equal(want) != want.Equal(want) {
			t.Errorf("%s: %v, %v", value, found, want)
		}
		var decoded map[string]any
		if err := json.Unmarshal(value, &decoded); err == nil && len(decoded) != len(object.all().Value().(map[string]any)) {
			t.Errorf("%s: %v, %v", value, object.all().Value(), decoded)
		}
	})
}
