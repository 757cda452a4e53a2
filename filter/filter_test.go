package filter

import (
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kafkaws/kafkaws/record"
	"github.com/kafkaws/kafkaws/transforms"
)

// of returns a record with a value, and with something in every field.
func of(value string) *record.Record {
	return &record.Record{
		Topic: "orders", Partition: 2, Offset: 17, Timestamp: time.UnixMilli(1_700_000_000_000).UTC(),
		Key: []byte("17"), Value: []byte(value),
		Headers: []record.Header{{Key: "x-a", Value: []byte("1")}, {Key: "x-a", Value: []byte("2")}, {Key: "b"}},
	}
}

const order = `{"id":42,"user":"u17","ok":true,"none":null,"tags":["new","big"],"big":9007199254740993,` +
	`"items":[{"sku":"a","price":5,"tags":["x"]},{"sku":"b","price":20,"tags":["y","z"]}],"geo":{"lat":52.5,"lon":13.4},"at":"2023-11-14T00:00:00Z"}`

// cases are expressions and whether a record with the value of order is wanted.
var cases = []struct {
	expression string
	want       bool
}{
	{`true`, true},
	{`record.key == "17"`, true},
	{`record.key != "17"`, false},
	{`record.topic == "orders" && record.partition == 2 && record.offset >= 17`, true},
	{`record.topic.startsWith("ord") && record.topic.endsWith("ers") && record.topic.contains("de")`, true},
	{`record.timestamp > timestamp("2023-11-14T00:00:00Z")`, true},
	{`record.timestamp.getFullYear() == 2023 && record.timestamp.getHours() == 22`, true},
	{`record.timestamp - timestamp(record.value.at) < duration("24h")`, true},
	{`record.timestamp + duration("1h") > record.timestamp`, true},
	{`record.headers["x-a"] == "2"`, true},
	{`"x-a" in record.headers && !("x-b" in record.headers)`, true},
	{`record.headers.exists(h, h.startsWith("x-"))`, true},
	{`record.headers.all(h, h.startsWith("x-"))`, false},
	{`record.headers.b == null`, true},
	{`size(record.headers) == 2`, true},

	{`record.value.user == "u17"`, true},
	{`record.value.user == "u18"`, false},
	{`"u17" == record.value.user`, true},
	{`record.value.user in ["u1", "u17"]`, true},
	{`"new" in record.value.tags`, true},
	{`"user" in record.value`, true},
	{`record.value.user.matches("^u[0-9]+$")`, true},
	{`matches(record.value.user, "^x")`, false},
	{`record.value.tags.matches("x")`, false},
	{`record.value.tags[0] == "new"`, true},
	{`record.value.tags[9] == "new"`, false},
	{`record.value["user"] == "u17"`, true},
	{`record.value.id == 42 && record.value.id + 1.0 == 43.0 && record.value.id * 2.0 > 83`, true},
	{`int(record.value.id) % 2 == 0 && -int(record.value.id) < 0`, true},
	{`record.value.big == 9007199254740993`, true},
	{`string(record.value.big) == "9007199254740993"`, true},
	{`double("1.5") == 1.5 && int(record.key) == 17 && bool("true")`, true},
	{`record.value.geo.lat > 50.0`, true},
	{`record.value.geo == null`, false},
	{`record.value.geo != null && record.value.tags != null`, true},
	{`record.value.none == null`, true},
	{`record.value.geo == 1`, false},
	{`record.value.geo == record.value.tags`, false},
	{`record.value.ok`, true},
	{`record.value.ok ? record.value.id == 42 : false`, true},
	{`has(record.value.user) && !has(record.value.nosuch)`, true},
	{`record.value.?geo.?alt.orValue(7) == 7`, true},
	{`record.value.?geo.or(record.value.?user).hasValue()`, true},
	{`record.value[?"user"].value() == "u17"`, true},
	{`type(record.value) == map && type(record.value.tags) == list`, true},
	{`record.value.size() == 9 && record.value.user.size() == 3`, true},
	{`record.value.items.exists(i, i.price > 10)`, true},
	{`record.value.items.all(i, i.price > 10)`, false},
	{`record.value.items.exists(i, i.tags.exists(t, t == "z"))`, true},
	{`record.value.items.exists(record, record.sku == "b")`, true},
	{`record.value.exists(k, k == "geo")`, true},
	{`[1, 2, 3].exists(n, n == int(record.partition))`, true},
	{`record.value.items.exists(i, i.nosuch) || true`, true},

	// What fails is not wanted.
	{`record.value.nosuch == 1`, false},
	{`record.value.nosuch != 1`, false},
	{`record.value.user`, false},
	{`record.value.user > 1`, false},
	{`record.value.user.exists(c, true)`, false},
	{`int(record.value.user) == 1`, false},
	{`record.value.id / 0 == 1`, false},
}

// TestMatch goes through cases, and holds what it finds against what the same
// expressions say for the site.
func TestMatch(t *testing.T) {
	r := of(order)
	var seen any
	for _, c := range cases {
		f, err := Compile(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		alone, _, _ := f.Match(r, nil)
		var shared bool
		shared, seen, _ = f.Match(r, seen)
		if alone != c.want || shared != c.want {
			t.Errorf("%s: %v, and after others %v", c.expression, alone, shared)
		}
		ofTheSite, err := transforms.CompileExpression(c.expression, transforms.CostLimit)
		if err != nil {
			t.Errorf("%s: for the site: %v", c.expression, err)
			continue
		}
		if match, _ := ofTheSite.Match(t.Context(), transforms.NewView(r)); match != c.want {
			t.Errorf("%s: %v for the site", c.expression, match)
		}
	}
}

func TestMatchOfOtherValues(t *testing.T) {
	for _, c := range []struct {
		expression, value string
		want              bool
	}{
		{`record.value == "text"`, `text`, true},
		{`record.value.startsWith("te")`, `text`, true},
		{`record.value == b"\xff\x00"`, "\xff\x00", true},
		{`record.value[1] == 2`, `[1,2]`, true},
		{`2 in record.value`, `[1,2]`, true},
		{`record.value.a == record.value.b`, `{"a":[1],"b":[1]}`, false}, // cannot be compared
		{`record.value.a == record.value.b`, `{"a":{},"b":{}}`, false},
		{`record.value.?a == record.value.?a`, `{"a":1}`, false},
		{`record.value.a in record.value.b`, `{"a":[1],"b":[[1]]}`, false},
		{`record.value.a + record.value.a == record.value.b`, `{"a":"x","b":"xx"}`, false},
		{`size(record.value.a + record.value.a) == 2`, `{"a":[1]}`, false},
	} {
		f, err := Compile(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		if got, _, _ := f.Match(of(c.value), nil); got != c.want {
			t.Errorf("%s of %s: %v", c.expression, c.value, got)
		}
	}
	f, err := Compile(`record.key == null && record.value == null && !has(record.value)`)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := f.Match(&record.Record{}, nil); !got {
		t.Error("a tombstone without a key is not wanted")
	}
}

func TestCompileErrors(t *testing.T) {
	long := strings.Repeat("x", MaxLength)
	for expression, want := range map[string]string{
		``:                              "the expression is empty; write the condition for which a record is wanted",
		" \n":                           "the expression is empty; write the condition for which a record is wanted",
		long + "x":                      "the expression has 1025 bytes, at most 1024 are taken",
		"\"\xff\" == \"x\"":             "the expression is not UTF-8",
		`record.nosuch == 1`:            `undefined field 'nosuch' (line 1, column 7, at ".nosuch == 1")`,
		`record.topic`:                  "the expression gives a string; write one that gives true or false",
		`recrd.key == "1"`:              `undeclared reference to 'recrd' (in container '') (line 1, column 1, at "recrd.key == \"1\"")`,
		"true &&\n  record.key ==":      `line 2`,
		`record.value.map(x, x) == [1]`: "of the macros a filter may use has, exists and all (line 1, column 17,",
		`record.value.filter(x, true).size() == 1`:                  "of the macros a filter may use has, exists and all",
		`record.value.exists_one(x, true)`:                          "of the macros a filter may use has, exists and all",
		`record.value.?x.optMap(y, true).orValue(false)`:            "of the macros a filter may use has, exists and all",
		`{"a": 1} == record.value`:                                  "a filter cannot make maps or messages (line 1, column 1,",
		`record.value[record.key] == 1`:                             "between brackets a filter may have a literal only",
		`record.topic + "x" == "y"`:                                 "a filter cannot join strings or lists (line 1, column 14,",
		`record.value + "x" == "y"`:                                 "a filter cannot join strings or lists",
		`size([1] + [2]) == 2`:                                      "a filter cannot join strings or lists",
		`record.key.matches(record.value)`:                          "the regular expression of matches has to be a literal",
		`record.key.matches("(")`:                                   "error parsing regexp: missing closing ): `(`",
		`record.key.matches("(x{1000}){1000}")`:                     "error parsing regexp: invalid repeat count: `{1000}`",
		`record.key.matches("x{120}y{120}")`:                        "the regular expression is too large: it comes to about",
		`record.key.matches("` + long[:300] + `")`:                  "the regular expression has 300 bytes, at most 256 are taken",
		`record.timestamp.getHours("Europe/Berlin") < 8`:            "a filter knows no time zones but UTC",
		`bytes(record.topic) == b"x"`:                               "a filter cannot use bytes",
		`[1].first().hasValue()`:                                    "a filter cannot use first",
		`optional.of(1).hasValue()`:                                 "a filter cannot use optional.of",
		`timestamp("yesterday") < record.timestamp`:                 "invalid timestamp argument",
		`record.nosuchfunction()`:                                   "undeclared reference to 'nosuchfunction'",
		strings.Repeat("(", 500) + "1":                              "expression recursion limit exceeded",
		strings.Repeat("[", 500) + strings.Repeat("]", 500) + "==1": "expression recursion limit exceeded",
		strings.Repeat("!", 1000) + "x":                             "",
		long:                                                        "undeclared reference to",
		strings.Repeat("a,", 500):                                   "",
		strings.Repeat("true&&", 170) + "true":                      "expression node count exceeds limit",
		strings.Repeat("\U0001F600", 250):                           "",
		`record.value.` + strings.Repeat(`a.`, 490) + `b`:           "max recursion depth exceeded",
	} {
		_, err := Compile(expression)
		switch {
		case err == nil:
			t.Errorf("%.60s: no error", expression)
		case !strings.Contains(err.Error(), want):
			t.Errorf("%.60s: %v", expression, err)
		case len(err.Error()) > MaxErrorLength || !utf8.ValidString(err.Error()):
			t.Errorf("%.60s: an error of %d bytes", expression, len(err.Error()))
		}
	}
}

func TestID(t *testing.T) {
	a, err := Compile(" record.key == '17'\n")
	if err != nil {
		t.Fatal(err)
	}
	if a.ID() != "record.key == '17'" {
		t.Errorf("%q", a.ID())
	}
}

// TestConcurrentUse has one filter asked by many, for the race detector.
func TestConcurrentUse(t *testing.T) {
	f, err := Compile(`record.value.items.exists(i, i.price > 10) && record.value.nosuch == 1 || record.value.user == "u17"`)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				if wanted, _, _ := f.Match(of(order), nil); !wanted {
					t.Error("not wanted")
				}
			}
		})
	}
	group.Wait()
}
