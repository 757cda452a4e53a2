package exampletest

import (
	"bytes"
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
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// Site is a running Caddy.
type Site struct {
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

// StartCaddy builds Caddy and runs it with the Caddyfile until the test ends.
// replace is what takes the place of what in the Caddyfile.
func StartCaddy(t *testing.T, module string, replace ...string) *Site {
	t.Helper()
	binary, dir := build(t, module), t.TempDir()
	s := &Site{t: t, addr: freeAddr(t)}
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

// Client is a WebSocket client.
type Client struct {
	*websocket.Conn
	t *testing.T
}

// Dial connects a client, as a user if one is named. Its password is in the
// Caddyfile.
func (s *Site) Dial(user, query, subprotocol string) *Client {
	s.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: patience}
	request := &http.Request{Header: http.Header{}}
	if user != "" {
		request.SetBasicAuth(user, user+"-secret")
	}
	conn, resp, err := d.Dial("ws://"+s.addr+"/kafka?"+query, request.Header)
	if err != nil {
		s.t.Fatalf("dialling %s: %v", query, err)
	}
	_ = resp.Body.Close() // a 101 has none
	s.t.Cleanup(func() { _ = conn.Close() })
	if conn.Subprotocol() != subprotocol {
		s.t.Fatalf("got the subprotocol %q, want %q", conn.Subprotocol(), subprotocol)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	return &Client{conn, s.t}
}

// Send sends a message, of websocket.TextMessage or websocket.BinaryMessage.
func (c *Client) Send(kind int, message []byte) {
	c.t.Helper()
	if err := c.WriteMessage(kind, message); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// Read returns the next message, which must be of the kind.
func (c *Client) Read(kind int) []byte {
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
