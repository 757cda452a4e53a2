package kafkaws_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

func (c compat) textFrames(test func(string, func(compat))) {
	test("out", func(c compat) {
		topic := c.topic(1)
		ws := c.dial("topics="+topic, "kafka-text")
		raw := c.upgraded("topics=" + topic)
		for _, r := range []struct{ key, value, want string }{
			{"", "m1", `"message":"m1"`},
			{"", "", `"message":""`},
			{"", `{"a": 1}`, `"message":"{\"a\": 1}"`},
			{"", "ä€😀 < > & ' = / \x7f", `"message":"ä€😀 < > & ' = / ` + "\x7f" + `"`},
			{"", "\" \\ \b\f\n\r\t \x00\x1f", `"message":"\" \\ \b\f\n\r\t \u0000\u001f"`},
			{"", "\u2028 \u2029 \u2027", `"message":"\u2028 \u2029 ` + "\u2027" + `"`},
			{"", "\xff and \xc3", `"message":"` + "\ufffd and \ufffd" + `"`},
			{"k", "v", `"key":"k","message":"v"`},
			{"ä\"\xff", "v", `"key":"ä\"` + "\ufffd" + `","message":"v"`},
			{"k", "\x00tombstone", `"key":"k","message":null`},
			{"", "\x00tombstone", `"message":null`},
			{"", strings.Repeat("x", 200), `"message":"` + strings.Repeat("x", 200) + `"`},
			{"k", strings.Repeat("x", 70_000), `"key":"k","message":"` + strings.Repeat("x", 70_000) + `"`},
		} {
			record := kafkatest.KV(r.key, r.value)
			if r.value == "\x00tombstone" {
				record.Value = nil
			}
			c.kafka.Produce(c.t, topic, record)
			want := fmt.Sprintf(`{"topic":%q,%s}`, topic, r.want)
			ws.expect(want)
			// One frame, not masked, and its length in the shortest form.
			raw.bytes(string(unmasked(fin|opText, want)))
		}
	})
	test("in", func(c compat) {
		topic := c.topic(1)
		ws := c.dial("topics=" + topic)
		some := func(s string) []byte { return []byte(s) }
		published := []struct {
			sent       string // @ stands for the topic
			key, value []byte
		}{
			{`{"topic":"@","message":"m"}`, nil, some("m")},
			{` { "message" : "m" , "key" : "k" , "topic" : "@" } `, some("k"), some("m")},
			{"\n{\t\"topic\":\r\"@\",\"message\":\"m\"}\n", nil, some("m")},
			{`{"topic":"@","key":"k","message":"m","partition":3,"x":{"topic":"y","message":[]},"y":[{}],"z":null}`, some("k"), some("m")},
			{`{"topic":"@","message":42}`, nil, some("42")},
			{`{"topic":"@","message":-0.50e+3,"key":7}`, some("7"), some("-0.50e+3")},
			{`{"topic":"@","message":true,"key":false}`, some("false"), some("true")},
			{`{"topic":"x","topic":"@","message":"1","message":"2","key":"1","key":"2"}`, some("2"), some("2")},
			{`{"topic":"@","message":"m","key":"k","key":null}`, nil, some("m")},
			{`{"topic":"@","key":"","message":"m"}`, nil, some("m")},
			{`{"topic":"@","key":null,"message":"m"}`, nil, some("m")},
			{`{"topic":"@","key":"k","message":""}`, some("k"), []byte{}},
			{`{"topic":"@","message":""}`, nil, []byte{}},
			{`{"topic":"@","key":"k","message":null}`, some("k"), nil},
			{`{"topic":"@","message":{"a": [1,2 , {"b":"\u00e4"}], "a":1e2}}`, nil, some(`{"a": [1,2 , {"b":"\u00e4"}], "a":1e2}`)},
			{`{"topic":"@","message":[ ]}`, nil, some(`[ ]`)},
			{`{"\u0074opic":"@","message":"\u00e4\ud83d\ude00\"\\\/\n\u0000"}`, nil, some("ä😀\"\\/\n\x00")},
			{`{"topic":"@","message":"ä€😀"}`, nil, some("ä€😀")},
		}
		for _, p := range published {
			ws.send(strings.ReplaceAll(p.sent, "@", topic))
			ws.text() // so it is written
		}
		records := c.kafka.ReadAll(c.t, topic)
		if len(records) != len(published) {
			c.t.Fatalf("%d records, want %d", len(records), len(published))
		}
		for i, p := range published {
			if r := records[i]; !sameBytes(r.Key, p.key) || !sameBytes(r.Value, p.value) {
				c.t.Errorf("%s: got %q %q", p.sent, r.Key, r.Value)
			}
		}
	})
	test("in, a required field is missing: ignored", func(c compat) {
		topic := c.topic(1)
		ws := c.dial("topics=" + topic)
		ignored := func() string { return c.metric("caddy_kafka_websocket_ignored_messages_total") }
		var before, after int
		_, _ = fmt.Sscan(ignored(), &before)
		heartbeats := []string{`{}`, ` { } `, `{"topic":"` + topic + `"}`, `{"message":"m"}`, `{"topic":"` + topic + `","key":"k"}`, `{"key":"k"}`, `{"other":1}`}
		for _, message := range heartbeats {
			ws.send(message)
		}
		ws.echo(topic, "lives")
		if _, _ = fmt.Sscan(ignored(), &after); after-before != len(heartbeats) {
			c.t.Errorf("%d messages were counted as ignored, want %d", after-before, len(heartbeats))
		}
		if records := c.kafka.ReadAll(c.t, topic); len(records) != 1 {
			c.t.Errorf("%d records", len(records))
		}
	})
	test("in, what is no JSON object closes with 1007 and a sentence", func(c compat) {
		topic := c.topic(1)
		for _, message := range []string{
			"", "no JSON", "[]", `"text"`, "42", "null", "{", `{"topic":"@","message":"m"} x`, `{"topic":"@","message":"m",}`,
			`{'topic':'@','message':'m'}`, `{topic:"@",message:"m"}`, `{"topic":"@","message":m}`, `{"topic":"@","message":"` + "\n" + `"}`,
			`{"topic":"@","message":null}`, `{"topic":"@","key":"","message":null}`, `{"topic":null,"message":"m"}`, `{"topic":{},"message":"m"}`,
			`{"topic":"@","key":[],"message":"m"}`, `{"topic":"@","message":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`,
		} {
			ws := c.dial("")
			ws.send(strings.ReplaceAll(message, "@", topic))
			if reason := ws.expectClose(1007); !isSentence(reason) {
				c.t.Errorf("%.50q was answered with %q", message, reason)
			}
		}
		if records := c.kafka.ReadAll(c.t, topic); len(records) != 0 {
			c.t.Errorf("%d records were written", len(records))
		}
	})
}

// unmasked is a server's frame.
func unmasked(first byte, payload string) []byte {
	frame := masked(first, payload)
	frame[1] &^= 0x80
	header := len(frame) - len(payload)
	return slices.Delete(frame, header-4, header)
}

// sameBytes also tells null from empty.
func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// isSentence reports whether the reason of a Close frame is one for people, and
// fits.
func isSentence(reason string) bool {
	return strings.Contains(reason, " ") && !strings.Contains(reason, "xception") && len(reason) <= 123 && utf8.ValidString(reason)
}

func (c compat) binaryFrames(test func(string, func(compat))) {
	test("in", func(c compat) {
		short := c.topic(1)
		middle := fmt.Sprintf("%-128s", short+".")
		long := fmt.Sprintf("%-249s", short+"_")
		middle, long = strings.ReplaceAll(middle, " ", "m"), strings.ReplaceAll(long, " ", "l")
		c.kafka.CreateTopic(c.t, middle, 1, nil)
		c.kafka.CreateTopic(c.t, long, 1, nil)
		ws := c.dial("topics="+strings.Join([]string{short, middle, long}, ","), "kafka-binary")
		for _, topic := range []string{short, middle, long} {
			for _, value := range []string{"v", "", "\x00\xff{}"} {
				if err := ws.WriteMessage(websocket.BinaryMessage, []byte(layout(topic, value))); err != nil {
					c.t.Fatal(err)
				}
				if kind, got := ws.read(); kind != websocket.BinaryMessage || got != layout(topic, value) {
					c.t.Fatalf("got the type %d %q", kind, got)
				}
			}
			records := c.kafka.ReadAll(c.t, topic)
			if len(records) != 3 || !sameBytes(records[1].Value, []byte{}) || records[0].Key != nil || string(records[2].Value) != "\x00\xff{}" {
				c.t.Errorf("topic of %d bytes: got %v", len(topic), records)
			}
		}
	})
	test("in, n longer than the frame, or no n: 1007", func(c compat) {
		for _, message := range []string{"", "\x02a", "\xffa", "\x01", "\x02\xc3("} {
			ws := c.dial("", "kafka-binary")
			if err := ws.WriteMessage(websocket.BinaryMessage, []byte(message)); err != nil {
				c.t.Fatal(err)
			}
			if reason := ws.expectClose(1007); !isSentence(reason) {
				c.t.Errorf("%q was answered with %q", message, reason)
			}
		}
	})
	test("in, a name that is none: 1008", func(c compat) {
		for _, message := range []string{"\x00value", layout("a/b", "v"), layout(strings.Repeat("x", 250), "v")} {
			ws := c.dial("", "kafka-binary")
			if err := ws.WriteMessage(websocket.BinaryMessage, []byte(message)); err != nil {
				c.t.Fatal(err)
			}
			ws.expectClose(websocket.ClosePolicyViolation)
		}
	})
	test("out", func(c compat) {
		topic := c.topic(1)
		raw := c.upgraded("topics="+topic, "kafka-binary")
		tombstone := kafkatest.KV("k", "")
		tombstone.Value = nil
		c.kafka.Produce(c.t, topic, kafkatest.KV("", "v"), kafkatest.KV("key", "\x00\xff\xc3("), kafkatest.KV("", ""), tombstone,
			kafkatest.KV("", strings.Repeat("\xff", 66_000)))
		for _, value := range []string{"v", "\x00\xff\xc3(", "", "", strings.Repeat("\xff", 66_000)} {
			raw.bytes(string(unmasked(fin|opBinary, layout(topic, value))))
		}
	})
}
