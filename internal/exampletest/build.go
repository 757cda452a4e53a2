// Package exampletest runs the examples that are Go modules of their own as their
// users would: built into Caddy, with the Caddyfile that stands beside them.
package exampletest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// kafkaws is the path of this module.
const kafkaws = "github.com/kafkaws/kafkaws"

// build builds a Caddy with this module as xcaddy does: from a main package
// that imports Caddy and the modules, in a module of its own that replaces them
// with the directories they are in. The versions are those of this module's
// go.mod, so that nothing is looked up and nothing is compiled twice.
func build(t *testing.T, module string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: not building Caddy")
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	root, dir := filepath.Dir(filepath.Dir(here)), t.TempDir()
	mod := strings.NewReplacer(
		"module "+module, "module caddy",
		kafkaws+" => ../..", kafkaws+" => "+strconv.Quote(root),
	).Replace(readFile(t, "go.mod"))
	writeFile(t, filepath.Join(dir, "go.sum"), readFile(t, "go.sum"))
	writeFile(t, filepath.Join(dir, "go.mod"), mod+`
require `+module+` v0.0.0-00010101000000-000000000000

replace `+module+` => `+strconv.Quote(here)+`
`)
	writeFile(t, filepath.Join(dir, "main.go"), `package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "`+kafkaws+`"
	_ "`+module+`"
)

func main() {
	caddycmd.Main()
}
`)
	cmd := exec.Command("go", "build", "-race="+strconv.FormatBool(raceEnabled()), "-o", "caddy.exe", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building caddy: %v\n%s", err, out)
	}
	return filepath.Join(dir, "caddy.exe")
}

// raceEnabled reports whether the test was built with the race detector; then
// Caddy's packages are there, built with it.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if setting.Key == "-race" {
			return setting.Value == "true"
		}
	}
	return false
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(p), "\r\n", "\n")
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
