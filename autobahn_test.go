package kafkaws

import (
	"encoding/json"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/kafkaws/kafkaws/dialog"
	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

const (
	// autobahnEnv set to "all" runs every case of the suite.
	autobahnEnv = "KAFKAWS_AUTOBAHN"
	// allTotal is how many cases Autobahn has, quickTotal how many quickCases
	// stands for.
	allTotal, quickTotal = 517, 263
	// largestCase is the size of the largest messages of section 9.
	largestCase = 16 << 20
)

// quickCases are the sections of the suite that take little time, and some
// cases of those that send long messages (9) or thousands of compressed ones
// (12, 13).
var quickCases = []string{
	"1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*",
	"9.1.1", "9.2.1", "9.3.5", "9.4.5", "9.5.4", "9.6.4", "9.7.1", "9.8.1",
	"12.1.4", "12.2.1", "12.3.2", "12.5.5", "13.1.1", "13.3.2", "13.4.3", "13.7.1",
}

// TestAutobahn has the cases of Autobahn's suite run against the handler's own
// upgrade and the gateway's own reader and flusher. The suite wants its messages
// back as they were, which is the one thing that the test adds to them.
func TestAutobahn(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: not running Autobahn's suite")
	}
	python := os.Getenv("KAFKAWS_PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import kosoku").CombinedOutput(); err != nil {
		kafkatest.Lack(t, "kosoku, which runs Autobahn's suite, is not installed: %v\n%s", err, out)
	}
	addr := startEcho(t)
	report := t.TempDir()
	args := []string{filepath.Join("testdata", "autobahn", "run.py"), "-m", "fuzzingclient", "-p", "4", "-o", report}
	total := allTotal
	if os.Getenv(autobahnEnv) != "all" {
		total = quickTotal
		for _, include := range quickCases {
			args = append(args, "-i", include)
		}
	}
	begin := time.Now()
	// That cases failed is what the report says, and of which sort.
	out, err := exec.Command(python, append(args, "ws://"+addr+"/")...).CombinedOutput()
	verdicts, unread := readReport(report)
	if unread != nil {
		t.Fatalf("kosoku: %v, %v\n%s", err, unread, out)
	}
	failed := 0
	for _, name := range slices.Sorted(maps.Keys(verdicts)) {
		if v := verdicts[name]; !v.passed() {
			failed++
			t.Errorf("case %s: %s, closing: %s", name, v.Behavior, v.BehaviorClose)
		}
	}
	if len(verdicts) != total {
		t.Errorf("the suite ran %d cases, not %d", len(verdicts), total)
	}
	t.Logf("%d of %d cases passed in %.0f s", len(verdicts)-failed, len(verdicts), time.Since(begin).Seconds())
}

// verdict is what Autobahn says of one case.
type verdict struct {
	Behavior      string `json:"behavior"`
	BehaviorClose string `json:"behaviorClose"`
}

// passed does not let a case pass that tests what was not negotiated: then it
// says UNIMPLEMENTED. INFORMATIONAL cases have no right answer.
func (v verdict) passed() bool {
	good := []string{"OK", "INFORMATIONAL"}
	return slices.Contains(good, v.Behavior) && slices.Contains(good, v.BehaviorClose)
}

// readReport reads the verdicts of a run, by case.
func readReport(dir string) (map[string]verdict, error) {
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, err
	}
	// A case that broke off is filed under another name of the server.
	var servers map[string]map[string]verdict
	if err := json.Unmarshal(index, &servers); err != nil {
		return nil, err
	}
	all := make(map[string]verdict)
	for _, verdicts := range servers {
		maps.Copy(all, verdicts)
	}
	return all, nil
}

func init() { caddy.RegisterModule(echo{}) }

// echo is the handler, but that its sessions send clients their own messages.
type echo struct{ Handler }

// CaddyModule returns the Caddy module information.
func (echo) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: moduleID + "_echo", New: func() caddy.Module { return new(echo) }}
}

// Provision provisions the handler, and has all its sessions echo.
func (e *echo) Provision(ctx caddy.Context) error {
	if err := e.Handler.Provision(ctx); err != nil {
		return err
	}
	for i := range e.encodings {
		e.encodings[i].talk = func(dialog.Config) gateway.Talk { return echoes{} }
	}
	return nil
}

// echoes sends a client's messages back.
type echoes struct{}

func (echoes) Receive(s *gateway.Session, binary bool, message []byte) {
	s.Send(gateway.Message{Binary: binary, Compress: true, Data: message})
}

func (echoes) Tell(dst []byte, _ gateway.Event) []byte { return dst }

// startEcho runs a Caddy in this process, with compression on, until the test
// ends. Kafka has no part in it.
func startEcho(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	object := func(fields map[string]any) json.RawMessage {
		p, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	config := &caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}},
		StorageRaw: object(map[string]any{"module": "file_system", "root": t.TempDir()}),
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}},
		}},
		AppsRaw: caddy.ModuleMap{"http": object(map[string]any{
			"servers": map[string]any{"conformance": map[string]any{
				"listen":          []string{addr},
				"automatic_https": map[string]any{"disable": true},
				"routes": []any{map[string]any{"handle": []any{map[string]any{
					"handler":     "kafka_websocket_echo",
					"cluster":     map[string]any{"brokers": []string{"127.0.0.1:1"}},
					"compression": map[string]any{},
					"limits":      map[string]any{"max_message_size": largestCase},
				}}}},
			}},
		})},
	}
	if err := caddy.Run(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return addr
}
