package embedded

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/caddyserver/caddy/v2"
)

// childEnv names the address that this test binary serves when it runs itself.
const childEnv = "EMBEDDED_TEST_CHILD"

// TestServesUntilExit stops a process by SIGTERM, as an operator does, and sees
// that what another module publishes in its Cleanup still arrives.
func TestServesUntilExit(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows has no SIGTERM")
	}
	for range 3 { // Caddy cleans up modules in random order
		serveUntilExit(t)
	}
}

func serveUntilExit(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) // #nosec G204 -- this very binary
	cmd.Env = append(os.Environ(), childEnv+"="+freeAddress(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if lines.Text() == "ready" {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	want := "ready" + strings.Repeat(", published while exiting: <nil>", draining)
	if got := strings.Join(said, ", "); got != want {
		t.Errorf("the process said: %s", got)
	}
}

// child is the process that TestServesUntilExit stops.
func child() {
	addr := os.Getenv(childEnv)
	lingerIdle = time.Millisecond // as hasty as can be, were it to close at all
	apps := []string{embeddedJSON(addr, Topic{Name: "chat"})}
	for n := range draining {
		app := drainingApp{n}
		caddy.RegisterModule(app)
		apps = append(apps, fmt.Sprintf(`"%s":{}`, app.CaddyModule().ID))
	}
	caddy.TrapSignals()
	err := caddy.Load(config(apps...), true)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// draining is the number of drainingApps: so many that one of them is most
// likely cleaned up after the broker's app.
const draining = 7

// drainingApp publishes a record while the process exits.
type drainingApp struct{ n int }

func (a drainingApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  caddy.ModuleID(fmt.Sprint("embedded_test_draining", a.n)),
		New: func() caddy.Module { return new(drainingApp) },
	}
}
func (drainingApp) Start() error { return nil }
func (drainingApp) Stop() error  { return nil }
func (drainingApp) Cleanup() error {
	time.Sleep(20 * time.Millisecond)
	cl, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv(childEnv)))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err = cl.ProduceSync(ctx, &kgo.Record{Topic: "chat", Value: []byte("last")}).FirstErr()
	fmt.Println("published while exiting:", err)
	return nil
}
