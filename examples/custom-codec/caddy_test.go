package customcodec_test

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/kafkaws/kafkaws"
	_ "github.com/kafkaws/kafkaws/examples/custom-codec"
)

const (
	module  = "github.com/kafkaws/kafkaws/examples/custom-codec"
	kafkaws = "github.com/kafkaws/kafkaws"
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// buildCaddy builds a Caddy with this module as xcaddy does: from a main package
// that imports Caddy and the modules, in a module of its own that replaces them
// with the directories they are in. The versions are those of this module's
// go.mod, so that nothing is looked up and nothing is compiled twice.
func buildCaddy(t *testing.T) string {
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

// site is a running Caddy.
type site struct {
	t    *testing.T
	addr string
	log  log
}

// log keeps what a process writes.
type log struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// startCaddy builds Caddy and runs it with the Caddyfile until the test ends.
// replace is what takes the place of what in the Caddyfile.
func startCaddy(t *testing.T, replace ...string) *site {
	t.Helper()
	binary, dir := buildCaddy(t), t.TempDir()
	s := &site{t: t, addr: freeAddr(t)}
	config := readFile(t, "Caddyfile")
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(config, replace[i]) {
			t.Fatalf("the Caddyfile has no %q", replace[i])
		}
	}
	config = strings.NewReplacer(append(replace, "localhost:8080", s.addr)...).Replace(config)
	writeFile(t, filepath.Join(dir, "Caddyfile"), "{\n\tadmin off\n}\n"+config)
	cmd := exec.Command(binary, "run", "--config", filepath.Join(dir, "Caddyfile"))
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(patience):
			t.Error("caddy did not stop")
			_ = cmd.Process.Kill()
			<-exited
		}
		if all := s.log.String(); strings.Contains(all, "DATA RACE") || strings.Contains(all, "panic") {
			t.Error("caddy raced or panicked")
		}
		if t.Failed() {
			t.Logf("caddy's log:\n%s", s.log.String())
		}
	})
	await(t, "caddy's start", func() bool {
		select {
		case <-exited:
			t.Fatal("caddy ended at once")
		default:
		}
		return strings.Contains(s.log.String(), "serving initial configuration")
	})
	return s
}

// client is a WebSocket client.
type client struct {
	*websocket.Conn
	t *testing.T
}

// dial connects a client, as a user if one is named. Its password is in the
// Caddyfile.
func (s *site) dial(user, query, subprotocol string) *client {
	s.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: patience}
	request := &http.Request{Header: http.Header{}}
	if user != "" {
		request.SetBasicAuth(user, user+"-secret")
	}
	conn, _, err := d.Dial("ws://"+s.addr+"/kafka?"+query, request.Header)
	if err != nil {
		s.t.Fatalf("dialling %s: %v", query, err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if conn.Subprotocol() != subprotocol {
		s.t.Fatalf("got the subprotocol %q, want %q", conn.Subprotocol(), subprotocol)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	return &client{conn, s.t}
}

// send sends a message, of websocket.TextMessage or websocket.BinaryMessage.
func (c *client) send(kind int, message []byte) {
	c.t.Helper()
	if err := c.WriteMessage(kind, message); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// read returns the next message, which must be of the kind.
func (c *client) read(kind int) []byte {
	c.t.Helper()
	got, message, err := c.ReadMessage()
	if err != nil {
		c.t.Fatalf("reading: %v", err)
	}
	if got != kind {
		c.t.Fatalf("got a message of type %d: %q", got, message)
	}
	return message
}

// blocks returns the Caddyfiles of a document that are marked as this module's.
func blocks(t *testing.T, file string) []string {
	t.Helper()
	var all []string
	mark := regexp.MustCompile("(?ms)^```caddyfile " + filepath.Base(module) + "\n(.*?)^```$")
	for _, b := range mark.FindAllStringSubmatch(readFile(t, file), -1) {
		all = append(all, b[1])
	}
	if len(all) == 0 {
		t.Errorf("%s has no Caddyfile for this module", file)
	}
	return all
}

// validate is what `caddy validate` does.
func validate(caddyfile string) error {
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

// handler is a Caddyfile with a line in the handler's block.
func handler(line string) string {
	return "http://localhost:8080 {\n\tkafka_websocket {\n\t\tbrokers localhost:9092\n" + line + "\n\t}\n}\n"
}

// await polls for a state that brings no event of its own.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: did not happen", what)
		}
	}
}

// freeAddr returns an address of the loopback interface that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
