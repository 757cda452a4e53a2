package transforms

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

func TestJQ(t *testing.T) {
	valueCases(t, []struct{ segment, value, want string }{
		{"jq .", ` { "b" : 1.50 , "a":"<\u00e9>" } `, `{"a":"<é>","b":1.50}`},
		{"jq .", `12345678901234567890123`, `12345678901234567890123`},
		{"jq .id", `{"id":9007199254740993}`, `9007199254740993`},
		{"jq `.id + 1`", `{"id":9007199254740993}`, `9007199254740994`},
		{"jq .a", `{}`, `null`},
		{"jq `{a, n: .list|length}`", `{"a":"x","list":[1,2]}`, `{"a":"x","n":2}`},
		{"jq `select(.ok)`", `{"ok":true}`, `{"ok":true}`},
		{"jq `select(.ok)`", `{"ok":false}`, dropped},
		{"jq empty", `1`, dropped},
		{"jq halt", `1`, dropped},
		{"jq `1, halt`", `1`, `1`},
		{"jq `\"bye\" | halt_error`", `1`, failed + `halt error: bye`},
		{"jq .[]", `[1]`, `1`},
		{"jq .[]", `[]`, dropped},
		{"jq .[]", `[1,2]`, failed + `the program has more than one result; put them into a list, or take the first(...)`},
		{"jq `1, error(\"no\")`", `1`, failed + `error: no`},
		{"jq .a", `"x"`, failed + `expected an object but got: string ("x")`},
		{"jq error", `"` + strings.Repeat("x", 1000) + `"`, failed + `error: ` + strings.Repeat("x", 193) + `...`},
		{"jq `[$topic, $partition, $offset, $timestamp, $key, $headers]`", `{}`, `["orders",2,17,1700000000123,"k",{"a":"2","b":null}]`},
		{"jq `. as $topic | $topic`", `1`, `1`},
		{"jq `env, $ENV | select(length > 0)`", `1`, dropped},
		{"jq now|floor>1600000000", `1`, `true`},
		{"jq `reduce range(20000) as $i (null; [.])`", `1`, failed + `the result is nested deeper than 10000 levels`},

		{"jq .", `tombstone`, `tombstone`},
		{"jq empty", `tombstone`, `tombstone`},
		{"jq empty", ``, ``},
		{"jq empty", `text`, `text`},
		{"jq empty", `{} {}`, `{} {}`},
		{"jq empty", "\"\xff\"", "\"\xff\""},
		{"jq empty", strings.Repeat("[", 20000) + strings.Repeat("]", 20000), strings.Repeat("[", 20000) + strings.Repeat("]", 20000)},
		{"jq . {\n not_json drop\n}", `tombstone`, `tombstone`},
		{"jq . {\n not_json drop\n}", `text`, dropped},
		{"jq . {\n not_json drop\n}", ``, dropped},
		{"jq . {\n not_json drop\n}", `"text"`, `"text"`},
	})
}

func TestJQVariablesOfARecordToPublish(t *testing.T) {
	r := &record.Record{Topic: "a", Partition: record.AnyPartition, Value: []byte(`1`), Headers: []record.Header{{Key: "h", Value: []byte{0xff, 'a'}}}}
	keep, err := run(t, mustLoad(t, DirectionIn, "jq `[$partition, $offset, $timestamp, $key, $headers.h]`"), r)
	if want := "[-1,0,null,null,\"\uFFFDa\"]"; !keep || err != nil || string(r.Value) != want {
		t.Errorf("%v, %v, %s", keep, err, r.Value)
	}
}

// TestEndlessProgramsAreCut also gives expressions more than they have time for.
func TestEndlessProgramsAreCut(t *testing.T) {
	loop := "record.value.all(a, record.value.all(b, a + b < 1000000.0))"
	long := "[" + strings.Repeat("1,", 5000) + "1]"
	expression, err := CompileExpression(loop, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	for name, transform := range map[string]Transform{
		"repeat":      mustLoad(t, DirectionOut, "jq `last(repeat(.))`")[0],
		"recursion":   mustLoad(t, DirectionOut, "jq `def f: f; f`")[0],
		"after one":   mustLoad(t, DirectionOut, "jq `1, last(repeat(.))`")[0],
		"expressions": &Filter{condition: &Expression{plain: expression.plain, plainMax: maxPlain, loops: true}},
		"metered":     &Filter{condition: expression},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			start := time.Now()
			keep, err := transform.Transform(ctx, text(long))
			if keep || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, %v", keep, err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func FuzzJQ(f *testing.F) {
	for _, seed := range []struct{ program, value string }{
		{".", `{"a":[1,2.5,"x",null,true]}`},
		{".a // empty", `{}`},
		{"tojson | fromjson", `1e1000`},
		{"[.[] | $key, $headers]", `[1]`},
		{"del(..)", `[[[]]]`},
		{"@base64d", `"/w=="`},
	} {
		f.Add(seed.program, []byte(seed.value))
	}
	f.Fuzz(func(t *testing.T, program string, value []byte) {
		j := &JQ{Program: program}
		if j.Provision(testContext) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r := text(string(value))
		same := string(r.Value)
		before := r.Value
		keep, err := j.Transform(ctx, r)
		if keep && (err != nil || isJSON(value) && !isJSON(r.Value)) {
			t.Errorf("%s: %v, %s", program, err, r.Value)
		}
		if string(before) != same {
			t.Error("the value was written into")
		}
	})
}
