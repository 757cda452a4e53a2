package kafkaws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
	"github.com/kafkaws/kafkaws/transforms"
)

func init() { caddy.RegisterModule(probe{}) }

// probe is a transform of a third party: it counts its calls by its name, and
// takes the topic of a record from its key.
type probe struct {
	Name string `json:"name,omitempty"`
}

// probed counts the calls, an *atomic.Int64 for each name.
var probed sync.Map

// CaddyModule returns the Caddy module information.
func (probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: transforms.Namespace + ".test_probe", New: func() caddy.Module { return new(probe) }}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler.
func (p *probe) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&p.Name) {
		return d.ArgErr()
	}
	return nil
}

func (p *probe) calls() *atomic.Int64 {
	calls, _ := probed.LoadOrStore(p.Name, new(atomic.Int64))
	return calls.(*atomic.Int64)
}

// Transform implements transforms.Transform.
func (p *probe) Transform(_ context.Context, r *record.Record) (bool, error) {
	p.calls().Add(1)
	if len(r.Key) > 0 {
		r.Topic = string(r.Key)
	}
	r.Value = append([]byte(p.Name+" "), r.Value...)
	return true, nil
}

// startHere runs a Caddy with several handlers in this process, so that they can
// use what the tests register.
func startHere(t *testing.T, handles string) *site {
	t.Helper()
	addr := freeAddr(t)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(handlersConfig(addr, handles)), nil)
	if err != nil {
		t.Fatal(err)
	}
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	config.Admin = &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}}
	config.StorageRaw = json.RawMessage(mustJSON(map[string]any{"module": "file_system", "root": t.TempDir()}))
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}}
	if err := caddy.Run(&config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &site{caddyProcess: &caddyProcess{t: t}, addr: addr}
}

// TestOutTransformsRunOnce has a thousand sessions of two handlers follow a topic
// through equal chains, and a few through another.
func TestOutTransformsRunOnce(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	handle := func(name, probe string) string {
		return handleBlock("/"+name+"/", broker.Addr(), open+"name "+name+"\ntransform out discard `record.value == null`\ntransform out test_probe "+probe)
	}
	shared, apart := topic+"-shared", topic+"-apart"
	s := startHere(t, handle("one", shared)+handle("two", shared)+handle("other", apart))
	const sessions, records = 1000, 50
	var wg sync.WaitGroup
	follow := func(path, probe string, subprotocol string) {
		c := s.at(path).dial("topics="+topic, subprotocol)
		wg.Go(func() {
			for i := range records {
				want := fmt.Sprintf(`{"topic":"%s","message":"%s %d"}`, topic, probe, i)
				if subprotocol == "kafka-binary" {
					want = fmt.Sprintf("%c%s%s %d", len(topic), topic, probe, i)
				}
				if _, p, err := c.ReadMessage(); err != nil || string(p) != want {
					t.Errorf("%s: got %q, %v, want %q", path, p, err, want)
					return
				}
			}
		})
	}
	for i := range sessions {
		follow([]string{"/one/", "/two/"}[i%2], shared, []string{"kafka-text", "kafka-text", "kafka-binary"}[i%3])
	}
	for range 10 {
		follow("/other/", apart, "kafka-text")
	}
	for i := range records {
		broker.Produce(t, topic, &kgo.Record{Value: []byte(strconv.Itoa(i))})
	}
	wg.Wait()
	for _, name := range []string{shared, apart} {
		if got := (&probe{Name: name}).calls().Load(); got != records {
			t.Errorf("%s was called %d times for %d records", name, got, records)
		}
	}
}

// TestPolicyJudgesWhatComesOut has a transform change the topics of what clients
// publish.
func TestPolicyJudgesWhatComesOut(t *testing.T) {
	broker := kafkatest.Shared(t)
	allowed, other := kafkatest.Topic(t)+"-allowed", kafkatest.Topic(t)+"-other"
	for _, topic := range []string{allowed, other} {
		broker.CreateTopic(t, topic, 1, nil)
	}
	s := startHere(t, handleBlock("/", broker.Addr(), fmt.Sprintf("subscribe *\npublish %s\ntransform in test_probe p\n", allowed)))
	message := func(topic, key, value string) string {
		return fmt.Sprintf(`{"topic":"%s","key":"%s","message":"%s"}`, topic, key, value)
	}
	c := s.at("/").dial("topics=" + allowed)
	c.send(message(other, allowed, "may be written"))
	c.expect(message(allowed, allowed, "p may be written"))
	c.send(message(allowed, other, "may not"))
	c.expectClose(websocket.ClosePolicyViolation)
	c = s.at("/").dial("")
	c.send(message(allowed, "no topic", "has no such name"))
	c.expectClose(websocket.ClosePolicyViolation)
	if records := broker.ReadAll(t, other); len(records) > 0 {
		t.Errorf("%d records were written that may not be", len(records))
	}
}

// TestReloadKeepsTransforms reloads a configuration with transforms: sessions of a
// handler that has not changed go on being transformed by what it was, and one
// changes with its transforms and with the files that they name.
func TestReloadKeepsTransforms(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	region := filepath.Join(t.TempDir(), "region")
	write := func(value string) {
		if err := os.WriteFile(region, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("eu")
	addr := freeAddr(t)
	config := siteConfig(addr, broker.Addr(), open+"drain_timeout 1s\n"+
		"transform out header region {file."+region+"}\ntransform out jq ~[., $headers.region]~\n")
	config = strings.ReplaceAll(config, "~", "`")
	s := &site{caddyProcess: startCaddy(t, config), addr: addr, path: brokerPath}
	reload := func(config string) {
		t.Helper()
		if err := s.reload(config); err != nil {
			t.Fatal(err)
		}
	}
	exchange := func(c *client, n, want string) {
		t.Helper()
		c.publishValue(topic, n)
		c.expect(fmt.Sprintf(`{"topic":"%s","key":"k","message":"%s"}`, topic, strings.ReplaceAll(want, `"`, `\"`)))
	}
	c := s.dial("topics=" + topic)
	exchange(c, "1", `[1,"eu"]`)
	reload(config)
	exchange(c, "2", `[2,"eu"]`)
	write("us")
	reload(config)
	c.expectClose(websocket.CloseServiceRestart)
	c = s.dial("topics=" + topic)
	exchange(c, "3", `[3,"us"]`)
	reload(strings.Replace(config, "[., $headers.region]", ".", 1))
	c.expectClose(websocket.CloseServiceRestart)
	exchange(s.dial("topics="+topic), "4", "4")
}

// TestValidateTransforms has `caddy validate` refuse what the files of
// testdata/adapt have errors in, and the same in JSON.
func TestValidateTransforms(t *testing.T) {
	binary := tested.binary(t)
	validate := func(t *testing.T, file, adapter string) string {
		t.Helper()
		cmd := exec.Command(binary, "validate", "--config", file, "--adapter", adapter)
		if adapter == "" {
			cmd.Args = cmd.Args[:len(cmd.Args)-2]
		}
		cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir(), raceOptions)
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("it is valid:\n%s", out)
		}
		return string(out)
	}
	for _, name := range []string{"filter_syntax", "jq_syntax", "header_request_out", "topic_wildcards", "timestamp_format"} {
		t.Run(name, func(t *testing.T) {
			text := readText(t, filepath.Join("testdata", "adapt", "error_transform_"+name+".caddyfiletest"))
			input, want, _ := strings.Cut(text, "\n----------\n")
			file := filepath.Join(t.TempDir(), "Caddyfile")
			if err := os.WriteFile(file, []byte(input+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			reason, line, _ := strings.Cut(strings.TrimSpace(want), "\nat Caddyfile")
			// Caddy quotes what it says, as the last part of a line.
			out := validate(t, file, "caddyfile")
			for _, part := range []string{reason, "at " + file + line} {
				if quoted := strconv.Quote(part); !strings.Contains(out, quoted[1:len(quoted)-1]) {
					t.Errorf("got\n%s\nwant %s", out, part)
				}
			}
		})
	}
	for name, test := range map[string]struct{ transforms, want string }{
		"filter":  {`{"out":[{"transform":"filter","expression":"record.value.a >"}]}`, "line 1, column 17"},
		"jq":      {`{"in":[{"transform":"jq","program":".a |"}]}`, "line 1, column 5"},
		"header":  {`{"out":[{"transform":"header","name":"user","value":"{http.auth.user.id}"}]}`, "belongs to the request of one client"},
		"unknown": {`{"out":[{"transform":"nosuch"}]}`, "http.kafka_websocket.transforms.nosuch"},
		"option":  {`{"out":[{"transform":"jq","program":".","colour":"blue"}]}`, "colour"},
	} {
		t.Run("JSON/"+name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "caddy.json")
			config := fmt.Sprintf(`{"apps":{"http":{"servers":{"a":{"listen":["127.0.0.1:0"],"routes":[{"handle":[`+
				`{"handler":"kafka_websocket","cluster":{"brokers":["127.0.0.1:1"]},"transforms":%s}]}]}}}}}`, test.transforms)
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			if out := validate(t, file, ""); !strings.Contains(out, test.want) {
				t.Errorf("got\n%s\nwant %s", out, test.want)
			}
		})
	}
}
