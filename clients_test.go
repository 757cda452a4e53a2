package kafkaws_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// clientsDir has the clients of third parties, one in its own language each, and
// the page. All of them do the same:
//
//   - With kafka-text and then with kafka-binary they send messages, one as soon
//     as the one before has come back.
//   - On a third connection they send what is no message, and report the end.
const clientsDir = "testdata/clients"

// todo is what a client is told to do.
type todo struct {
	URL    string   `json:"url"`
	Text   []string `json:"text"`
	Binary [][]byte `json:"binary"`
	Bad    string   `json:"bad"`
}

// seen is what a client has to say then.
type seen struct {
	Text, Binary struct {
		// Subprotocol and Extensions are what the server chose.
		Subprotocol, Extensions string
		Received                []struct {
			Type string
			Data []byte
		}
		// Code is the one of the server's answer to the client's Close frame.
		Code int
	}
	Bad struct {
		Code   int
		Reason string
	}
}

// exchange is a message to publish, what comes back, and the record in Kafka.
type exchange struct {
	topic      string
	send, want []byte
	key, value []byte
}

// textExchanges returns what is sent with kafka-text.
func textExchanges(a, b string) []exchange {
	message := func(topic, key, encodedKey, value, encoded string) exchange {
		frame := fmt.Appendf(nil, `{"topic":"%s","key":"%s","message":"%s"}`, topic, encodedKey, encoded)
		return exchange{topic, frame, frame, []byte(key), []byte(value)}
	}
	long := strings.Repeat("the quick brown fox jumps over the lazy dog; ", 4000)
	return []exchange{
		message(a, "k1", "k1", "to the first topic", "to the first topic"),
		message(b, "k2", "k2", "to the second topic", "to the second topic"),
		message(a, "schlüssel", "schlüssel", "näh', 水 & 🦊 <b>", "näh', 水 & 🦊 <b>"),
		message(b, "tab\t\"", `tab\t\"`, "back\\slash\r\nnew line", `back\\slash\r\nnew line`),
		message(a, "long", "long", long, long),
		{
			b,
			fmt.Appendf(nil, ` { "message" : "\u00e4\ud83e\udd8a" , "key" : 7 , "other" : [1] , "topic" : "%s" } `, b),
			fmt.Appendf(nil, `{"topic":"%s","key":"7","message":"ä🦊"}`, b),
			[]byte("7"), []byte("ä🦊"),
		},
		{
			a,
			fmt.Appendf(nil, `{"topic":"%s","message":"no key"}`, a),
			fmt.Appendf(nil, `{"topic":"%s","message":"no key"}`, a),
			nil, []byte("no key"),
		},
		{
			a,
			fmt.Appendf(nil, `{"topic":"%s","key":"k1","message":null}`, a),
			fmt.Appendf(nil, `{"topic":"%s","key":"k1","message":null}`, a),
			[]byte("k1"), nil, // a tombstone
		},
	}
}

// binaryExchanges returns what is sent with kafka-binary.
func binaryExchanges(a, b string) []exchange {
	message := func(topic string, value []byte) exchange {
		frame := slices.Concat([]byte{byte(len(topic))}, []byte(topic), value)
		return exchange{topic, frame, frame, nil, value}
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	noise := make([]byte, 80_000) // needs a length of 64 bits, and cannot be compressed
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	return []exchange{
		message(a, every),
		message(b, bytes.Repeat(every, 250)),
		message(b, noise),
		message(a, []byte{0}),
		message(b, []byte{}),
	}
}

const (
	badMessage = "this is no message"
	badReason  = `the message must be a JSON object: {"topic":"...","message":"..."}`
	badCode    = 1007
)

// thirdParty is somebody else's WebSocket client.
type thirdParty struct {
	name string
	run  func(t *testing.T, site *clientSite, todo todo) seen
}

// TestThirdPartyClients: two topics, keys, tombstones and bytes arrive as they
// were sent, in the browser and in the most used libraries.
func TestThirdPartyClients(t *testing.T) {
	kafka := kafkatest.Shared(t)
	for _, client := range []thirdParty{
		{"python-websockets", runPython},
		{"npm-ws", runNode},
		{"chromium", runChromium},
	} {
		t.Run(client.name, func(t *testing.T) {
			for _, compression := range []string{"off", "on"} {
				t.Run("compression-"+compression, func(t *testing.T) {
					exercise(t, kafka, client, compression == "on")
				})
			}
		})
	}
}

func exercise(t *testing.T, kafka *kafkatest.Broker, client thirdParty, compressed bool) {
	a, b := kafkatest.Topic(t), kafkatest.Topic(t)
	// One partition, so that the records stand in Kafka in the order in which
	// they were sent.
	kafka.CreateTopic(t, a, 1, nil)
	kafka.CreateTopic(t, b, 1, nil)
	directives := open
	if compressed {
		directives += "compression\n"
	}
	site := startClientSite(t, kafka.Addr(), directives)
	texts, binaries := textExchanges(a, b), binaryExchanges(a, b)
	do := todo{URL: "ws://" + site.wire.addr + brokerPath + "?topics=" + a + "," + b, Bad: badMessage}
	size := int64(0) // of what comes back
	for _, x := range texts {
		do.Text = append(do.Text, string(x.send))
		size += int64(len(x.want))
	}
	for _, x := range binaries {
		do.Binary = append(do.Binary, x.send)
		size += int64(len(x.want))
	}

	got := client.run(t, site, do)

	for _, part := range []struct {
		subprotocol string
		exchanges   []exchange
	}{{"kafka-text", texts}, {"kafka-binary", binaries}} {
		kind, saw := "text", got.Text
		if part.subprotocol == "kafka-binary" {
			kind, saw = "binary", got.Binary
		}
		if saw.Subprotocol != part.subprotocol {
			t.Errorf("the subprotocol is %q, not %q", saw.Subprotocol, part.subprotocol)
		}
		if strings.HasPrefix(saw.Extensions, "permessage-deflate") != compressed {
			t.Errorf("the extensions are %q", saw.Extensions)
		}
		if saw.Code != 1000 {
			t.Errorf("closed with %d", saw.Code)
		}
		if len(saw.Received) != len(part.exchanges) {
			t.Fatalf("got %d messages, not %d", len(saw.Received), len(part.exchanges))
		}
		for i, x := range part.exchanges {
			if r := saw.Received[i]; r.Type != kind || !bytes.Equal(r.Data, x.want) {
				t.Errorf("%s message %d: got %s %.300q\nwant %s %.300q", part.subprotocol, i, r.Type, r.Data, kind, x.want)
			}
		}
	}
	if got.Bad.Code != badCode || got.Bad.Reason != badReason {
		t.Errorf("a bad message was answered with %d %q", got.Bad.Code, got.Bad.Reason)
	}
	// The long message and the repeated bytes shrink to next to nothing.
	for direction, n := range map[string]int64{"to": site.wire.sent.Load(), "from": site.wire.received.Load()} {
		if shrunk := n < size-200_000; shrunk != compressed {
			t.Errorf("%d bytes went %s the server for %d bytes of messages", n, direction, size)
		}
	}
	for _, topic := range []string{a, b} {
		var want []exchange
		for _, x := range slices.Concat(texts, binaries) {
			if x.topic == topic {
				want = append(want, x)
			}
		}
		compareRecords(t, kafka.ReadAll(t, topic), want)
	}
}

// compareRecords compares what stands in Kafka. That something is null is not
// the same as that it is empty.
func compareRecords(t *testing.T, records []*kgo.Record, want []exchange) {
	t.Helper()
	if len(records) != len(want) {
		t.Fatalf("Kafka has %d records, not %d", len(records), len(want))
	}
	for i, x := range want {
		r := records[i]
		if !bytes.Equal(r.Key, x.key) || !bytes.Equal(r.Value, x.value) || (r.Key == nil) != (x.key == nil) || (r.Value == nil) != (x.value == nil) {
			t.Errorf("record %d: got %.100q %.100q\nwant %.100q %.100q", i, r.Key, r.Value, x.key, x.value)
		}
	}
}

// runPython runs the client of the package websockets.
func runPython(t *testing.T, _ *clientSite, todo todo) seen {
	python := findTool(t, "KAFKAWS_PYTHON", "python3")
	if out, err := exec.Command(python, "-c", "import websockets.asyncio.client").CombinedOutput(); err != nil {
		kafkatest.Lack(t, "the Python package websockets is not installed: %s", out)
	}
	return runScript(t, todo, exec.Command(python, filepath.Join(clientsDir, "client.py")))
}

// runNode runs the client of the package ws.
func runNode(t *testing.T, _ *clientSite, todo todo) seen {
	node := findTool(t, "KAFKAWS_NODE", "node", "nodejs")
	cmd := exec.Command(node, "-e", `require("ws")`)
	cmd.Env = append(os.Environ(), "NODE_PATH="+os.Getenv("KAFKAWS_NODE_PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		kafkatest.Lack(t, "the npm package ws is not installed: %s", out)
	}
	script := exec.Command(node, filepath.Join(clientsDir, "client.js"))
	script.Env = cmd.Env
	return runScript(t, todo, script)
}

// runScript runs a client with what it is to do on its standard input.
func runScript(t *testing.T, todo todo, cmd *exec.Cmd) seen {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(mustJSON(todo)), &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, cmp.Or(ctx.Err(), err), &stderr)
	}
	var s seen
	if err := json.Unmarshal(stdout.Bytes(), &s); err != nil {
		t.Fatalf("%v in %.300q", err, stdout.Bytes())
	}
	return s
}

// runChromium runs a page that the same Caddy serves.
func runChromium(t *testing.T, site *clientSite, todo todo) seen {
	p := startBrowser(t).open("http://" + site.wire.addr + "/page.html")
	var s seen
	p.eval(&s, "exercise(%s)", todo)
	return s
}

// TestPageOfAnotherOrigin: beside the pages that the same host and port serve,
// those may connect that `origins` names.
func TestPageOfAnotherOrigin(t *testing.T) {
	kafka := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	kafka.CreateTopic(t, topic, 1, nil)
	strict, lenient, other := freeAddr(t), freeAddr(t), freeAddr(t)
	c := startCaddy(t, clientSiteConfig(strict, kafka.Addr(), open)+
		strings.TrimPrefix(clientSiteConfig(lenient, kafka.Addr(), open+"origins http://"+other+"\n"), global)+
		"http://"+other+" {\n\troot "+clientsDir+"\n\tfile_server\n}\n")
	b := startBrowser(t)
	for _, test := range []struct {
		page, server string
		connects     bool
	}{
		{"http://" + strict + "/page.html", strict, true},
		{"http://" + other + "/page.html", strict, false},
		{"data:text/html,", strict, false}, // its origin is null
		{"http://" + lenient + "/page.html", lenient, true},
		{"http://" + other + "/page.html", lenient, true},
		{"http://" + strict + "/page.html", lenient, false},
		{"data:text/html,", lenient, false},
	} {
		var connects bool
		b.open(test.page).eval(&connects, `new Promise((resolve) => {
			const socket = new WebSocket(%s);
			socket.onopen = () => { resolve(true); socket.close(); };
			socket.onerror = () => resolve(false);
		})`, "ws://"+test.server+brokerPath+"?topics="+topic)
		if connects != test.connects {
			t.Errorf("%s connects to %s, which names %s: %t", test.page, test.server, other, connects)
		}
	}
	if !strings.Contains(c.Log(), "`origins` of kafka_websocket allows pages of other hosts") {
		t.Error("the log does not name the directive that would let the page connect")
	}
}

// TestQuickstartPage: what the README's first command shows works. A record that
// is published in the form appears in the table, here and in a second window.
func TestQuickstartPage(t *testing.T) {
	example, err := os.ReadFile("Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	caddyfile := string(example)
	for _, change := range [][2]string{{"localhost:2020", "ADMIN"}, {":8080", ":" + port}, {"127.0.0.1:19092", freeAddr(t)}} {
		if !strings.Contains(caddyfile, change[0]) {
			t.Fatalf("Caddyfile.example has no %s", change[0])
		}
		caddyfile = strings.ReplaceAll(caddyfile, change[0], change[1])
	}
	startCaddy(t, caddyfile)

	b := startBrowser(t)
	first, second := b.open("http://localhost:"+port+"/"), b.open("http://127.0.0.1:"+port+"/?topics=orders")
	for _, p := range []*page{first, second} {
		p.until(`document.querySelector("#connection").dataset.state === "open"`)
	}
	publish := func(topic, key, message string) {
		for id, text := range map[string]string{"topic": topic, "key": key} {
			first.eval(nil, `document.getElementById(%s).select()`, id)
			first.write(text)
		}
		first.eval(nil, `document.getElementById("message").focus()`)
		first.write(message)
		first.pressEnter()
	}
	shows := func(p *page, cells ...string) {
		t.Helper()
		p.until(`[...document.querySelector("#records").rows].some((row) =>
			JSON.stringify([...row.cells].slice(1).map((cell) => cell.textContent)) === JSON.stringify(%s))`, cells)
	}
	const message = "Ünïcode, 水, \"quotes\" & <b>markup</b>"
	publish("chat", "k1", message)
	shows(first, "chat", "k1", message)
	publish("orders", "17", "shipped")
	shows(first, "orders", "17", "shipped")
	shows(second, "orders", "17", "shipped")
	var rows int
	second.eval(&rows, `document.querySelector("#records").rows.length`)
	if rows != 1 {
		t.Errorf("a page that is subscribed to orders alone shows %d records", rows)
	}
	var text string
	first.eval(&text, `document.querySelector("#message").value + document.querySelector("#error").hidden`)
	if text != "true" {
		t.Errorf("the form is %q after publishing", text)
	}
	if len(b.complaints) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(b.complaints, "\n"))
	}
	// To be looked at by people.
	if dir := os.Getenv("KAFKAWS_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "quickstart.png"), first.screenshot(), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// clientSite is a Caddy that serves the socket and, at the same address, the page.
type clientSite struct {
	*caddyProcess
	// wire is what clients connect to.
	wire *wire
}

func clientSiteConfig(addr, brokers, directives string) string {
	return global + fmt.Sprintf("http://%s {\n%shandle {\n\troot %s\n\tfile_server\n}\n}\n", addr, handleBlock(brokerPath, brokers, directives), clientsDir)
}

func startClientSite(t *testing.T, brokers, directives string) *clientSite {
	t.Helper()
	addr := freeAddr(t)
	return &clientSite{startCaddy(t, clientSiteConfig(addr, brokers, directives)), startWire(t, addr)}
}

// wire passes connections on and counts their bytes.
type wire struct {
	addr           string
	sent, received atomic.Int64 // to the server, from it
}

func startWire(t *testing.T, server string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.pass(t, client, server) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return w
}

func (w *wire) pass(t *testing.T, client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer server.Close()
	// When the test is over, whoever has a connection left loses it.
	stop := context.AfterFunc(t.Context(), func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	var both sync.WaitGroup
	pump := func(dst, src net.Conn, count *atomic.Int64) {
		_, _ = io.Copy(dst, io.TeeReader(src, counter{count}))
		_ = dst.(*net.TCPConn).CloseWrite()
	}
	both.Go(func() { pump(server, client, &w.sent) })
	both.Go(func() { pump(client, server, &w.received) })
	both.Wait()
}

// counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

// Write implements io.Writer.
func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
