package kafkaws

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshal reads the tokens of one directive.
func unmarshal(input string) (*Handler, error) {
	tokens, err := caddyfile.Tokenize([]byte(input), "Testfile")
	if err != nil {
		return nil, err
	}
	h := new(Handler)
	return h, h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens))
}

// TestEveryFieldHasASubdirective reads a Caddyfile that uses all subdirectives
// and looks for fields that are still as they were.
func TestEveryFieldHasASubdirective(t *testing.T) {
	input, _ := readAdaptFile(t, filepath.Join("testdata", "adapt", "full.caddyfiletest"))
	from, to := strings.Index(input, directiveName), strings.LastIndex(input, "}")
	h, err := unmarshal(input[from:to])
	if err != nil {
		t.Fatal(err)
	}
	var fields int
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			fields++
			if v.IsZero() {
				t.Errorf("no subdirective of full.caddyfiletest sets %s", path)
			}
			return
		}
		for _, field := range reflect.VisibleFields(v.Type()) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.IsExported() || name == "-" || len(field.Index) > 1 && name == "" {
				continue
			}
			if name == "" {
				t.Errorf("%s.%s has no name in the JSON", path, field.Name)
			}
			walk(strings.TrimPrefix(path+"."+name, "."), v.FieldByIndex(field.Index))
		}
	}
	walk("", reflect.ValueOf(h).Elem())
	if fields < 25 {
		t.Errorf("found only %d fields", fields)
	}
}

// TestSyntaxIsDocumented compares the comment of UnmarshalCaddyfile with what
// is really read.
func TestSyntaxIsDocumented(t *testing.T) {
	source, err := os.ReadFile("caddyfile.go")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for line := range strings.Lines(string(source)) {
		if comment, ok := strings.CutPrefix(line, "//\t"); ok {
			documented[strings.Join(strings.Fields(comment), " ")] = true
		}
	}
	var check func(subs map[string]subdirective)
	check = func(subs map[string]subdirective) {
		for name, sub := range subs {
			usage := strings.TrimSuffix(sub.usage, " ... }") // a block goes on below
			if line := strings.TrimSpace(name + " " + usage); !documented[line] {
				t.Errorf("the comment of UnmarshalCaddyfile has no line %q", line)
			}
			check(sub.block)
		}
	}
	check(subdirectives)
}

func TestUnmarshalCaddyfileWithoutBlock(t *testing.T) {
	for _, input := range []string{"", directiveName, directiveName + " {", directiveName + " {\n}", directiveName + " {\n brokers"} {
		if _, err := unmarshal(input); err == nil {
			t.Errorf("%q was taken", input)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"a", "", 1},
		{"", "ab", 2},
		{"broker", "brokers", 1},
		{"brokers", "borkers", 2},
		{"kitten", "sitting", 3},
	} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("%q, %q: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// FuzzUnmarshalCaddyfile makes sure that no text panics, and that what is taken
// is also valid.
func FuzzUnmarshalCaddyfile(f *testing.F) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), "\n----------\n")
		if from := strings.Index(input, directiveName); from >= 0 {
			f.Add(input[from:])
		}
	}
	f.Fuzz(func(t *testing.T, input string) {
		h, err := unmarshal(input)
		if err != nil {
			return
		}
		// Two settings that are only wrong together are found after parsing.
		if err := h.Validate(); err != nil && !strings.Contains(err.Error(), "buffer_total") {
			t.Errorf("%q was taken, but is not valid: %v", input, err)
		}
	})
}
