package transforms

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

func TestTimestamp(t *testing.T) {
	const now = `"2026-03-04T04:06:07.891Z"`
	valueCases(t, []struct{ segment, value, want string }{
		{"timestamp time", `{}`, `{"time":` + now + `}`},
		{"timestamp time", `{"a":1}`, `{"a":1,"time":` + now + `}`},
		{"timestamp time", ` { "a" : 1.0e2 , "b":"\u00e9" } `, `{ "a" : 1.0e2 , "b":"\u00e9" ,"time":` + now + `}`},
		{"timestamp time", `{"time" : {"x":[1]} , "a":1}`, `{"time" : ` + now + ` , "a":1}`},
		{"timestamp time", `{"t\u0069me":1,"a":2}`, `{"t\u0069me":` + now + `,"a":2}`},
		{"timestamp time", `{"a":{"time":1}}`, `{"a":{"time":1},"time":` + now + `}`},
		{"timestamp time", `{"time":1,"time":2}`, failed + `the object has the field "time" 2 times`},
		{"timestamp time", `{"time":1,"t\u0069me":2}`, failed + `the object has the field "time" 2 times`},
		{"timestamp a.b", `{"a":{"b":1}}`, `{"a":{"b":1},"a.b":` + now + `}`},
		{"timestamp @timestamp", `{"a":1}`, `{"a":1,"@timestamp":` + now + `}`},
		{"timestamp @timestamp", `{"@timestamp":1}`, `{"@timestamp":` + now + `}`},
		{"timestamp 0", `{"a":1}`, `{"a":1,"0":` + now + `}`},
		{"timestamp -1", `{"-1":1}`, `{"-1":` + now + `}`},
		{"timestamp :a", `{":a":1}`, `{":a":` + now + `}`},
		{"timestamp a|b#c*d?e", `{}`, `{"a|b#c*d?e":` + now + `}`},
		{"timestamp время", `{"время":0}`, `{"время":` + now + `}`},
		{`timestamp a\b`, `{"a\\b":0}`, `{"a\\b":` + now + `}`},

		{"timestamp t rfc3339", `{}`, `{"t":` + now + `}`},
		{"timestamp t unix", `{}`, `{"t":1772597167}`},
		{"timestamp t unix_ms", `{}`, `{"t":1772597167891}`},
		{"timestamp t `Mon \"2006\"`", `{}`, `{"t":"Wed \"2026\""}`},
		{"timestamp t unix_ms {\n source record\n}", `{}`, `{"t":1700000000123}`},
		{"timestamp t unix_ms {\n source now\n}", `{}`, `{"t":1772597167891}`},

		{"timestamp t", `tombstone`, `tombstone`},
		{"timestamp t", `[1]`, `[1]`},
		{"timestamp t", `12`, `12`},
		{"timestamp t", `null`, `null`},
		{"timestamp t", ``, ``},
		{"timestamp t", `text`, `text`},
		{"timestamp t", `{"a":1`, `{"a":1`},
		{"timestamp t", `{"a":1}{}`, `{"a":1}{}`},
		{"timestamp t", "{\"a\":\"\xff\"}", "{\"a\":\"\xff\"}"},
		{"timestamp t", "\x00\x01{}", "\x00\x01{}"},
		{"timestamp t {\n not_json drop\n}", `tombstone`, `tombstone`},
		{"timestamp t {\n not_json drop\n}", `[1]`, dropped},
		{"timestamp t {\n not_json drop\n}", ``, dropped},
		{"timestamp t {\n not_json drop\n}", `text`, dropped},
		{"timestamp t unix {\n not_json drop\n}", `{}`, `{"t":1772597167}`},
	})
}

func TestTimestampOfARecordWithoutOne(t *testing.T) {
	r := text(`{}`)
	r.Timestamp = time.Time{}
	keep, err := run(t, mustLoad(t, DirectionIn, "timestamp t unix {\n source record\n}"), r)
	if !keep || err != nil || string(r.Value) != `{"t":1772597167}` {
		t.Errorf("%v, %v, %s", keep, err, r.Value)
	}
}

func TestTimestampIsOfNow(t *testing.T) {
	transform, err := load(t, DirectionIn, "timestamp t unix_ms")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Now().UnixMilli()
	r := text(`{}`)
	if keep, err := run(t, []Transform{transform}, r); !keep || err != nil {
		t.Fatal(keep, err)
	}
	if got := gjson.GetBytes(r.Value, "t").Int(); got < from || got > time.Now().UnixMilli() {
		t.Errorf("%s, began at %d", r.Value, from)
	}
}

// FuzzTimestamp compares the edit with one that is made by decoding.
func FuzzTimestamp(f *testing.F) {
	f.Add("time", []byte(`{"a":1}`))
	f.Add("t.\\|#@*?:", []byte(`{"t.\\|#@*?:":[1,2],"b":{"c":null}}`))
	f.Add(":0", []byte(` {"\u003a0": 1 , "x":"}"} `))
	f.Add("-1", []byte(`[{}]`))
	f.Add("@this", []byte(`{"@this":"\ud800"}`))
	f.Add("..a", []byte("{\"\xff\":1}"))
	f.Fuzz(func(t *testing.T, field string, value []byte) {
		stamp := &Timestamp{Field: field, Format: formatUnix, NotJSON: notJSONDrop}
		if stamp.Validate() != nil {
			return
		}
		if err := stamp.Provision(testContext); err != nil {
			t.Fatal(err)
		}
		stamp.now = func() time.Time { return testNow }
		r := text(string(value))
		keep, err := run(t, []Transform{stamp}, r)
		var want map[string]json.RawMessage
		if wantErr := json.Unmarshal(value, &want); wantErr != nil || want == nil || !isJSON(value) {
			if keep || err != nil {
				t.Fatalf("no JSON object: %v, %v", keep, err)
			}
			return
		}
		if !keep || err != nil {
			if n := members(value); len(want) == n && err != nil {
				t.Fatalf("%v, %v", keep, err)
			}
			return // a name that stands there twice
		}
		if bytes.Equal(r.Value, value) {
			t.Fatal("not changed")
		}
		want[field] = json.RawMessage("1772597167")
		var got map[string]json.RawMessage
		if err := json.Unmarshal(r.Value, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q\n%s\n got %s %v\nwant %s", field, value, got, err, want)
		}
	})
}

// members counts the members of an object, equal names included.
func members(object []byte) int {
	var n int
	gjson.ParseBytes(object).ForEach(func(_, _ gjson.Result) bool {
		n++
		return true
	})
	return n
}
