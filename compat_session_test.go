package kafkaws_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

func (c compat) both(test func(string, func(compat))) {
	test("the subprotocol decides the outgoing form alone", func(c compat) {
		topic := c.topic(1)
		text, binary := c.dial("topics="+topic, "kafka-text"), c.dial("topics="+topic, "kafka-binary")
		for i, sender := range []*client{text, binary} {
			for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
				value := fmt.Sprint(i, kind)
				message := line(topic, value)
				if kind == websocket.BinaryMessage {
					message = layout(topic, value)
				}
				if err := sender.WriteMessage(kind, []byte(message)); err != nil {
					c.t.Fatal(err)
				}
				text.expect(line(topic, value))
				if kind, got := binary.read(); kind != websocket.BinaryMessage || got != layout(topic, value) {
					c.t.Fatalf("got the type %d %q", kind, got)
				}
			}
		}
	})
	test("the limit of a message, whole or in fragments", func(c compat) {
		topic := c.topic(1)
		limited := c.at("/limit/")
		of := func(size int) string { return layout(topic, strings.Repeat("x", size-1-len(topic))) }
		raw := limited.upgraded("topics="+topic, "kafka-binary")
		raw.write(masked(fin|opBinary, of(1000)))
		raw.write(masked(opBinary, of(1000)[:600]), masked(opContinuation, ""), masked(fin|opContinuation, of(1000)[600:]))
		for range 2 {
			raw.bytes(string(unmasked(fin|opBinary, of(1000))))
		}
		// What the server sends is not limited.
		c.kafka.Produce(c.t, topic, kafkatest.KV("", strings.Repeat("y", 100_000)))
		raw.bytes(string(unmasked(fin|opBinary, layout(topic, strings.Repeat("y", 100_000)))))

		for _, frames := range [][][]byte{
			{masked(fin|opBinary, of(1001))},
			{masked(opBinary, of(1000)), masked(fin|opContinuation, "x")},
			{masked(opBinary, of(1000)), masked(opContinuation, "x")}, // and no end
			{masked(fin|opText, strings.Repeat(" ", 1001))},
		} {
			raw := limited.upgraded("", "kafka-binary")
			raw.write(frames...)
			raw.expectClose(1009)
		}
		if records := c.kafka.ReadAll(c.t, topic); len(records) != 3 {
			c.t.Errorf("%d records", len(records))
		}
		// The original's limit was 65,536 bytes.
		ws := c.dial("topics=" + topic)
		ws.echo(topic, strings.Repeat("z", 100_000))
	})
	test("fragments are joined, with control frames between them", func(c compat) {
		topic := c.topic(1)
		raw := c.upgraded("topics=" + topic)
		message := line(topic, "ä€")
		for i := range len(message) {
			if i == 0 {
				raw.write(masked(opText, message[:1]))
				continue
			}
			raw.write(masked(opContinuation, message[i:i+1]), masked(fin|opPing, "p"))
		}
		raw.write(masked(fin|opContinuation, ""))
		for range len(message) - 1 {
			raw.bytes(string(unmasked(fin|opPong, "p")))
		}
		raw.bytes(string(unmasked(fin|opText, message)))
	})
	test("a ping is answered with its payload", func(c compat) {
		raw := c.upgraded("")
		for _, payload := range []string{"", "payload \x00\xff", strings.Repeat("x", 125)} {
			raw.write(masked(fin|opPing, payload))
			raw.bytes(string(unmasked(fin|opPong, payload)))
		}
		raw.write(masked(fin|opPong, "of its own accord"), masked(fin|opPing, "still"))
		raw.bytes(string(unmasked(fin|opPong, "still")))
	})
	test("pings are sent", func(c compat) {
		raw := c.at("/ping/").upgraded("")
		for range 3 {
			first, payload := raw.frame()
			if first != fin|opPing {
				c.t.Fatalf("got %#x %q", first, payload)
			}
			raw.write(masked(fin|opPong, payload))
		}
	})
	test("the client's close code is echoed, at once", func(c compat) {
		for _, code := range []int{1000, 1001, 3000, 4321} {
			raw := c.upgraded("")
			raw.write(masked(fin|opClose, string([]byte{byte(code >> 8), byte(code)})+"reason"))
			raw.expectClose(code)
		}
		raw := c.upgraded("")
		raw.write(masked(fin|opClose, ""))
		if first, payload := raw.frame(); first != fin|opClose || payload != "" && payload != "\x03\xe8" {
			c.t.Errorf("a close without a code was answered with %#x %q", first, payload)
		}
		raw.end()
	})
	for name, frames := range map[string][]byte{
		"not masked":                  unmasked(fin|opText, "{}"),
		"opcode 3":                    masked(fin|0x3, ""),
		"opcode 11":                   masked(fin|0xb, ""),
		"a reserved bit":              masked(fin|0x40|opText, "{}"),
		"a long ping":                 masked(fin|opPing, strings.Repeat("x", 126)),
		"a ping in fragments":         masked(opPing, ""),
		"a continuation of nothing":   masked(fin|opContinuation, "{}"),
		"a message inside of another": slices.Concat(masked(opText, "{"), masked(fin|opText, "{}")),
		"a close with 1005":           masked(fin|opClose, "\x03\xed"),
		"a close with 999":            masked(fin|opClose, "\x03\xe7"),
		"a close that is not UTF-8":   masked(fin|opClose, "\x03\xe8\xff"),
	} {
		test("frames that RFC 6455 forbids close with 1002: "+name, func(c compat) {
			raw := c.upgraded("")
			raw.write(frames)
			raw.expectClose(1002)
		})
	}
	test("invalid UTF-8 in text closes with 1007", func(c compat) {
		for _, frames := range [][]byte{
			masked(fin|opText, `{"topic":"a","message":"`+"\xff"+`"}`),
			masked(fin|opText, "{}\xc3"),
			slices.Concat(masked(opText, "{\xc3"), masked(fin|opContinuation, "}")),
			masked(fin|opText, "\xed\xa0\x80"),
			masked(opText, "\xff"), // before the message has ended
		} {
			raw := c.upgraded("")
			raw.write(frames)
			raw.expectClose(1007)
		}
	})
}

func (c compat) exit(test func(string, func(compat))) {
	test("SIGTERM closes with 1001", func(c compat) {
		topic := c.topic(1)
		var sessions []*client
		for range 5 {
			sessions = append(sessions, c.dial("topics="+topic))
		}
		c.terminate()
		for _, ws := range sessions {
			if reason := ws.expectClose(1001); !isSentence(reason) {
				c.t.Errorf("the reason is %q", reason)
			}
		}
	})
}
