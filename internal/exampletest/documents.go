package exampletest

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what Caddyfiles may name

	_ "github.com/kafkaws/kafkaws" // and this
)

// blocks returns the Caddyfiles of a document that are marked as this module's.
func blocks(t *testing.T, module, file string) []string {
	t.Helper()
	mark := regexp.MustCompile("(?ms)^```caddyfile " + filepath.Base(module) + "\n(.*?)^```$")
	found := mark.FindAllStringSubmatch(readFile(t, file), -1)
	all := make([]string, 0, len(found))
	for _, b := range found {
		all = append(all, b[1])
	}
	if len(all) == 0 {
		t.Errorf("%s has no Caddyfile for this module", file)
	}
	return all
}

// Validate is what `caddy validate` does.
func Validate(caddyfile string) error {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		return err
	}
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		return err
	}
	cfg.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
	return caddy.Validate(&cfg)
}

// Handler is a Caddyfile with a line in the handler's block.
func Handler(line string) string {
	return "http://localhost:8080 {\n\tkafka_websocket {\n\t\tbrokers localhost:9092\n" + line + "\n\t}\n}\n"
}

// ValidateDocuments checks the example's Caddyfile, and those of its documents
// that are marked as its own.
func ValidateDocuments(t *testing.T, module string) {
	t.Helper()
	configs := slices.Concat([]string{readFile(t, "Caddyfile")},
		blocks(t, module, "README.md"), blocks(t, module, "../../docs/extending.md"))
	for _, config := range configs {
		if err := Validate(config); err != nil {
			t.Errorf("%v, in\n%s", err, config)
		}
	}
}
