package kafkaws_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/kafkaws/kafkaws"
	_ "github.com/kafkaws/kafkaws/embedded"
)

// documents are the pages that users read.
func documents(t *testing.T) []string {
	t.Helper()
	files := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "examples/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

// readText reads a file with its lines ended as here, whatever a checkout did.
func readText(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

// block is a fenced block of a document.
type block struct {
	line       int
	info, text string
}

// blocks finds a document's fenced blocks. What a list indents them by is not
// part of them.
func blocks(t *testing.T, file string) []block {
	t.Helper()
	var all []block
	var open *block
	indent := ""
	number := 0
	for line := range strings.Lines(readText(t, file)) {
		number++
		trimmed := strings.TrimLeft(line, " ")
		switch info, fence := strings.CutPrefix(trimmed, "```"); {
		case fence && open == nil:
			indent = line[:len(line)-len(trimmed)]
			open = &block{line: number, info: strings.TrimSpace(info)}
		case fence:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent)
		}
	}
	if open != nil {
		t.Errorf("%s:%d: block is not closed", file, open.line)
	}
	return all
}

// TestDocumentedCaddyfiles has Caddy read every Caddyfile of the documents. One
// that is marked as a fragment goes into the block of the directive; one that is
// marked with the name of an example needs that module, and is read by its tests.
func TestDocumentedCaddyfiles(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "kafka1:9092,kafka2:9092")
	found := 0
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			text := b.text
			switch b.info {
			case "caddyfile":
			case "caddyfile fragment":
				if !strings.Contains(text, "brokers ") {
					text = "brokers localhost:9092\n" + text
				}
				text = "\t\t" + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n\t\t")
				text = "http://localhost:8080 {\n\tkafka_websocket {\n" + text + "\n\t}\n}\n"
			default:
				continue
			}
			found++
			t.Run(fmt.Sprintf("%s:%d", file, b.line), func(t *testing.T) { checkCaddyfile(t, text) })
		}
	}
	if found == 0 {
		t.Error("the documents have no Caddyfile")
	}
}

func checkCaddyfile(t *testing.T, text string) {
	t.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Errorf("line %d: %s", w.Line, w.Message)
	}
	if strings.Contains(text, "cert.pem") {
		return // files that only a reader has
	}
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		t.Fatal(err)
	}
	// Log files of a reader are not ours to open, and what Caddy says while it
	// checks is of no interest.
	if cfg.Logging == nil {
		cfg.Logging = new(caddy.Logging)
	}
	if cfg.Logging.Logs["default"] == nil {
		if cfg.Logging.Logs == nil {
			cfg.Logging.Logs = make(map[string]*caddy.CustomLog)
		}
		cfg.Logging.Logs["default"] = new(caddy.CustomLog)
	}
	for _, log := range cfg.Logging.Logs {
		log.WriterRaw = json.RawMessage(`{"output":"discard"}`)
	}
	if err := caddy.Validate(&cfg); err != nil {
		t.Error(err)
	}
}

// TestSyntaxInReadme compares the README's syntax with the one that
// UnmarshalCaddyfile documents.
func TestSyntaxInReadme(t *testing.T) {
	_, comment, found := strings.Cut(readText(t, "caddyfile.go"), "Caddyfile tokens. Syntax:\n//\n")
	if !found {
		t.Fatal("caddyfile.go has no syntax")
	}
	var want strings.Builder
	for line := range strings.Lines(comment) {
		line = strings.TrimPrefix(line, "//")
		if line != "\n" && !strings.HasPrefix(line, "\t") {
			break
		}
		want.WriteString(strings.TrimPrefix(line, "\t"))
	}
	for _, b := range blocks(t, "README.md") {
		if strings.HasPrefix(b.text, "kafka_websocket [") {
			if got := strings.TrimSpace(b.text); got != strings.TrimSpace(want.String()) {
				t.Errorf("README.md:%d: got\n%s\nwant\n%s", b.line, got, want.String())
			}
			return
		}
	}
	t.Error("README.md has no syntax")
}

// TestConfigurationIsDocumented looks for every field of the JSON.
func TestConfigurationIsDocumented(t *testing.T) {
	text := readText(t, "docs/configuration.md")
	var check func(of reflect.Type, path string)
	check = func(of reflect.Type, path string) {
		for field := range fieldsOf(of) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" {
				continue
			}
			inner := field.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && inner.NumField() > 1 {
				check(inner, path+name+".")
				continue
			}
			if !strings.Contains(text, "`"+path+name+"`") {
				t.Errorf("docs/configuration.md does not mention `%s%s`", path, name)
			}
		}
	}
	check(reflect.TypeFor[kafkaws.Handler](), "")
}

// fieldsOf lists the exported fields of a struct.
func fieldsOf(of reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range of.NumField() {
			if f := of.Field(i); f.IsExported() && !yield(f) {
				return
			}
		}
	}
}

// tableRows returns the cells of a document's table rows, without the marks of
// code.
func tableRows(t *testing.T, file string) [][]string {
	t.Helper()
	var rows [][]string
	for line := range strings.Lines(readText(t, file)) {
		inner, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
		if !ok {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.TrimSuffix(inner, "|"), "|") {
			cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`"))
		}
		rows = append(rows, cells)
	}
	return rows
}

// firstCells returns the first cell of each row.
func firstCells(t *testing.T, file string) map[string]bool {
	t.Helper()
	first := make(map[string]bool)
	for _, cells := range tableRows(t, file) {
		first[cells[0]] = true
	}
	return first
}

func TestCloseCodesAreDocumented(t *testing.T) {
	documented := firstCells(t, "docs/protocol.md")
	codes := regexp.MustCompile(`(?m)^\t([Cc]lose\w+)\s*=\s*(\d{4})\b`).FindAllStringSubmatch(readText(t, "gateway/codes.go"), -1)
	if len(codes) == 0 {
		t.Fatal("gateway/codes.go has no codes")
	}
	for _, code := range codes {
		if !documented[code[2]] {
			t.Errorf("docs/protocol.md has no row for %s, %s", code[2], code[1])
		}
	}
}

func TestStatusesAreDocumented(t *testing.T) {
	byName := make(map[string]int)
	for status := 100; status < 600; status++ {
		if text := http.StatusText(status); text != "" {
			byName[strings.NewReplacer(" ", "", "-", "", "'", "").Replace(text)] = status
		}
	}
	documented := firstCells(t, "docs/protocol.md")
	for _, name := range regexp.MustCompile(`http\.Status([A-Z]\w+)`).FindAllStringSubmatch(readText(t, "upgrade.go"), -1) {
		status, ok := byName[name[1]]
		if !ok {
			t.Errorf("http.%s is not known to this test", name[0])
			continue
		}
		if !documented[strconv.Itoa(status)] {
			t.Errorf("docs/protocol.md has no row for the status %d", status)
		}
	}
}

func TestMetricsAreDocumented(t *testing.T) {
	names := regexp.MustCompile(`Name: "(\w+)"`).FindAllStringSubmatch(readText(t, "metrics.go"), -1)
	if len(names) == 0 {
		t.Fatal("metrics.go has no metrics")
	}
	for _, file := range []string{"README.md", "docs/operations.md"} {
		documented := firstCells(t, file)
		for _, name := range names {
			full := "caddy_kafka_websocket_" + name[1]
			labelled := func(cell string) bool { return strings.HasPrefix(cell, full+"{") }
			if !documented[full] && !slices.ContainsFunc(slices.Collect(maps.Keys(documented)), labelled) {
				t.Errorf("%s has no row for %s", file, full)
			}
		}
	}
}

// TestLogLinesAreDocumented looks for the documented log lines in the code, and
// for those of the code, from the level info up, in the documentation. The
// embedded broker's are only in part documented.
func TestLogLinesAreDocumented(t *testing.T) {
	source := sources(t)
	levels := []string{"info", "warn", "error"}
	var documented []string
	for _, cells := range tableRows(t, "docs/operations.md") {
		if !slices.Contains(levels, cells[0]) {
			continue
		}
		documented = append(documented, cells[1])
		if !strings.Contains(source, `"`+cells[1]) {
			t.Errorf("docs/operations.md has a log line that the code has not: %q", cells[1])
		}
	}
	logged := regexp.MustCompile(`(?:Warn|Info|Error|InfoLevel)\((?:zap\.InfoLevel, )?"([^"]+)"`)
	for _, line := range logged.FindAllStringSubmatch(source, -1) {
		if !slices.ContainsFunc(documented, func(d string) bool { return strings.HasPrefix(line[1], d) }) {
			t.Errorf("docs/operations.md has no row for the log line %q", line[1])
		}
	}
}

// sources returns the code of the packages whose log lines are documented.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{".", "gateway", "kafka", "codec", "embedded"} {
		err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && path != ".":
				return fs.SkipDir
			case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && path != "broker.go" && path != "listener.go":
				all.WriteString(readText(t, filepath.Join(dir, path)))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// TestExcerptsInDocuments compares code in the documents with the file that it says
// it is from.
func TestExcerptsInDocuments(t *testing.T) {
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			source, excerpt := strings.CutPrefix(b.info, "go ")
			if excerpt && !strings.Contains(readText(t, source), b.text) {
				t.Errorf("%s:%d: %s has no such lines", file, b.line, source)
			}
		}
	}
}

// TestLinksInDocuments follows the links from document to document.
func TestLinksInDocuments(t *testing.T) {
	links := regexp.MustCompile(`(?:\]\(|src=")([^)"\s]+)`)
	for _, file := range documents(t) {
		for _, link := range links.FindAllStringSubmatch(readText(t, file), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(link[1], "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link to %s: %v", file, link[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(t, target), anchor) {
				t.Errorf("%s: link to %s: no such heading", file, link[1])
			}
		}
	}
}

// anchors lists what the headings of a document are linked by.
func anchors(t *testing.T, file string) []string {
	t.Helper()
	var all []string
	unwanted := regexp.MustCompile(`[^\w\- ]`)
	for line := range strings.Lines(readText(t, file)) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			heading = unwanted.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all = append(all, strings.ReplaceAll(heading, " ", "-"))
		}
	}
	return all
}
