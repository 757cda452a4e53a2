package kafkaws_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// What becomes of a record that a chain does not leave as it is, beside a new
// value.
const (
	tombstone = "\x00tombstone"
	dropped   = "\x00dropped"
	failed    = "\x00failed"
)

// pass is a value that a chain is given, and what comes out: the same if want is
// empty, else a value or one of the above. One that begins with ^ is a regular
// expression.
type pass struct{ value, want string }

func (p pass) kept() bool { return p.want != dropped && p.want != failed }

// check compares what came out.
func (p pass) check(t *testing.T, got string) {
	t.Helper()
	want := p.want
	if want == "" {
		want = p.value
	}
	switch {
	case strings.HasPrefix(want, "^"):
		if !regexp.MustCompile(want + "$").MatchString(got) {
			t.Errorf("%q became %q, want %s", p.value, got, want)
		}
	case got != want:
		t.Errorf("%q became %q, want %q", p.value, got, want)
	}
}

const (
	aTime  = `"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d\.\d{3}Z"`
	noText = "\xff\x00\xfe"
)

// chainCases are chains, and what they make of values: of clients' on the way in,
// and of Kafka's on the way out. The keys are k, except that bytes which are no
// text come from clients without. ~ stands for a backquote, TOPIC for the topic.
var chainCases = []struct {
	name   string
	chain  []string
	passes []pass
	only   string // the direction, if it is not both
}{
	{name: "timestamp", chain: []string{"timestamp at"}, passes: []pass{
		{`{"z":1, "a":[1.0, 2e3]}`, `^\{"z":1, "a":\[1\.0, 2e3\],"at":` + aTime + `\}`},
		{`{"at":0,"z":"ü"}`, `^\{"at":` + aTime + `,"z":"ü"\}`},
		{`{}`, `^\{"at":` + aTime + `\}`},
		{`{"at":1,"at":2}`, failed},
		{value: `[1]`}, {value: `text`}, {value: ``}, {value: noText}, {value: tombstone},
	}},
	{name: "timestamp or drop", chain: []string{"timestamp ms unix_ms {\n\tnot_json drop\n}"}, passes: []pass{
		{`{"a":1}`, `^\{"a":1,"ms":1\d{12}\}`},
		{`[1]`, dropped}, {`text`, dropped}, {``, dropped}, {noText, dropped},
		{value: tombstone},
	}},
	{name: "timestamp of the record", only: "out", chain: []string{
		"timestamp s unix {\n\tsource record\n}", `timestamp day "02 Jan 2006" {` + "\n\tsource record\n}",
	}, passes: []pass{
		{`{"a":1}`, `{"a":1,"s":1700000000,"day":"14 Nov 2023"}`},
		{value: `text`},
	}},
	{name: "discard", chain: []string{`discard ~record.value == "ping"~`}, passes: []pass{
		{`ping`, dropped}, {`"ping"`, dropped},
		{value: `{"a":"ping"}`}, {value: `pong`}, {value: noText}, {value: tombstone},
	}},
	{name: "filter", chain: []string{`filter record.value.price > 10`}, passes: []pass{
		{value: `{"price":10.5}`}, {`{"price":10}`, dropped},
		{`{"price":"11"}`, failed}, {`{}`, failed}, {`text`, failed}, {noText, failed}, {tombstone, failed},
		{value: `{"price":11}`},
	}},
	{name: "filter by everything else", chain: []string{
		`filter ~record.key == "k" && record.topic == "TOPIC" && !("x" in record.headers)~`,
		`discard ~type(record.value) == bytes || record.value == null~`,
	}, passes: []pass{
		{value: `text`}, {noText, dropped}, {tombstone, dropped}, {value: ``}, {value: `{}`},
	}},
	{name: "jq", chain: []string{`jq ~{id, from: $topic, key: $key}~`}, passes: []pass{
		{`{"id":12345678901234567890,"x":[2]}`, `{"from":"TOPIC","id":12345678901234567890,"key":"k"}`},
		{`{}`, `{"from":"TOPIC","id":null,"key":"k"}`},
		{`[1]`, failed},
		{value: `text`}, {value: ``}, {value: noText}, {value: tombstone},
	}},
	{name: "jq that drops", chain: []string{"jq ~select(.public)~ {\n\tnot_json drop\n}"}, passes: []pass{
		{`{"public":true, "a":"é"}`, `{"a":"é","public":true}`},
		{`{"public":false}`, dropped}, {`{}`, dropped}, {`text`, dropped}, {noText, dropped}, {``, dropped},
		{`1`, failed},
		{value: tombstone},
	}},
	{name: "jq with many results", chain: []string{`jq .[]`}, passes: []pass{
		{`[]`, dropped}, {`[1,2]`, failed}, {`{"a":{"b":null}}`, `{"b":null}`}, {`["x"]`, `"x"`},
	}},
	{name: "jq without an end", chain: []string{`jq ~if .loop then def f: f; f else . end~`}, passes: []pass{
		{`{"loop":true}`, failed}, {value: `{"loop":false}`},
	}},
	{name: "chain", chain: []string{
		`filter ~record.value == null || has(record.value.id)~`,
		`header region eu`,
		`jq ~if .id == 1 then empty elif .id == 0 then error("no") else {id, region: $headers.region} end~`,
		`discard ~record.value != null && record.value.id == 2~`,
		`timestamp at`,
	}, passes: []pass{
		{`{"id":1}`, dropped}, {`{"id":2}`, dropped}, {`{}`, dropped}, {`text`, dropped}, {`{"id":0}`, failed},
		{`{"id":3,"more":true}`, `^\{"id":3,"region":"eu","at":` + aTime + `\}`},
		{value: tombstone},
		{`{"id":4}`, `^\{"id":4,"region":"eu","at":` + aTime + `\}`},
	}},
}

// transformLines writes a chain as a Caddyfile has it.
func transformLines(direction, topic string, chain []string) string {
	var lines strings.Builder
	for _, step := range chain {
		step = strings.NewReplacer("~", "`", "TOPIC", topic).Replace(step)
		fmt.Fprintf(&lines, "transform %s %s\n", direction, step)
	}
	return lines.String()
}

// startHandlers runs a Caddy with several handlers, by their paths.
func startHandlers(t testing.TB, handles string) *site {
	t.Helper()
	addr := freeAddr(t)
	return &site{caddyProcess: startCaddy(t, handlersConfig(addr, handles)), addr: addr, path: "/"}
}

func handlersConfig(addr, handles string) string {
	return fmt.Sprintf("%shttp://%s {\n%s}\n", global, addr, handles)
}

// TestTransforms has values pass chains, in both directions.
func TestTransforms(t *testing.T) {
	broker := kafkatest.Shared(t)
	handles := handleBlock("/plain/", broker.Addr(), open)
	path := func(direction string, i int) string { return fmt.Sprintf("/%s/%d/", direction, i) }
	topics := map[string]string{}
	for i, c := range chainCases {
		for _, direction := range []string{"in", "out"} {
			topic := kafkatest.Topic(t)
			topics[path(direction, i)] = topic
			handles += handleBlock(path(direction, i), broker.Addr(), open+transformLines(direction, topic, c.chain))
		}
	}
	s := startHandlers(t, handles)
	for i, c := range chainCases {
		for direction, run := range map[string]func(*site, *kafkatest.Broker, string, []pass){"in": passIn, "out": passOut} {
			if c.only != "" && c.only != direction {
				continue
			}
			t.Run(direction+"/"+c.name, func(t *testing.T) {
				topic := topics[path(direction, i)]
				broker.CreateTopic(t, topic, 1, nil)
				passes := slices.Clone(c.passes)
				for i := range passes {
					passes[i].want = strings.ReplaceAll(passes[i].want, "TOPIC", topic)
				}
				run(s.with(t).at(path(direction, i)), broker, topic, passes)
			})
		}
	}
}

// count reads a counter, which is not there before it has counted.
func (c *caddyProcess) count(name string) int {
	c.t.Helper()
	value := c.metric(name)
	if value == "" {
		return 0
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

const (
	droppedMetric = `caddy_kafka_websocket_discarded_records_total{cause="dropped"}`
	errorMetric   = `caddy_kafka_websocket_discarded_records_total{cause="error"}`
	skippedMetric = `caddy_kafka_websocket_skipped_records_total`
)

// counted returns how many values have an outcome.
func counted(passes []pass, outcome string) int {
	n := 0
	for _, p := range passes {
		if p.want == outcome {
			n++
		}
	}
	return n
}

// publishValue sends a value, in the form of message that can carry it.
func (c *client) publishValue(topic, value string) {
	c.t.Helper()
	switch {
	case value == tombstone:
		c.send(mustJSON(map[string]any{"topic": topic, "key": "k", "message": nil}))
	case value == noText:
		if err := c.WriteMessage(websocket.BinaryMessage, append([]byte{byte(len(topic))}, topic+value...)); err != nil {
			c.t.Fatalf("sending: %v", err)
		}
	default:
		c.send(mustJSON(map[string]any{"topic": topic, "key": "k", "message": value}))
	}
}

// valueOf is a record's value as a pass has it.
func valueOf(r *kgo.Record) string {
	if r.Value == nil {
		return tombstone
	}
	return string(r.Value)
}

// passIn publishes values and compares what Kafka has then. The client hears
// nothing of those that are missing.
func passIn(s *site, broker *kafkatest.Broker, topic string, passes []pass) {
	t := s.t.(*testing.T)
	dropsBefore, errorsBefore := s.count(droppedMetric), s.count(errorMetric)
	reader := s.at("/plain/").dial("topics=" + topic)
	writer := s.dial("")
	for _, p := range passes {
		writer.publishValue(topic, p.value)
	}
	kept := slices.DeleteFunc(slices.Clone(passes), func(p pass) bool { return !p.kept() })
	for range kept {
		reader.read()
	}
	if err := writer.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")); err != nil {
		t.Fatal(err)
	}
	if _, p, err := writer.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("the writer got %q, %v", p, err)
	}
	records := broker.ReadAll(t, topic)
	if len(records) != len(kept) {
		t.Fatalf("Kafka has %d records, want %d", len(records), len(kept))
	}
	for i, r := range records {
		kept[i].check(t, valueOf(r))
		if want := "k"; string(r.Key) != want && kept[i].value != noText {
			t.Errorf("%q has the key %q", kept[i].value, r.Key)
		}
	}
	if got, want := s.count(droppedMetric)-dropsBefore, counted(passes, dropped); got != want {
		t.Errorf("%d dropped records are counted, want %d", got, want)
	}
	if got, want := s.count(errorMetric)-errorsBefore, counted(passes, failed); got != want {
		t.Errorf("%d errors are counted, want %d", got, want)
	}
}

// passOut has Kafka's values sent to clients of both subprotocols.
func passOut(s *site, broker *kafkatest.Broker, topic string, passes []pass) {
	t := s.t.(*testing.T)
	before := s.count(skippedMetric)
	text := s.dial("topics="+topic, "kafka-text")
	binary := s.dial("topics="+topic, "kafka-binary")
	records := make([]*kgo.Record, 0, len(passes))
	for _, p := range passes {
		r := kafkatest.KV("k", p.value)
		r.Timestamp = time.Unix(1_700_000_000, 0)
		if p.value == tombstone {
			r.Value = nil
		}
		records = append(records, r)
	}
	broker.Produce(t, topic, records...)
	for _, p := range passes {
		if !p.kept() {
			continue
		}
		var message struct {
			Topic, Key string
			Message    *string
		}
		if err := json.Unmarshal([]byte(text.text()), &message); err != nil {
			t.Fatal(err)
		}
		if message.Topic != topic || message.Key != "k" {
			t.Errorf("%q came as %+v", p.value, message)
		}
		_, raw := binary.read()
		raw = strings.TrimPrefix(raw, string(rune(len(topic)))+topic)
		switch {
		case message.Message == nil:
			p.check(t, tombstone)
			if raw != "" {
				t.Errorf("a tombstone came as %q", raw)
			}
		case p.value == noText:
			p.check(t, raw)
		default:
			p.check(t, *message.Message)
			p.check(t, raw)
		}
	}
	// Once for both subprotocols.
	if got, want := s.count(skippedMetric)-before, counted(passes, failed); got != want {
		t.Errorf("%d skipped records are counted, want %d", got, want)
	}
}

// alice is how one logs in as her with aliceLogin in the Caddyfile.
var alice = http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("alice:wonderland"))}}

const aliceLogin = "basic_auth %s* {\n\talice $2a$04$TWc.Q6atZgbyuRrVmLFzEeXCXQISAYT8qL4pjGLct7HE.8vJkuaF6\n}\n"

// TestHeaderTransform publishes through handlers that set headers, among them the
// name of whoever has logged in.
func TestHeaderTransform(t *testing.T) {
	broker := kafkatest.Shared(t)
	lines := open + `
		transform in header user {http.auth.user.id}
		transform in header route "{http.request.uri.path} by {http.auth.user.id}"
		transform in header region {env.TEST_REGION}
		transform in header region eu-{env.TEST_REGION}
		transform in header fixed \{braces\}
		transform in header gone x
		transform in header -gone
	`
	addr := freeAddr(t)
	s := &site{caddyProcess: startCaddy(t, handlersConfig(addr,
		fmt.Sprintf(aliceLogin, "/known/")+handleBlock("/known/", broker.Addr(), lines)+handleBlock("/unknown/", broker.Addr(), lines)),
		"TEST_REGION=1"), addr: addr}
	for path, want := range map[string]string{
		"/known/":   "route=/known/ by alice user=alice",
		"/unknown/": "",
	} {
		t.Run(path, func(t *testing.T) {
			topic := kafkatest.Topic(t)
			broker.CreateTopic(t, topic, 1, nil)
			s := s.with(t).at(path)
			c, _, err := s.tryDial("topics="+topic, alice)
			if err != nil {
				t.Fatal(err)
			}
			for _, value := range []string{"text", noText, tombstone} {
				c.publishValue(topic, value)
				c.read()
			}
			for _, r := range broker.ReadAll(t, topic) {
				var got []string
				for _, h := range r.Headers {
					got = append(got, h.Key+"="+string(h.Value))
				}
				slices.Sort(got)
				if got := strings.Join(got, " "); got != strings.TrimSpace("fixed={braces} region=eu-1 "+want) {
					t.Errorf("the headers are %s", got)
				}
			}
		})
	}
	t.Run("without a login", func(t *testing.T) {
		if status, _ := s.with(t).at("/known/").refused("", nil); status != http.StatusUnauthorized {
			t.Errorf("got %d", status)
		}
	})
}

// TestTopicTransform has a site know topics by other names than Kafka.
func TestTopicTransform(t *testing.T) {
	broker := kafkatest.Shared(t)
	outward := kafkatest.Topic(t)
	inKafka := "internal." + outward
	private := kafkatest.Topic(t)
	broker.CreateTopic(t, inKafka, 1, nil)
	broker.CreateTopic(t, private, 1, nil)
	broker.Produce(t, inKafka, kafkatest.KV("", "before"))
	both := "transform in topic * internal.*\ntransform out topic internal.* *\n"
	narrow := fmt.Sprintf("subscribe %s\npublish %s\n", outward, outward)
	s := startHandlers(t, handleBlock("/narrow/", broker.Addr(), narrow+both)+
		handleBlock("/earliest/", broker.Addr(), narrow+both+"start earliest\n")+
		handleBlock("/reject/", broker.Addr(), open+both+"missing_topics reject\n")+
		handleBlock("/kafka/", broker.Addr(), fmt.Sprintf("subscribe %s\npublish %s\n", inKafka, inKafka)+both)+
		handleBlock("/one/", broker.Addr(), fmt.Sprintf("%stransform out topic %s %s\n", open, inKafka, private))+
		handleBlock("/plain/", broker.Addr(), open))

	message := func(topic, value string) string {
		return fmt.Sprintf(`{"topic":"%s","key":"k","message":"%s"}`, topic, value)
	}
	t.Run("outward names", func(t *testing.T) {
		s := s.with(t).at("/narrow/")
		text, binary := s.dial("topics="+outward), s.dial("topics="+outward, "kafka-binary")
		plain := s.at("/plain/").dial("topics=" + inKafka)
		text.send(message(outward, "hello"))
		text.expect(message(outward, "hello"))
		if _, got := binary.read(); got != string(rune(len(outward)))+outward+"hello" {
			t.Errorf("got %q", got)
		}
		plain.expect(message(inKafka, "hello"))
		s.at("/earliest/").dial("topics="+outward).expect(
			fmt.Sprintf(`{"topic":"%s","message":"before"}`, outward), message(outward, "hello"))
	})
	t.Run("the policy is about outward names", func(t *testing.T) {
		s := s.with(t)
		for path, topic := range map[string]string{"/narrow/": inKafka, "/kafka/": outward} {
			if status, _ := s.at(path).refused("topics="+topic, nil); status != http.StatusForbidden {
				t.Errorf("%s: subscribing to %s is answered %d", path, topic, status)
			}
			c := s.at(path).dial("")
			c.send(message(topic, "not allowed"))
			if reason := c.expectClose(websocket.ClosePolicyViolation); strings.Contains(reason, "internal") {
				t.Errorf("%s: the reason tells Kafka's name: %s", path, reason)
			}
		}
	})
	t.Run("Kafka's names are hidden", func(t *testing.T) {
		s := s.with(t)
		// It would be another topic, internal.internal.…
		if status, _ := s.at("/reject/").refused("topics="+inKafka, nil); status != http.StatusNotFound {
			t.Errorf("subscribing by Kafka's name is answered %d", status)
		}
		s.at("/reject/").dial("topics=" + outward)
		// Its name went to another.
		if status, _ := s.at("/one/").refused("topics="+inKafka, nil); status != http.StatusNotFound {
			t.Errorf("subscribing to a topic without a name is answered %d", status)
		}
		c := s.at("/one/").dial("topics=" + private)
		broker.Produce(t, private, kafkatest.KV("k", "private"))
		broker.Produce(t, inKafka, kafkatest.KV("k", "for all"))
		c.expect(message(private, "for all"))
	})
}

// TestStartEarliestTransforms has clients read the past, and then go on live,
// through a chain, compressed and not.
func TestStartEarliestTransforms(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	const before, after = 300, 50
	produce := func(from, n int) {
		var records []*kgo.Record
		for i := range n {
			records = append(records, kafkatest.KV("", fmt.Sprintf(`{"n":%d}`, from+i)))
		}
		records = append(records, kafkatest.KV("", "fails"), kafkatest.KV("", `{"n":-1}`))
		broker.Produce(t, topic, records...)
	}
	produce(0, before)
	s := startSite(t, broker.Addr(), open+"start earliest\ncompression\n"+
		"transform out filter `int(record.value.n) % 2 == 0`\ntransform out jq `{double: (2 * .n)}`\n")
	compressed := *s
	compressed.deflate = true
	for _, c := range []*client{s.dial("topics=" + topic), compressed.dial("topics=" + topic)} {
		for n := 0; n < before; n += 2 {
			c.expect(fmt.Sprintf(`{"topic":"%s","message":"{\"double\":%d}"}`, topic, 2*n))
		}
		defer func() {
			for n := before; n < before+after; n += 2 {
				c.expect(fmt.Sprintf(`{"topic":"%s","message":"{\"double\":%d}"}`, topic, 2*n))
			}
		}()
	}
	produce(before, after)
}

// TestFailingTransformIsLoggedOnceInAWhile has many records fail in both
// directions.
func TestFailingTransformIsLoggedOnceInAWhile(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	filter := "filter record.value.ok\n"
	s := startHandlers(t, handleBlock("/in/", broker.Addr(), open+"transform in "+filter)+
		handleBlock("/out/", broker.Addr(), open+"transform out "+filter))
	const failures = 200
	ok := `{"ok":true}`
	c := s.at("/in/").dial("topics=" + topic)
	for range failures {
		c.publishValue(topic, "no object")
	}
	c.publishValue(topic, ok)
	c.read()
	reader := s.at("/out/").dial("topics=" + topic)
	records := make([]*kgo.Record, 0, failures)
	for range failures {
		records = append(records, kafkatest.KV("k", "no object"))
	}
	broker.Produce(t, topic, append(records, kafkatest.KV("k", ok))...)
	reader.read()
	for _, line := range []string{"a transform failed on a client's record, which was dropped", "a record could not be transformed or encoded and was skipped"} {
		var lines []string
		await(t, "the log line "+line, func() bool {
			lines = nil
			for logged := range strings.Lines(s.Log()) {
				if strings.Contains(logged, line) {
					lines = append(lines, logged)
				}
			}
			return len(lines) > 0
		})
		if len(lines) > failures/4 {
			t.Errorf("%q is logged %d times", line, len(lines))
		}
		if !strings.Contains(lines[0], `"topic":"`+topic+`"`) || !strings.Contains(lines[0], `"error":"`) {
			t.Errorf("the log has %s", lines[0])
		}
	}
	if got := s.count(errorMetric); got != failures {
		t.Errorf("%d errors are counted", got)
	}
	if got := s.count(skippedMetric); got != failures {
		t.Errorf("%d skipped records are counted", got)
	}
}
