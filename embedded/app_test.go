package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/caddyserver/caddy/v2"
)

// TestMain makes brokers hurry with what they do in the background, and looks for goroutines
// that any of the tests left behind.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	lingerIdle = 100 * time.Millisecond
	retainedCheck = "200"
	caddy.RegisterModule(failingApp{})
	goleak.VerifyTestMain(m,
		// A ticker that sarama's metrics library starts once and never stops.
		goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

// failingApp cannot be started: the last moment at which a reload can fail.
type failingApp struct{}

func (failingApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "embedded_test_failing", New: func() caddy.Module { return new(failingApp) }}
}
func (failingApp) Start() error { return errors.New("start fails, as it should") }
func (failingApp) Stop() error  { return nil }

// freeAddress returns an address that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// config returns a whole configuration without admin endpoint; the apps are
// JSON members.
func config(apps ...string) []byte {
	return fmt.Appendf(nil, `{"admin":{"disabled":true,"config":{"persist":false}},"logging":{"logs":{"default":{"level":"ERROR"}}},"apps":{%s}}`,
		strings.Join(apps, ","))
}

func embeddedJSON(listen string, topics ...Topic) string {
	b, err := json.Marshal(App{Listen: listen, Topics: topics})
	if err != nil {
		panic(err)
	}
	return `"kafka_embedded":` + string(b)
}

// load runs a first configuration; the end of the test, after its clients have
// closed, stops Caddy and waits until the broker has closed.
func load(t *testing.T, cfg []byte) {
	t.Helper()
	reload(t, cfg)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		waitNoBroker(t)
	})
}

// reload runs a further configuration.
func reload(t *testing.T, cfg []byte) {
	t.Helper()
	if err := caddy.Load(cfg, true); err != nil {
		t.Fatal(err)
	}
}

// waitNoBroker waits until no broker is left in the process.
func waitNoBroker(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		n := 0
		brokers.Range(func(_, _ any) bool {
			n++
			return true
		})
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d brokers are still there", n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// running returns the broker on address, or nil.
func running(address string) (b *broker) {
	brokers.Range(func(key, value any) bool {
		if key == address {
			b = value.(*broker)
		}
		return b == nil
	})
	return b
}

func listens(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func client(t *testing.T, address string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(address), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(10 * time.Second),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func produce(t *testing.T, cl *kgo.Client, topic string, partition int32, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
	if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
		t.Fatalf("producing to %s/%d: %v", topic, partition, err)
	}
}

// consume returns the values of all records of a topic's partition 0, waiting
// for n of them.
func consume(t *testing.T, address, topic string, n int) []string {
	t.Helper()
	cl := client(t, address, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var values []string
	for len(values) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("consuming %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func TestServesTopics(t *testing.T) {
	addr := freeAddress(t)
	load(t, config(embeddedJSON(addr, Topic{Name: "chat"}, Topic{Name: "orders", Partitions: 4})))
	cl := client(t, addr)
	produce(t, cl, "chat", 0, "hello")
	produce(t, cl, "orders", 3, "the last of four partitions")
	if got := consume(t, addr, "chat", 1); got[0] != "hello" {
		t.Errorf("read %q", got)
	}
}

func TestDefaults(t *testing.T) {
	if listens(DefaultListen) {
		t.Skip("something listens on " + DefaultListen + " already")
	}
	load(t, config(`"kafka_embedded":{}`))
	if !listens(DefaultListen) {
		t.Error("nothing listens on " + DefaultListen)
	}
}

// A reload keeps the broker, its records and connections, adds topics, and keeps
// those that it does not name any more.
func TestReload(t *testing.T) {
	addr := freeAddress(t)
	load(t, config(embeddedJSON(addr, Topic{Name: "chat"}, Topic{Name: "old"})))
	cl := client(t, addr)
	produce(t, cl, "chat", 0, "before")
	before := running(addr)

	_, port, _ := net.SplitHostPort(addr)
	for i := range 3 {
		// The same address, spelled otherwise, is the same broker.
		reload(t, config(embeddedJSON("localhost:"+port, Topic{Name: "chat", Partitions: 2}, Topic{Name: fmt.Sprint("new", i)})))
		produce(t, cl, fmt.Sprint("new", i), 0, "after")
		produce(t, cl, "chat", 0, fmt.Sprint("reload ", i))
	}
	produce(t, cl, "old", 0, "still there")
	if got := consume(t, addr, "chat", 4); strings.Join(got, ",") != "before,reload 0,reload 1,reload 2" {
		t.Errorf("read %q", got)
	}
	if n := len(before.cluster.PartitionInfos("chat")); n != 1 {
		t.Errorf("a topic that exists went from 1 partition to %d", n)
	}
	if refs, _ := brokers.References(addr); refs != 1 {
		t.Errorf("%d references after the reloads, want 1", refs)
	}
}

// A configuration that fails to start, whichever app was started first, leaves
// the running one's broker alone, and none behind where there was none.
func TestFailedReload(t *testing.T) {
	const failing = `"embedded_test_failing":{}`
	addr, other := freeAddress(t), freeAddress(t)
	load(t, config(embeddedJSON(addr, Topic{Name: "chat"})))
	cl := client(t, addr)
	produce(t, cl, "chat", 0, "before")
	for range 6 { // the order of apps is random
		for _, a := range []string{addr, other} {
			if err := caddy.Load(config(embeddedJSON(a, Topic{Name: "chat"}), failing), true); err == nil {
				t.Fatal("a configuration with an app that cannot start was loaded")
			}
		}
	}
	produce(t, cl, "chat", 0, "after")
	if got := consume(t, addr, "chat", 2); strings.Join(got, ",") != "before,after" {
		t.Errorf("read %q", got)
	}
	if refs, _ := brokers.References(addr); refs != 1 {
		t.Errorf("%d references, want 1", refs)
	}
	waitFor(t, "the broker of the failed configuration to close", func() bool { return !listens(other) })
}

// A configuration without the app leaves the broker to its clients; it closes
// after the last of them, and a configuration that has it again finds the
// records, if it comes in time.
func TestRemovedByReload(t *testing.T) {
	addr := freeAddress(t)
	with := config(embeddedJSON(addr, Topic{Name: "chat"}))
	load(t, with)
	cl := client(t, addr)
	produce(t, cl, "chat", 0, "before")

	reload(t, config())
	time.Sleep(5 * lingerIdle)
	produce(t, cl, "chat", 0, "a draining session's last words")

	reload(t, with)
	if got := consume(t, addr, "chat", 2); len(got) != 2 {
		t.Errorf("read %q", got)
	}
	waitFor(t, "the references to be one again", func() bool {
		refs, _ := brokers.References(addr)
		return refs == 1
	})

	reload(t, config())
	cl.Close()
	waitFor(t, "the broker to close after its last client", func() bool { return running(addr) == nil })

	reload(t, with)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	again := client(t, addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"chat": {0: kgo.NewOffset().AtStart()}}))
	if n := again.PollFetches(ctx).NumRecords(); n != 0 {
		t.Errorf("%d records outlived the broker", n)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(3 * lingerIdle) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

func TestValidateDoesNotListen(t *testing.T) {
	addr := freeAddress(t)
	ln, err := net.Listen("tcp", addr) // the port is even taken
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var cfg caddy.Config
	if err := json.Unmarshal(config(embeddedJSON(addr, Topic{Name: "chat"})), &cfg); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&cfg); err != nil {
		t.Fatal(err)
	}
	waitNoBroker(t)
}

func TestPortTaken(t *testing.T) {
	addr := freeAddress(t)
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	err = caddy.Load(config(embeddedJSON(addr)), true)
	wantError(t, err, "cannot listen on "+addr)
	wantError(t, err, "address already in use: most likely another Caddy with kafka_embedded, or a Kafka, runs there; stop it, or choose another address")
	_ = ln.Close()
	// Nothing of the failure is left: with the port free, it starts.
	load(t, config(embeddedJSON(addr)))
}

func TestNotOurAddress(t *testing.T) {
	err := caddy.Load(config(embeddedJSON("192.0.2.1:19092")), true) // RFC 5737
	wantError(t, err, "cannot listen on 192.0.2.1:19092")
	wantError(t, err, "the address must belong to this machine")
	waitNoBroker(t)
}

func TestInvalidJSON(t *testing.T) {
	for name, tc := range map[string]struct{ app, want string }{
		"address":       {`{"listen":"0.0.0.0:19092"}`, "the broker sends its clients to that very address"},
		"topic":         {`{"topics":[{"name":"a b"}]}`, `"a b" is not a topic name`},
		"topic twice":   {`{"topics":[{"name":"a"},{"name":"a"}]}`, `topic "a" is named twice`},
		"partitions":    {`{"topics":[{"name":"a","partitions":-1}]}`, "-1 partitions; it takes 1 to 1000"},
		"unknown field": {`{"port":1}`, `unknown field "port"`},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, caddy.Load(config(`"kafka_embedded":`+tc.app), true), tc.want)
		})
	}
	waitNoBroker(t)
}

func TestPlaceholder(t *testing.T) {
	addr := freeAddress(t)
	t.Setenv("EMBEDDED_TEST_ADDRESS", addr)
	load(t, config(embeddedJSON("{env.EMBEDDED_TEST_ADDRESS}")))
	if !listens(addr) {
		t.Error("nothing listens on " + addr)
	}
}
