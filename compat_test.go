package kafkaws_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// compat is a site with a real Kafka, for the tests of the wire that clients of
// kafka-websocket (Java, 2015) speak. Each test is named after what that program
// does, and has to be kept, or after what is done differently here.
type compat struct {
	*site
	kafka *kafkatest.Broker
}

// TestCompat goes through the wire of the two subprotocols of kafka-websocket.
func TestCompat(t *testing.T) {
	kafka := kafkatest.Shared(t)
	addr := freeAddr(t)
	caddyfile := global + fmt.Sprintf("http://%s {\n", addr)
	for path, directives := range map[string]string{
		brokerPath:  open,
		"/deflate/": open + "compression",
		"/origins/": open + "origins https://page.example",
		"/reject/":  open + "missing_topics reject",
		"/limit/":   open + "max_message_size 1000",
		"/ping/":    open + "ping_interval 100ms",
		"/narrow/":  "subscribe *\npublish allowed.*",
		"/create/":  open + "producer {\ncreate_topics\n}",
	} {
		caddyfile += handleBlock(path, kafka.Addr(), directives)
	}
	caddyfile += handleBlock("/down/", freeAddr(t), open+"publish_timeout 1s\nping_interval 100ms") + "}\n"
	c := compat{&site{caddyProcess: startCaddy(t, caddyfile), addr: addr, path: brokerPath}, kafka}

	for _, group := range []struct {
		name string
		test func(compat, func(string, func(compat)))
	}{
		{"handshake", compat.handshake},
		{"text frames", compat.textFrames},
		{"binary frames", compat.binaryFrames},
		{"both", compat.both},
		{"Kafka", compat.kafkaSide},
		{"exit", compat.exit}, // the last, for it ends the site
	} {
		t.Run(group.name, func(t *testing.T) {
			group.test(c.with(t), func(name string, test func(compat)) {
				t.Run(name, func(t *testing.T) { test(c.with(t)) })
			})
		})
	}
}

func (c compat) with(t testing.TB) compat { return compat{c.site.with(t), c.kafka} }

func (c compat) at(path string) compat { return compat{c.site.at(path), c.kafka} }

// topic makes a topic.
func (c compat) topic(partitions int) string {
	c.t.Helper()
	name := kafkatest.Topic(c.t)
	c.kafka.CreateTopic(c.t, name, partitions, nil)
	return name
}

// exists asks Kafka about a topic.
func (c compat) exists(topic string) bool {
	c.t.Helper()
	topics, err := c.kafka.Admin(c.t).ListTopics(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return topics.Has(topic)
}

// line is the text message of a record without a key.
func line(topic, message string) string {
	return fmt.Sprintf(`{"topic":%q,"message":%q}`, topic, message)
}

// layout is the binary message of a record.
func layout(topic, value string) string {
	return string([]byte{byte(len(topic))}) + topic + value
}

// echo publishes to a topic that the client follows, and hears it.
func (c *client) echo(topic, message string) {
	c.t.Helper()
	c.send(line(topic, message))
	c.expect(line(topic, message))
}

func (c compat) handshake(test func(string, func(compat))) {
	test("topics=a,b and parameters of no meaning", func(c compat) {
		a, b := c.topic(1), c.topic(1)
		ws := c.dial("topics=" + a + "," + b + "&topic=c&zookeeper.connect=host&since=now")
		ws.echo(a, "1")
		ws.echo(b, "2")
	})
	test("without topics nothing is received, and publishing works", func(c compat) {
		topic := c.topic(1)
		hears := c.dial("topics=" + topic)
		for i, query := range []string{"", "topics", "topics=", "&&", "topics=,", "topics=&topics"} {
			raw := c.upgraded(query)
			message := line(topic, fmt.Sprint(i))
			raw.write(masked(fin|opText, message))
			hears.expect(message)
			raw.write(masked(fin|opPing, ""))
			if first, payload := raw.frame(); first != fin|opPong {
				c.t.Errorf("%q received %#x %q", query, first, payload)
			}
		}
	})
	test("percent-encoding in the query is decoded", func(c compat) {
		a, b := c.topic(1), c.topic(1)
		ws := c.dial(fmt.Sprintf("%%74opics=%%%02x%s%%2c%s", a[0], a[1:], b))
		ws.echo(a, "1")
		ws.echo(b, "2")
	})
	test("the same topic twice is the same topic once", func(c compat) {
		a := c.topic(1)
		ws := c.dial("topics=" + a + "," + a + "&topics=" + a)
		ws.echo(a, "1")
		ws.echo(a, "2")
	})
	test("without a known subprotocol it is kafka-text, and none is named", func(c compat) {
		topic := c.topic(1)
		for _, offered := range [][]string{nil, {"foo"}, {"KAFKA-TEXT"}, {"Kafka-Binary, kafka-"}} {
			raw, resp := c.ask("topics="+topic, func(r *http.Request) { r.Header["Sec-WebSocket-Protocol"] = offered })
			if _, named := resp.Header["Sec-Websocket-Protocol"]; named || resp.StatusCode != 101 {
				c.t.Fatalf("%q: %s with %q", offered, resp.Status, resp.Header["Sec-Websocket-Protocol"])
			}
			raw.write(masked(fin|opText, line(topic, "x")))
			if first, payload := raw.frame(); first != fin|opText || payload != line(topic, "x") {
				c.t.Errorf("%q: got %#x %q", offered, first, payload)
			}
		}
	})
	test("of several subprotocols the first that is known is taken, in the client's order", func(c compat) {
		for want, offers := range map[string][][]string{
			"kafka-text":   {{"kafka-text, kafka-binary"}, {"kafka-text", "kafka-binary"}, {"foo,kafka-text,kafka-binary"}, {"foo", "kafka-text"}},
			"kafka-binary": {{"kafka-binary, kafka-text"}, {"kafka-binary", "kafka-text"}, {"KAFKA-TEXT , kafka-binary"}, {"", "kafka-binary"}},
		} {
			for _, offered := range offers {
				_, resp := c.ask("", func(r *http.Request) { r.Header["Sec-WebSocket-Protocol"] = offered })
				if got := resp.Header.Values("Sec-WebSocket-Protocol"); !slices.Equal(got, []string{want}) {
					c.t.Errorf("%q: got %q, want %s", offered, got, want)
				}
			}
		}
	})
	test("permessage-deflate is negotiated when it is configured", func(c compat) {
		topic := c.topic(1)
		offer := func(r *http.Request) {
			r.Header["Sec-WebSocket-Extensions"] = []string{"permessage-deflate; client_max_window_bits"}
		}
		plain, resp := c.ask("topics="+topic, offer)
		if got, negotiated := resp.Header["Sec-Websocket-Extensions"]; negotiated {
			c.t.Errorf("without compression: %q", got)
		}
		deflated, resp := c.at("/deflate/").ask("topics="+topic, offer)
		if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != "permessage-deflate; server_no_context_takeover; client_no_context_takeover" {
			c.t.Errorf("with compression: %q", got)
		}
		// The library of this test inflates and deflates by itself.
		d := websocket.Dialer{EnableCompression: true}
		library, _, err := d.Dial(c.at("/deflate/").url("topics="+topic), nil)
		if err != nil {
			c.t.Fatal(err)
		}
		defer library.Close()
		message := line(topic, strings.Repeat("over and ", 100))
		if err := library.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			c.t.Fatal(err)
		}
		if _, got, err := library.ReadMessage(); err != nil || string(got) != message {
			c.t.Errorf("got %q, %v", got, err)
		}
		if first, payload := plain.frame(); first != fin|opText || payload != message {
			c.t.Errorf("without compression: %#x %q", first, payload)
		}
		if first, payload := deflated.frame(); first != fin|0x40|opText || len(payload) > len(message)/2 {
			c.t.Errorf("with compression: %#x and %d bytes", first, len(payload))
		}
	})
	test("the origin is the site's own host, or allowed by origins", func(c compat) {
		status := func(path, origin string) int {
			_, resp := c.at(path).ask("", func(r *http.Request) {
				if origin != "" {
					r.Header["Origin"] = []string{origin}
				}
			})
			return resp.StatusCode
		}
		for _, try := range []struct {
			path, origin string
			want         int
		}{
			{brokerPath, "", 101},
			{brokerPath, "http://" + c.addr, 101},
			{brokerPath, "https://page.example", 403},
			{"/origins/", "https://page.example", 101},
			{"/origins/", "http://" + c.addr, 101},
			{"/origins/", "https://other.example", 403},
			{"/origins/", "null", 403},
		} {
			if got := status(try.path, try.origin); got != try.want {
				c.t.Errorf("%s %q: got %d, want %d", try.path, try.origin, got, try.want)
			}
		}
	})
	test("what is no upgrade to version 13 is refused", func(c compat) {
		_, resp := c.ask("", func(r *http.Request) { r.Header["Sec-WebSocket-Version"] = []string{"12"} })
		if resp.StatusCode != 400 || resp.Header.Get("Sec-WebSocket-Version") != "13" {
			c.t.Errorf("version 12: %s, %v", resp.Status, resp.Header)
		}
		_, resp = c.ask("", func(r *http.Request) { r.Header = http.Header{} })
		if resp.StatusCode != 426 || resp.Header.Get("Upgrade") != "websocket" {
			c.t.Errorf("GET: %s, %v", resp.Status, resp.Header)
		}
		_, resp = c.ask("", func(r *http.Request) { r.Method = http.MethodPost })
		if resp.StatusCode != 405 {
			c.t.Errorf("POST: %s", resp.Status)
		}
	})
	test("a group that the site does not allow is refused", func(c compat) {
		if status, _ := c.refused("group.id=g&topics="+c.topic(1), nil); status != 403 {
			c.t.Errorf("got %d", status)
		}
	})
	test("illegal names of topics and groups are refused", func(c compat) {
		for _, query := range []string{
			"topics=a/b", "topics=a%20b", "topics=.", "topics=..", "topics=%C3%A4", "topics=a%00", "topics=ok,a:b",
			"topics=" + strings.Repeat("x", 250), "group.id=a%2Fb", "group.id=" + strings.Repeat("x", 250),
		} {
			if status, _ := c.refused(query, nil); status != 400 {
				c.t.Errorf("%s: got %d", query, status)
			}
		}
	})
	test("a topic that does not exist yet begins with its first record", func(c compat) {
		topic, exists := kafkatest.Topic(c.t), c.topic(1)
		ws := c.dial("topics=" + topic + "," + exists)
		ws.echo(exists, "before")
		c.kafka.CreateTopic(c.t, topic, 1, nil)
		c.kafka.Produce(c.t, topic, kafkatest.KV("", "1"), kafkatest.KV("", "2"))
		ws.expect(line(topic, "1"), line(topic, "2"))
		ws.echo(topic, "3")
	})
	test("a topic that does not exist is refused with missing_topics reject", func(c compat) {
		topic := kafkatest.Topic(c.t)
		if status, _ := c.at("/reject/").refused("topics="+topic, nil); status != 404 {
			c.t.Errorf("got %d", status)
		}
		if c.exists(topic) {
			c.t.Error("looking for the topic made it")
		}
		c.kafka.CreateTopic(c.t, topic, 1, nil)
		await(c.t, "a session with the new topic", func() bool {
			_, resp := c.at("/reject/").ask("topics="+topic, nil)
			return resp.StatusCode == 101
		})
	})
}
