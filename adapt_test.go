package kafkaws

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	// For the file that shows where the directive stands among others.
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/kafkaws/kafkaws/codec"
)

// TestAdapt adapts each of testdata/adapt: a Caddyfile, a line of ten dashes,
// and then the JSON that it gives, or lines that the error has in it.
func TestAdapt(t *testing.T) {
	for _, file := range adaptFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			input, want := readAdaptFile(t, file)
			result, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
			if !strings.HasPrefix(want, "{") {
				wantAdaptError(t, err, want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			// Caddy warns of what `caddy fmt` would change.
			for _, w := range warnings {
				t.Errorf("line %d: %s", w.Line, w.Message)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, result, "", "\t"); err != nil {
				t.Fatal(err)
			}
			if got := pretty.String(); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			loadHandlers(t, result)
		})
	}
}

func wantAdaptError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with:\n%s", want)
	}
	for line := range strings.Lines(want + "\nat Caddyfile:") {
		if !strings.Contains(err.Error(), strings.TrimSpace(line)) {
			t.Errorf("got error:\n%v\nwant one with:\n%s", err, line)
		}
	}
}

// loadHandlers does with the handlers of an adapted configuration what Caddy
// does first with them: what a Caddyfile gives has to be known to the JSON, and
// to pass its checks.
func loadHandlers(t *testing.T, config []byte) {
	t.Helper()
	var root any
	if err := json.Unmarshal(config, &root); err != nil {
		t.Fatal(err)
	}
	var found int
	var walk func(node any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, item := range node {
				walk(item)
			}
		case map[string]any:
			if node["handler"] != directiveName {
				for _, item := range node {
					walk(item)
				}
				return
			}
			delete(node, "handler") // as Caddy does
			raw, err := json.Marshal(node)
			if err != nil {
				t.Fatal(err)
			}
			var h Handler
			if err := caddy.StrictUnmarshalJSON(raw, &h); err != nil {
				t.Errorf("%s: %v", raw, err)
			}
			if err := h.Validate(); err != nil {
				t.Errorf("%s: %v", raw, err)
			}
			found++
		}
	}
	walk(root)
	if found == 0 {
		t.Error("the configuration has no handler")
	}
}

// TestAdaptIsComplete makes sure that each subdirective has a file of its name.
func TestAdaptIsComplete(t *testing.T) {
	have := make(map[string]bool)
	for _, file := range adaptFiles(t) {
		have[strings.TrimSuffix(filepath.Base(file), ".caddyfiletest")] = true
	}
	for _, name := range slices.Sorted(maps.Keys(subdirectives)) {
		if !have[name] {
			t.Errorf("testdata/adapt has no %s.caddyfiletest", name)
		}
		for _, inner := range slices.Sorted(maps.Keys(subdirectives[name].block)) {
			if !have[name+"_"+inner] {
				t.Errorf("testdata/adapt has no %s_%s.caddyfiletest", name, inner)
			}
		}
	}
}

func adaptFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	return files
}

var carriageReturns = regexp.MustCompile(`\r\n`)

// readAdaptFile cuts a test file into the Caddyfile and what is expected of it.
func readAdaptFile(t *testing.T, file string) (input, want string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// A checkout on Windows may have changed the ends of lines.
	data = carriageReturns.ReplaceAll(data, []byte("\n"))
	input, want, found := strings.Cut(string(data), "\n----------\n")
	want = strings.TrimSpace(want)
	if !found || want == "" {
		t.Fatalf("%s has no line of ten dashes with something after it", file)
	}
	return input + "\n", want
}

// probeCodec stands for the codec of a third party: it takes arguments and a
// block of its own.
type probeCodec struct {
	Args   []string `json:"args,omitempty"`
	Schema string   `json:"schema,omitempty"`
}

func init() { caddy.RegisterModule(probeCodec{}) }

func (probeCodec) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  codec.Namespace + ".probe",
		New: func() caddy.Module { return new(probeCodec) },
	}
}

func (p *probeCodec) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	p.Args = d.RemainingArgs()
	for d.NextBlock(0) {
		if d.Val() != "schema" {
			return d.Errf("unknown option %q", d.Val())
		}
		if !d.AllArgs(&p.Schema) {
			return d.ArgErr()
		}
	}
	return nil
}
