package customtransform_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/internal/exampletest"
	"github.com/kafkaws/kafkaws/record"
	"github.com/kafkaws/kafkaws/transforms"
)

// load makes a transform of what stands behind `transform in|out`, in the steps
// that Caddy takes. For a Binder it is the one of a user's session.
func load(t testing.TB, user, segment string) transforms.Transform {
	t.Helper()
	name, _, _ := strings.Cut(segment, " ")
	d := caddyfile.NewTestDispenser(segment)
	d.Next()
	parsed, err := caddyfile.UnmarshalModule(d, transforms.Namespace+"."+name)
	if err != nil {
		t.Fatalf("%s: %v", segment, err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel() // transforms need nothing of it afterwards
	module, err := ctx.LoadModuleByID(transforms.Namespace+"."+name, caddyconfig.JSON(parsed, nil))
	if err != nil {
		t.Fatalf("%s: %v", segment, err)
	}
	binder, ok := module.(transforms.Binder)
	if !ok {
		return module.(transforms.Transform)
	}
	repl := caddy.NewReplacer()
	repl.Set("http.auth.user.id", user)
	bound, err := binder.Bind(repl)
	if err != nil {
		t.Fatalf("%s: %v", segment, err)
	}
	return bound
}

// run has a record pass a transform and checks that nothing was written into what
// it came with.
func run(t testing.TB, transform transforms.Transform, value []byte) (*record.Record, bool, error) {
	t.Helper()
	r := &record.Record{
		Topic: "payments", Partition: 3, Offset: 17, Key: []byte("k"), Value: value,
		Headers: []record.Header{{Key: "h", Value: []byte("v")}},
	}
	before, same := *r, r.Clone()
	keep, err := transform.Transform(t.Context(), r)
	if !reflect.DeepEqual(&before, same) {
		t.Fatalf("the record's bytes were changed: %v, %v", before, same)
	}
	after := *r
	after.Value = before.Value
	if !reflect.DeepEqual(&after, same) {
		t.Fatalf("more than the value was changed: %v, %v", after, same)
	}
	if keep && err != nil {
		t.Fatalf("kept, with an error: %v", err)
	}
	return r, keep, err
}

// dropped and failed are what became of records that do not go on.
const (
	dropped = "dropped"
	failed  = "failed: "
)

type valueCase struct{ value, want string }

func check(t *testing.T, transform transforms.Transform, cases []valueCase) {
	t.Helper()
	for _, c := range cases {
		r, keep, err := run(t, transform, []byte(c.value))
		got := string(r.Value)
		switch {
		case err != nil:
			got = failed + err.Error()
		case !keep:
			got = dropped
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.value, got, c.want)
		}
	}
	if r, keep, err := run(t, transform, nil); !keep || err != nil || r.Value != nil {
		t.Errorf("a tombstone became %q, %v, %v", r.Value, keep, err)
	}
}

func TestStampUser(t *testing.T) {
	check(t, load(t, "alice", "stamp_user"), []valueCase{
		{`{}`, `{"user":"alice"}`},
		{`{"amount": 1.50, "at":[1, {"user":"x"}]}`, `{"amount":1.50,"at":[1, {"user":"x"}],"user":"alice"}`},
		{`{"user":"eve"}`, `{"user":"alice"}`},
		{`{"a":1,"USER":"eve","us\u0065r":"eve","uſer":"eve","user":"eve"}`, `{"a":1,"user":"alice"}`},
		{" {\"a\":\n\"\\u00e9\"}\n", `{"a":"\u00e9","user":"alice"}`},
		{`[{"user":"eve"}]`, dropped},
		{`{"user":"eve"`, dropped},
		{"{\"user\":\"eve\",\"a\":\"\xff\"}", dropped},
		{``, dropped},
		{`hello`, dropped},
		{strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), dropped},
	})
	check(t, load(t, `a"\é`, "stamp_user by"), []valueCase{
		{`{"by":1,"user":2}`, `{"user":2,"by":"a\"\\é"}`},
	})
	check(t, load(t, "", "stamp_user"), []valueCase{
		{`{"user":"eve","a":1}`, `{"a":1}`},
	})
	check(t, load(t, "alice", "stamp_user user {\n not_json pass\n}"), []valueCase{
		{`hello`, `hello`},
		{`{"user":1}`, `{"user":"alice"}`},
	})
}

func TestStampUserNeedsASession(t *testing.T) {
	info, err := caddy.GetModule(transforms.Namespace + ".stamp_user")
	if err != nil {
		t.Fatal(err)
	}
	if keep, err := info.New().(transforms.Transform).Transform(t.Context(), &record.Record{}); keep || err == nil {
		t.Errorf("got %v, %v", keep, err)
	}
}

func TestMaskCard(t *testing.T) {
	check(t, load(t, "", "mask_card"), []valueCase{
		{`{}`, `{}`},
		{`{"card":"4111 1111 1111 1111", "amount": 1.50}`, `{"card":"**** **** **** 1111","amount":1.50}`},
		{`{"card":4111111111111111}`, `{"card":"************1111"}`},
		{
			`{"card":"4111111111111111","Card":"5500005555555559","c\u0061rd":"340000000000009"}`,
			`{"card":"************1111","Card":"************5559","c\u0061rd":"***********0009"}`,
		},
		{`{"card":"٤١١١١١١١١١١١١١١١"}`, `{"card":"************١١١١"}`},
		{`{"card":"\u0034111-1111-1111-1111"}`, `{"card":"****-****-****-1111"}`},
		{`{"card":"123"}`, `{"card":"123"}`},
		{`{"card":null,"other":"4111111111111111"}`, `{"card":null,"other":"4111111111111111"}`},
		{
			`{"card":{"number":"4111111111111111"}}`,
			failed + `the field "card" holds neither a string nor a number, so its card number cannot be masked`,
		},
		{`{"card":true}`, failed + `the field "card" holds neither a string nor a number, so its card number cannot be masked`},
		{`[{"card":"4111111111111111"}]`, dropped},
		{`4111111111111111`, dropped},
	})
	check(t, load(t, "", "mask_card card number {\n not_json pass\n}"), []valueCase{
		{`{"number":"4111111111111111","card":"5500005555555559"}`, `{"number":"************1111","card":"************5559"}`},
		{`hello`, `hello`},
	})
}

// A client cannot pass for another, whoever reads.
func FuzzStampUser(f *testing.F) {
	for _, seed := range []string{`{"user":"eve"}`, `{"a":1,"us\u0065r":2,"USER":[]}`, `[]`, `{"user":1,"user":2}`, "{\"\xffuser\":1}"} {
		f.Add([]byte(seed))
	}
	transform := load(f, "alice", "stamp_user")
	f.Fuzz(func(t *testing.T, value []byte) {
		r, keep, err := run(t, transform, value)
		if err != nil || keep != isObject(value) {
			t.Fatalf("kept %v, with %v", keep, err)
		}
		if !keep {
			return
		}
		var got struct{ User string } // read without regard to case
		if err := json.Unmarshal(r.Value, &got); err != nil || got.User != "alice" {
			t.Fatalf("%q became %q: %v", value, r.Value, err)
		}
	})
}

// No more than the last digits of a card's number go out.
func FuzzMaskCard(f *testing.F) {
	for _, seed := range []string{`{"card":"4111 1111 1111 1111"}`, `{"CARD":4e16}`, `{"card":null,"card":{}}`, `"4111"`, `{"c\u0061rd":"\u0034"}`} {
		f.Add([]byte(seed))
	}
	transform := load(f, "", "mask_card")
	f.Fuzz(func(t *testing.T, value []byte) {
		r, keep, err := run(t, transform, value)
		if keep && !isObject(value) {
			t.Fatalf("%q was kept", value)
		}
		if !keep || err != nil {
			return
		}
		var got map[string]any
		if err := json.Unmarshal(r.Value, &got); err != nil {
			t.Fatalf("%q became %q: %v", value, r.Value, err)
		}
		for name, v := range got {
			if !strings.EqualFold(name, "card") || v == nil {
				continue
			}
			digits := 0
			for _, c := range v.(string) {
				if unicode.IsDigit(c) {
					digits++
				}
			}
			if digits > 4 {
				t.Fatalf("%q became %q", value, r.Value)
			}
		}
	})
}

func isObject(value []byte) bool {
	var object map[string]any
	return json.Unmarshal(value, &object) == nil && object != nil && json.Valid(value) && strings.ToValidUTF8(string(value), "") == string(value)
}

func TestCaddyfile(t *testing.T) {
	for _, c := range []struct{ line, err string }{
		{"transform in stamp_user", ""},
		{"transform in stamp_user by {\nnot_json pass\n}", ""},
		{"transform in stamp_user a b", "wrong argument count or unexpected line ending after 'b', at Caddyfile:4"},
		{"transform in stamp_user {\nnot_json maybe\n}", `not_json: got "maybe", expected drop or pass, at Caddyfile:6`},
		{"transform in stamp_user {\nnot_json\n}", "not_json takes one value, at Caddyfile:5"},
		{"transform in stamp_user {\nnot_json drop\nnot_json drop\n}", "not_json is given twice, at Caddyfile:6"},
		{"transform in stamp_user {\nnotjson drop\n}", `unknown option "notjson", at Caddyfile:5`},
		{"transform out stamp_user", "stamp_user: records that go out are not published by a user; use it with `transform in`, at Caddyfile:4"},
		{"transform out mask_card", ""},
		{"transform out mask_card a b {\nnot_json drop\n}", ""},
		{`transform out mask_card ""`, "fields: one of them has no name, at Caddyfile:4"},
		{"transform in mask_card", "mask_card: on the way in, Kafka would lose the number; use it with `transform out`, at Caddyfile:4"},
	} {
		got := ""
		if err := exampletest.Validate(exampletest.Handler(c.line)); err != nil {
			got = err.Error()
		}
		if (got == "") != (c.err == "") || !strings.Contains(got, c.err) {
			t.Errorf("%s\n got %q\nwant %q", c.line, got, c.err)
		}
	}
}

// TestDocuments validates the Caddyfile and those of the documentation.
func TestDocuments(t *testing.T) {
	exampletest.ValidateDocuments(t, module)
}
