package kafkaws_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	code := kafkatest.M(m).Run()
	for _, b := range []*build{&tested, &plain} {
		if b.dir != "" {
			_ = os.RemoveAll(b.dir)
		}
	}
	os.Exit(code)
}

// build is a Caddy that is built once for all tests.
type build struct {
	race      bool
	once      sync.Once
	dir, path string
	err       error
}

var (
	// tested is what all tests run, with the race detector where they have it.
	tested = build{race: raceEnabled}
	// plain is without it, to measure what it would distort.
	plain build
)

func (b *build) binary(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: not building Caddy")
	}
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "kafkaws"); b.err != nil {
			return
		}
		b.path = filepath.Join(b.dir, "caddy")
		args := []string{"build", "-o", b.path}
		if b.race {
			args = append(args, "-race")
		}
		out, err := exec.Command("go", append(args, "./cmd/caddy")...).CombinedOutput()
		if err != nil {
			b.err = fmt.Errorf("building caddy: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

// caddyProcess is a running Caddy.
type caddyProcess struct {
	t      testing.TB
	build  *build
	cmd    *exec.Cmd
	dir    string
	admin  string
	exited chan struct{}
	output *output
}

// output keeps what a process writes.
type output struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(p)
}

// raceOptions keeps the race detector from waiting for a second before each
// process ends.
const raceOptions = "GORACE=halt_on_error=0 exitcode=66 atexit_sleep_ms=0"

// startCaddy runs Caddy with a Caddyfile, and more variables in its environment,
// until the test ends. In the Caddyfile, ADMIN stands for the admin endpoint's
// address.
func startCaddy(t testing.TB, caddyfile string, env ...string) *caddyProcess {
	t.Helper()
	return tested.start(t, caddyfile, env...)
}

func (b *build) start(t testing.TB, caddyfile string, env ...string) *caddyProcess {
	t.Helper()
	c := &caddyProcess{t: t, build: b, dir: t.TempDir(), admin: freeAddr(t), exited: make(chan struct{}), output: new(output)}
	c.cmd = exec.Command(b.binary(t), "run", "--config", c.write(caddyfile), "--adapter", "caddyfile")
	c.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+c.dir, "XDG_CONFIG_HOME="+c.dir, raceOptions)
	c.cmd.Env = append(c.cmd.Env, env...)
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.exited)
		_ = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		if c.running() {
			_ = c.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-c.exited:
			case <-time.After(patience):
				t.Error("caddy did not stop")
				_ = c.cmd.Process.Kill()
				<-c.exited
			}
		}
		log := c.Log()
		if strings.Contains(log, "WARNING: DATA RACE") || strings.Contains(log, "panic") {
			t.Error("caddy raced or panicked")
		}
		if t.Failed() {
			t.Logf("caddy's log:\n%s", tailOf(log, 20_000))
		}
	})
	await(t, "caddy's admin endpoint", func() bool {
		select {
		case <-c.exited:
			t.Fatalf("caddy ended at once:\n%s", c.Log())
		default:
		}
		// Only this process's own configuration tells that it is up.
		return strings.Contains(c.Log(), "serving initial configuration")
	})
	return c
}

// with returns the process for the use of a subtest.
func (c *caddyProcess) with(t testing.TB) *caddyProcess {
	used := *c
	used.t = t
	return &used
}

// Log returns what Caddy has logged.
func (c *caddyProcess) Log() string {
	c.output.mu.Lock()
	defer c.output.mu.Unlock()
	return c.output.all.String()
}

func (c *caddyProcess) running() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// write puts a configuration into a file.
func (c *caddyProcess) write(caddyfile string) string {
	path := filepath.Join(c.dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(caddyfile, "ADMIN", c.admin)), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// reload loads another configuration, as `caddy reload --force` does.
func (c *caddyProcess) reload(caddyfile string) error {
	cmd := exec.Command(c.build.binary(c.t), "reload", "--force", "--config", c.write(caddyfile), "--adapter", "caddyfile", "--address", c.admin)
	cmd.Env = append(os.Environ(), raceOptions)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// terminate sends SIGTERM.
func (c *caddyProcess) terminate() {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
}

// goroutines returns how many goroutines Caddy has.
func (c *caddyProcess) goroutines() int {
	var n int
	page := c.get("/debug/pprof/goroutine?debug=1")
	if _, err := fmt.Sscanf(page, "goroutine profile: total %d", &n); err != nil {
		c.t.Fatalf("reading the goroutine profile: %v", err)
	}
	return n
}

// files returns how many files and sockets Caddy has open.
func (c *caddyProcess) files() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid))
	if err != nil {
		c.t.Skipf("no /proc: %v", err)
	}
	return len(entries)
}

// get reads a page of the admin endpoint.
func (c *caddyProcess) get(path string) string {
	c.t.Helper()
	resp, err := http.Get("http://" + c.admin + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(body)
}

// metric returns the value of a metric, named with its labels.
func (c *caddyProcess) metric(name string) string {
	for line := range strings.Lines(c.get("/metrics")) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// site is where a Caddy serves a kafka_websocket.
type site struct {
	*caddyProcess
	addr, path string
	// tls is set where the site is https.
	tls *tls.Config
	// deflate tells that clients offer compression.
	deflate bool
}

// global is the beginning of every test's Caddyfile.
const global = "{\n\tadmin ADMIN\n\tauto_https off\n}\n"

// siteConfig is the Caddyfile of a site; the log directive is left out, because
// it hides what the upgrade must do without.
func siteConfig(addr, brokers, directives string) string {
	return global + fmt.Sprintf("http://%s {\n%s}\n", addr, handleBlock(brokerPath, brokers, directives))
}

// handleBlock is the part of a Caddyfile that serves a kafka_websocket at a path.
func handleBlock(path, brokers, directives string) string {
	return fmt.Sprintf("handle %s* {\n\tkafka_websocket {\n\t\tbrokers %s\n%s\n\t}\n}\n", path, brokers, directives)
}

// brokerPath is where sites serve unless they have several handlers.
const brokerPath = "/v2/broker/"

// open lets clients subscribe and publish to everything.
const open = "subscribe *\npublish *\n"

func startSite(t testing.TB, brokers, directives string) *site {
	t.Helper()
	addr := freeAddr(t)
	return &site{caddyProcess: startCaddy(t, siteConfig(addr, brokers, directives)), addr: addr, path: brokerPath}
}

// with returns the site for the use of a subtest.
func (s *site) with(t testing.TB) *site {
	used := *s
	used.caddyProcess = s.caddyProcess.with(t)
	return &used
}

// at returns the site with another path.
func (s *site) at(path string) *site {
	other := *s
	other.path = path
	return &other
}

// url returns the socket's address with a query.
func (s *site) url(query string) string {
	scheme := "ws"
	if s.tls != nil {
		scheme = "wss"
	}
	return scheme + "://" + s.addr + s.path + "?" + query
}

// dial connects a client.
func (s *site) dial(query string, subprotocols ...string) *client {
	s.t.Helper()
	c, _, err := s.tryDial(query, nil, subprotocols...)
	if err != nil {
		s.t.Fatalf("dialling %s: %v", query, err)
	}
	return c
}

// tryDial connects a client, or returns the response that refused it.
func (s *site) tryDial(query string, header http.Header, subprotocols ...string) (*client, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: subprotocols, HandshakeTimeout: patience, TLSClientConfig: s.tls, EnableCompression: s.deflate}
	ws, resp, err := d.Dial(s.url(query), header)
	if err != nil {
		return nil, resp, err
	}
	c := &client{t: s.t, Conn: ws}
	c.extend()
	s.t.Cleanup(func() { _ = ws.Close() })
	return c, resp, nil
}

// refused returns the status and body with which a request is refused.
func (s *site) refused(query string, header http.Header) (int, http.Header) {
	s.t.Helper()
	c, resp, err := s.tryDial(query, header)
	if err == nil {
		_ = c.Close()
		s.t.Fatalf("%s was not refused", query)
	}
	if resp == nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return resp.StatusCode, resp.Header
}

// client is a WebSocket client of a test.
type client struct {
	*websocket.Conn
	t testing.TB
}

// extend gives the client's reads another while.
func (c *client) extend() { _ = c.SetReadDeadline(time.Now().Add(patience)) }

// send sends a text message.
func (c *client) send(message string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// read returns the next message and its type.
func (c *client) read() (int, string) {
	c.t.Helper()
	kind, p, err := c.ReadMessage()
	if err != nil {
		c.t.Fatalf("reading: %v", err)
	}
	return kind, string(p)
}

// text returns the next message, which must be text.
func (c *client) text() string {
	c.t.Helper()
	kind, message := c.read()
	if kind != websocket.TextMessage {
		c.t.Fatalf("got a message of type %d: %q", kind, message)
	}
	return message
}

// expect reads text messages and compares them.
func (c *client) expect(messages ...string) {
	c.t.Helper()
	for _, want := range messages {
		if got := c.text(); got != want {
			c.t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

// closed reads until the connection ends and returns the close code and reason.
func (c *client) closed() (int, string) {
	c.t.Helper()
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			var ce *websocket.CloseError
			if !errors.As(err, &ce) {
				c.t.Fatalf("the connection ended without a Close frame: %v", err)
			}
			return ce.Code, ce.Text
		}
	}
}

// expectClose reads until the connection ends with a code.
func (c *client) expectClose(code int) string {
	c.t.Helper()
	got, reason := c.closed()
	if got != code {
		c.t.Fatalf("closed with %d %q, want %d", got, reason, code)
	}
	return reason
}

// await polls for a state that brings no event of its own.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: did not happen", what)
		case <-tick.C:
		}
	}
}

// freeAddr returns an address of the loopback interface that nobody listens on,
// another one each time.
func freeAddr(t testing.TB) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		_ = l.Close()
		if _, given := givenAddrs.LoadOrStore(addr, true); !given {
			return addr
		}
	}
}

// givenAddrs are the addresses that freeAddr has returned.
var givenAddrs sync.Map

func tailOf(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

func mustJSON(v any) string {
	p, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(p)
}
