package kafkaws_test

import (
	"bytes"
	"compress/flate"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// accounts is a basic_auth whose users all have the password "secret".
func accounts(users ...string) string {
	lines := "basic_auth {\n"
	for _, user := range users {
		lines += fmt.Sprintf("%q $2a$04$vfoRPIxqj0vdol/RrNLmc.6x7AI9nzhevT3auhCqf0MaXH3ybF3Ty\n", user)
	}
	return lines + "}\n"
}

// credentials is the header of a user with the password "secret".
func credentials(user string) http.Header {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, "secret")
	return r.Header
}

// traced has Caddy print its spans.
var traced = []string{"OTEL_TRACES_EXPORTER=console", "OTEL_BSP_SCHEDULE_DELAY=50"}

// The directives that stand before ours wrap the response writer, each in a way
// of its own, and so do access logs and metrics, which also give the wrapped
// writer back what another took from it. So each directive is tried with and
// without them.
func TestUpgradeBehindDirectives(t *testing.T) {
	kafka := kafkatest.Shared(t)
	directives := map[string]string{
		"alone":      "",
		"encode":     "encode gzip zstd",
		"header":     "header X-Immediate yes\nheader >X-Deferred yes",
		"basic_auth": accounts("alice"),
		"tracing":    "tracing {\nspan socket\n}",
	}
	directives["all"] = strings.Join(slices.Collect(maps.Values(directives)), "\n")

	for _, metrics := range []string{"", "metrics"} {
		sites := map[string]*site{}
		caddyfile := "{\nadmin ADMIN\nskip_install_trust\nauto_https disable_redirects\n" + metrics + "\n}\n"
		for name, directive := range directives {
			for _, log := range []string{"", "log"} {
				for _, scheme := range []string{"http", "https"} {
					s := &site{addr: freeAddr(t), path: brokerPath}
					extra := directive + "\n" + log
					if scheme == "https" {
						s.tls = &tls.Config{InsecureSkipVerify: true}
						extra += "\ntls internal"
					}
					caddyfile += fmt.Sprintf("%s://%s {\n%s\n%s}\n", scheme, s.addr, extra, handleBlock(brokerPath, kafka.Addr(), open))
					sites[strings.Join([]string{name, log, metrics, scheme}, " ")] = s
				}
			}
		}
		process := startCaddy(t, caddyfile, traced...)
		secure := sites["alone  "+metrics+" https"]
		await(t, "Caddy's certificate", func() bool {
			conn, err := tls.Dial("tcp", secure.addr, secure.tls)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
		for name, s := range sites {
			s.caddyProcess = process
			t.Run(name, func(t *testing.T) {
				parts := strings.Split(name, " ")
				testUpgrade(t, s.with(t), kafka, parts[0], parts[1] != "")
			})
		}
		t.Run("metrics of Caddy", func(t *testing.T) { testCaddysMetrics(t, process.with(t), metrics != "") })
	}
}

func testUpgrade(t *testing.T, s *site, kafka *kafkatest.Broker, directive string, accessLog bool) {
	topic := kafkatest.Topic(t)
	kafka.CreateTopic(t, topic, 1, nil)
	var header http.Header
	user := directive == "basic_auth" || directive == "all"
	if user {
		if status, _ := s.refused("topics="+topic, nil); status != http.StatusUnauthorized {
			t.Errorf("without a password: %d", status)
		}
		header = credentials("alice")
	}
	// A browser offers to have the response of any request compressed.
	header = mergeHeader(header, http.Header{"Accept-Encoding": {"gzip, zstd"}})
	c, resp, err := s.tryDial("topics="+topic, header, "kafka-text")
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "kafka-text" {
		t.Errorf("subprotocol %q", got)
	}
	if got := resp.Header.Get("Content-Encoding"); got != "" {
		t.Errorf("Content-Encoding %q", got)
	}
	if directive == "header" || directive == "all" {
		for _, name := range []string{"X-Immediate", "X-Deferred"} {
			if got := resp.Header.Values(name); !slices.Equal(got, []string{"yes"}) {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	c.send(fmt.Sprintf(`{"topic":%q,"message":"hello"}`, topic))
	c.expect(fmt.Sprintf(`{"topic":%q,"message":"hello"}`, topic))
	if accessLog {
		// While the session is open: the line stands for the handshake.
		line := s.logged(entry{"msg": "handled request", "status": 101, "request": topic})
		if got := line["user_id"]; user && got != "alice" {
			t.Errorf("the user of the access log is %v", got)
		}
		if _, hasTrace := line["traceID"]; hasTrace != (directive == "tracing" || directive == "all") {
			t.Errorf("traceID in the access log: %v", hasTrace)
		}
	}
	if err := c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4321, topic)); err != nil {
		t.Fatal(err)
	}
	c.expectClose(4321)
}

func mergeHeader(a, b http.Header) http.Header {
	merged := http.Header{}
	maps.Copy(merged, a)
	maps.Copy(merged, b)
	return merged
}

// testCaddysMetrics checks what Caddy counts of the handshakes of
// testUpgrade, and the spans, which come from the same places.
func testCaddysMetrics(t *testing.T, c *caddyProcess, on bool) {
	handshakes := 0
	for line := range strings.Lines(c.get("/metrics")) {
		if strings.HasPrefix(line, "caddy_http_request_duration_seconds_count{") && strings.Contains(line, `code="101"`) {
			handshakes++
		}
		if rest, ok := strings.CutPrefix(line, "caddy_http_requests_in_flight{"); ok && !strings.HasSuffix(rest, "} 0\n") {
			t.Errorf("sessions count as requests that go on: %s", line)
		}
	}
	if on != (handshakes > 0) {
		t.Errorf("%d counters of handshakes in Caddy's metrics", handshakes)
	}
	span := c.logged(entry{"Name": "socket", "Attributes": "101"})
	if got := fmt.Sprint(span["Status"]); strings.Contains(got, "Error") {
		t.Errorf("the span of a handshake has the status %s", got)
	}
}

// sessionCount waits until so many sessions are open.
func (c *caddyProcess) sessionCount(n int) {
	c.t.Helper()
	await(c.t, fmt.Sprintf("%d sessions", n), func() bool {
		return c.metric("caddy_kafka_websocket_sessions") == fmt.Sprint(n)
	})
}

// ended returns how many sessions have ended with a code.
func (c *caddyProcess) ended(code string) string {
	return c.metric(fmt.Sprintf("caddy_kafka_websocket_sessions_ended_total{code=%q}", code))
}

func TestSessionsAreCountedAndLogged(t *testing.T) {
	addr := freeAddr(t)
	caddyfile := global + fmt.Sprintf("http://%s {\n%s%s}\n", addr, accounts("alice"),
		handleBlock(brokerPath, kafkatest.Shared(t).Addr(), open))
	s := &site{caddyProcess: startCaddy(t, caddyfile), addr: addr, path: brokerPath}
	dial := func() *client {
		t.Helper()
		c, _, err := s.tryDial("", credentials("alice"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s.sessionCount(0)
	leaves, lies, breaks := dial(), dial(), dial()
	s.sessionCount(3)

	_ = leaves.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "done"))
	leaves.expectClose(1000)
	s.sessionCount(2)
	lies.send("no JSON")
	lies.expectClose(1007)
	s.sessionCount(1)
	_ = breaks.Close()
	s.sessionCount(0)
	for _, code := range []string{"1000", "1007", "1006"} {
		if got := s.ended(code); got != "1" {
			t.Errorf("%s sessions ended with %s", got, code)
		}
		line := s.logged(entry{"msg": "session ended", "code": code})
		if line["user_id"] != "alice" || line["client_ip"] != "127.0.0.1" || line["logger"] != "http.handlers.kafka_websocket" {
			t.Errorf("the session's line is %v", line)
		}
	}
	if got := s.metric("caddy_kafka_websocket_ignored_messages_total"); got != "0" {
		t.Errorf("%s messages were ignored", got)
	}
	// Codes that clients make up are not counted one by one.
	invents := dial()
	_ = invents.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4321, ""))
	invents.expectClose(4321)
	s.sessionCount(0)
	if got := s.ended("other"); got != "1" {
		t.Errorf("%s sessions ended with a code of the client's own", got)
	}

	stays := dial()
	if err := s.reload(caddyfile); err != nil {
		t.Fatal(err)
	}
	s.sessionCount(1)
	if got := s.ended("1000"); got != "1" {
		t.Errorf("after a reload, %s sessions ended with 1000", got)
	}
	stays.send("no JSON")
	stays.expectClose(1007)
	s.sessionCount(0)
	if got := s.ended("1007"); got != "2" {
		t.Errorf("%s sessions ended with 1007", got)
	}
}

func TestEarlyBytes(t *testing.T) {
	kafka := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	kafka.CreateTopic(t, topic, 1, nil)
	s := startSite(t, kafka.Addr(), open)
	c := s.connect()
	r := s.request("topics=" + topic)
	var all strings.Builder
	if err := r.Write(&all); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 2000) // more than the session's own buffer
	c.write([]byte(all.String()),
		masked(fin|opText, fmt.Sprintf(`{"topic":%q,"message":"1"}`, topic)),
		masked(fin|opText, fmt.Sprintf(`{"topic":%q,"message":%q}`, topic, long)),
		masked(fin|opPing, "now")[:4])
	if resp := c.response(r); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	for _, message := range []string{"1", long} {
		if first, got := c.frame(); first != fin|opText || got != fmt.Sprintf(`{"topic":%q,"message":%q}`, topic, message) {
			t.Fatalf("got %#x %q", first, got)
		}
	}
	c.write(masked(fin|opPing, "now")[4:])
	if first, got := c.frame(); first != fin|opPong || got != "now" {
		t.Fatalf("got %#x %q", first, got)
	}
}

// The WebSocket library reads the client's offers by rules of its own. Where it
// found none, it would not read what the response promises to.
func TestDeflateIsReadAsNegotiated(t *testing.T) {
	s := startSite(t, freeAddr(t), "compression")
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, "{}")
	_ = w.Flush()
	message := strings.TrimSuffix(deflated.String(), "\x00\x00\xff\xff")
	for _, offers := range [][]string{
		{"permessage-deflate"},
		{"permessage-deflate; server_max_window_bits=9"},
		{"x; y=1, permessage-deflate"},
		{"x", "permessage-deflate"},
		{"permessage-deflate;"},
		{"permessage-deflate; client_max_window_bits;"},
		{"two words, permessage-deflate"},
		{"@, permessage-deflate"},
		{`permessage-deflate; client_max_window_bits="10`},
		{"permessage-deflate; x"},
	} {
		c, resp := s.ask("", func(r *http.Request) { r.Header["Sec-WebSocket-Extensions"] = offers })
		want := byte(fin | opClose)
		if resp.Header.Get("Sec-WebSocket-Extensions") != "" {
			want = fin | opPong
		}
		c.write(masked(fin|0x40|opText, message), masked(fin|opPing, ""))
		if first, payload := c.frame(); first != want {
			t.Errorf("%q was answered with %q, and a compressed message with %#x %q", offers, resp.Header["Sec-Websocket-Extensions"], first, payload)
		}
	}
}

// refusalCase is a request that is not upgraded.
type refusalCase struct {
	name string
	// path tells handlers apart: each warns of a status a few times only.
	path  string
	query string
	edit  func(*http.Request)

	status int
	header http.Header
	// says is what the warning says, hint the directive that it names.
	says, hint string
}

func TestRefusals(t *testing.T) {
	kafka := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	kafka.CreateTopic(t, topic, 1, nil)
	addr, unreachable := freeAddr(t), freeAddr(t)
	caddyfile := global + fmt.Sprintf("http://%s {\n", addr)
	handler := func(path, directives string) {
		caddyfile += handleBlock("/"+path+"/", kafka.Addr(), "name "+path+"\n"+directives)
	}
	handler("names", open)
	handler("request", open)
	handler("method", open)
	handler("origin", open)
	handler("narrow", "subscribe public.*\npublish *\nmax_topics 2")
	handler("filters", "subscribe public.*\ngroups g\nmax_group_sessions 1")
	handler("existing", open+"missing_topics reject")
	handler("full", open+"max_sessions 1")
	caddyfile += handleBlock("/down/", unreachable, open)
	caddyfile += "handle_errors {\nheader X-Handled {err.status_code}\nrespond \"{err.status_code}: {err.message}\"\n}\n}\n"
	s := &site{caddyProcess: startCaddy(t, caddyfile), addr: addr, path: brokerPath}
	s.at("/full/").dial("") // takes the only place

	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	method := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.Method = name }
	}
	retry := http.Header{"Retry-After": nil}
	for _, c := range []refusalCase{
		{name: "illegal topic", path: "names", query: "topics=ok,a/b", status: 400, says: `illegal topic name "a/b"`},
		{name: "topic of two dots", path: "names", query: "topics=..", status: 400, says: `illegal topic name ".."`},
		{name: "topic too long", path: "names", query: "topics=" + strings.Repeat("x", 250), status: 400, says: "illegal topic name"},
		{name: "illegal group", path: "names", query: "group.id=a%20b", status: 400, says: `illegal consumer group id "a b"`},
		{name: "group", path: "names", query: "topics=ok&group.id=g", status: 403, says: `consumer group "g" is not allowed`, hint: "groups"},
		{name: "group without topics", path: "names", query: "group.id=g", status: 400, says: `consumer group "g" needs topics`},

		{name: "bad query", path: "request", query: "topics=%zz", status: 400, says: "reading the query"},
		{name: "body", path: "request", status: 400, says: "no body", edit: func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("body")), 4
		}},
		{name: "body of unknown length", path: "request", status: 400, says: "no body", edit: func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("body")), -1
		}},
		{
			name: "version 12", path: "request", status: 400, says: "version 13", edit: set("Sec-WebSocket-Version", "12"),
			header: http.Header{"Sec-WebSocket-Version": {"13"}},
		},
		{name: "no key", path: "request", status: 400, says: "Sec-WebSocket-Key", edit: set("Sec-WebSocket-Key")},

		{
			name: "plain GET", path: "method", status: 426, says: "not a WebSocket request",
			edit:   func(r *http.Request) { r.Header = http.Header{} },
			header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
		},
		{name: "another upgrade", path: "method", status: 426, says: "not a WebSocket request", edit: set("Upgrade", "h2c")},
		{name: "POST", path: "method", status: 405, says: "POST", edit: method(http.MethodPost), header: http.Header{"Allow": {"GET"}}},
		{name: "HEAD", path: "method", status: 405, says: "HEAD", edit: method(http.MethodHead)},
		{name: "CONNECT", path: "method", status: 405, says: "CONNECT", edit: func(r *http.Request) {
			r.Method = http.MethodConnect
			r.URL.Opaque = r.URL.Path
		}},

		{name: "origin", path: "origin", status: 403, says: "https://evil.example", hint: "origins", edit: set("Origin", "https://evil.example")},
		{name: "two origins", path: "origin", status: 403, says: "more than one Origin", edit: set("Origin", "http://"+addr, "https://evil.example")},
		{name: "the same origin twice", path: "origin", status: 403, says: "more than one Origin", edit: set("Origin", "http://"+addr, "http://"+addr)},

		{name: "topic", path: "narrow", query: "topics=public.a,private", status: 403, says: `"private" is not allowed`, hint: "subscribe"},
		{name: "topics", path: "narrow", query: "topics=public.a,public.b,public.c", status: 400, says: "3 topics asked for", hint: "max_topics"},
		{name: "Kafka's own topic", path: "existing", query: "topics=__consumer_offsets", status: 403, says: `"__consumer_offsets" is not allowed`, hint: "subscribe"},
		// A filter is compiled for nobody who is refused.
		{name: "topic and filter", path: "filters", query: "topics=private&filter=nothing", status: 403, says: `"private" is not allowed`, hint: "subscribe"},
		{name: "full and filter", path: "full", query: "filter=nothing", status: 503, says: "too many sessions", hint: "max_sessions", header: retry},
		{name: "filter", path: "filters", query: "topics=public.a&filter=nothing", status: 400, says: "illegal filter"},
		{name: "filter of a group", path: "filters", query: "topics=public.a&group.id=g&filter=nothing", status: 400, says: "illegal filter"},
		{name: "filter without topics", path: "filters", query: "filter=nothing", status: 400, says: "illegal filter"},
		{name: "filter too long", path: "filters", query: "filter=" + strings.Repeat("x", 1025), status: 400, says: "illegal filter"},

		{name: "unknown topic", path: "existing", query: "topics=" + topic + ",nowhere", status: 404, says: `"nowhere" does not exist`, hint: "missing_topics"},

		{name: "full", path: "full", status: 503, says: "too many sessions", hint: "max_sessions", header: retry},
		{name: "Kafka unreachable", path: "down", query: "topics=" + topic, status: 503, says: "kafka is unreachable", hint: "brokers", header: retry},
	} {
		t.Run(c.name, func(t *testing.T) { testRefusal(t, s.with(t).at("/"+c.path+"/"), c) })
	}

	t.Run("Kafka is not needed without topics", func(t *testing.T) {
		s.with(t).at("/down/").dial("topics=")
	})
	t.Run("an existing topic", func(t *testing.T) { s.with(t).at("/existing/").dial("topics=" + topic) })
	t.Run("origins of its own", func(t *testing.T) {
		for _, origin := range []string{"http://" + addr, "http://" + strings.ToUpper(addr)} {
			if _, resp := s.with(t).at("/origin/").ask("", set("Origin", origin)); resp.StatusCode != 101 {
				t.Errorf("%s: %s", origin, resp.Status)
			}
		}
	})
}

func testRefusal(t *testing.T, s *site, c refusalCase) {
	_, resp := s.ask(c.query, c.edit)
	if resp.StatusCode != c.status {
		t.Fatalf("got %s, want %d", resp.Status, c.status)
	}
	for name, want := range c.header {
		got := resp.Header.Values(name)
		if len(got) != 1 || want != nil && got[0] != want[0] {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if resp.Header.Get("X-Handled") != fmt.Sprint(c.status) {
		t.Error("handle_errors was not asked")
	}
	if body, err := io.ReadAll(resp.Body); err != nil || resp.Request.Method != http.MethodHead && !strings.Contains(string(body), c.says) {
		t.Errorf("the page of handle_errors is %q, %v", body, err)
	}
	warning := s.logged(entry{"level": "warn", "logger": "http.handlers.kafka_websocket", "msg": "request refused", "status": c.status, "error": c.says})
	if hint := fmt.Sprint(warning["hint"]); (c.hint != "") != strings.Contains(hint, "`"+c.hint) {
		t.Errorf("the hint is %q, which should name %q", hint, c.hint)
	}
	if warning["client_ip"] != "127.0.0.1" {
		t.Errorf("the client's address is %v", warning["client_ip"])
	}
}

func TestSessionOverHTTP2(t *testing.T) {
	addr := freeAddr(t)
	caddyfile := fmt.Sprintf("{\nadmin ADMIN\nservers {\nprotocols h1 h2c\n}\n}\nhttp://%s {\n%s}\n", addr, handleBlock(brokerPath, freeAddr(t), open))
	s := &site{caddyProcess: startCaddy(t, caddyfile, "GODEBUG=http2xconnect=1"), addr: addr, path: brokerPath}
	if status := s.extendedConnect(); status != "501" {
		t.Errorf("got the status %s", status)
	}
	s.logged(entry{"level": "error", "logger": "http.log.error", "status": 501, "msg": "h1"})
}

func TestPlaceholders(t *testing.T) {
	kafka := kafkatest.Shared(t)
	prefix := strings.ReplaceAll(kafkatest.Topic(t), ".", "-")
	topic := func(user string) string { return prefix + "." + user + ".orders" }
	for _, user := range []string{"alice", "bob"} {
		kafka.CreateTopic(t, topic(user), 1, nil)
	}
	addr := freeAddr(t)
	own := prefix + ".{http.auth.user.id}.*"
	caddyfile := global + fmt.Sprintf("http://%s {\n", addr) +
		accounts("alice", "bob", "*", "?????", "{http.request.uri.query.as}") +
		handleBlock(brokerPath, kafka.Addr(), "subscribe "+own+"\npublish "+own) + "}\n"
	s := &site{caddyProcess: startCaddy(t, caddyfile), addr: addr, path: brokerPath}

	for _, user := range []string{"alice", "bob"} {
		t.Run(user, func(t *testing.T) {
			s := s.with(t)
			c, _, err := s.tryDial("topics="+topic(user), credentials(user))
			if err != nil {
				t.Fatal(err)
			}
			message := fmt.Sprintf(`{"topic":%q,"message":"mine"}`, topic(user))
			c.send(message)
			c.expect(message)
			other := map[string]string{"alice": "bob", "bob": "alice"}[user]
			if status, _ := s.refused("topics="+topic(user)+","+topic(other), credentials(user)); status != 403 {
				t.Errorf("the other's topic: %d", status)
			}
			c.send(fmt.Sprintf(`{"topic":%q,"message":"not mine"}`, topic(other)))
			c.expectClose(websocket.ClosePolicyViolation)
			s.logged(entry{"level": "warn", "msg": "`publish` of kafka_websocket", "topic": topic(other)})
		})
	}
	// What stands for a user is a text: it is neither a pattern nor a placeholder.
	for _, user := range []string{"*", "?????", "{http.request.uri.query.as}"} {
		t.Run(user, func(t *testing.T) {
			s := s.with(t)
			if status, _ := s.refused("as=alice&topics="+topic("alice"), credentials(user)); status != 403 {
				t.Errorf("got %d", status)
			}
			c, _, err := s.tryDial("as=alice", credentials(user))
			if err != nil {
				t.Fatal(err)
			}
			c.send(fmt.Sprintf(`{"topic":%q,"message":"not mine"}`, topic("alice")))
			c.expectClose(websocket.ClosePolicyViolation)
		})
	}
	for _, user := range []string{"alice", "bob"} {
		if records := kafka.ReadAll(t, topic(user)); len(records) != 1 || string(records[0].Value) != "mine" {
			t.Errorf("%d records in the topic of %s", len(records), user)
		}
	}
}

func TestHandlersOfOneServer(t *testing.T) {
	broker := freeAddr(t) // nobody subscribes to anything here
	addr := freeAddr(t)
	caddyfile := global + fmt.Sprintf("http://%s {\n", addr) +
		handleBlock("/a/", broker, "max_sessions 1") +
		handleBlock("/b/", broker, "max_sessions 1") +
		handleBlock("/c/", broker, "max_sessions 1\nname c") +
		handleBlock("/d/", broker, "max_sessions 1\nclient_id other") +
		"}\n"
	s := &site{caddyProcess: startCaddy(t, caddyfile), addr: addr}

	first := s.at("/a/").dial("")
	// Handlers that are configured alike serve the same sessions.
	for _, path := range []string{"/a/", "/b/"} {
		if status, header := s.at(path).refused("", nil); status != 503 || header.Get("Retry-After") == "" {
			t.Errorf("%s: %d", path, status)
		}
	}
	s.at("/c/").dial("")
	s.at("/d/").dial("")
	s.sessionCount(3)
	_ = first.Close()
	s.sessionCount(2)
	s.at("/b/").dial("")
	if status, _ := s.at("/a/").refused("", nil); status != 503 {
		t.Errorf("with the session of /b/: %d", status)
	}
}
