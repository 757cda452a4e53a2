package codec

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kafkaws/kafkaws/record"
)

// payloads are values of about 200 bytes, from the kindest to the unkindest.
var payloads = []struct {
	name  string
	value []byte
}{
	{"plain", []byte(strings.Repeat("the quick brown fox jumps over ", 7)[:200])},
	{"json", []byte(`{"id":123456,"user":"alice","action":"click","page":"/home","ts":1716400000123,"tags":["a","b","c"],"geo":{"lat":52.52,"lon":13.405},"ua":"Mozilla/5.0 (X11; Linux x86_64)","ref":"https://kafka.local"}`)},
	{"lines", []byte(strings.Repeat("line\n", 40))},
	{"cyrillic", []byte(strings.Repeat("Ж", 100))},
	{"chinese", []byte(strings.Repeat("日本語", 22))},
	{"invalid", []byte(strings.Repeat("protobuf\x12\xff", 20))},
}

func BenchmarkQuote(b *testing.B) {
	for _, p := range payloads[:len(payloads)-1] {
		for _, f := range []struct {
			name   string
			append func(dst, s []byte) []byte
		}{{"words", appendQuoted}, {"bytes", appendQuotedByBytes}} {
			b.Run(p.name+"/"+f.name, func(b *testing.B) {
				dst := make([]byte, 0, 4096)
				for b.Loop() {
					f.append(dst, p.value)
				}
			})
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range []Codec{Text{}, Binary{}} {
		for _, p := range payloads {
			b.Run(c.Subprotocol()+"/"+p.name, func(b *testing.B) {
				r := record.Record{Topic: "orders", Key: []byte("17"), Value: p.value}
				dst := make([]byte, 0, 4096)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Append(dst, &r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// clientMessages are messages to be decoded, by what their value is.
func clientMessages() map[string][]byte {
	m := map[string][]byte{"nested": []byte(`{"topic":"orders","key":"17","message":` + string(payloads[1].value) + `}`)}
	for _, p := range payloads[:2] {
		m[p.name], _ = Text{}.Append(nil, &record.Record{Topic: "orders", Key: []byte("17"), Value: p.value})
	}
	return m
}

func BenchmarkDecode(b *testing.B) {
	for name, message := range clientMessages() {
		b.Run("kafka-text/"+name, func(b *testing.B) {
			var r record.Record
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := (Text{}).Decode(&r, false, message); !ok || err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("encoding-json/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var m struct {
					Topic, Key string
					Message    json.RawMessage
				}
				if err := json.Unmarshal(message, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("kafka-binary", func(b *testing.B) {
		message := append([]byte("\x06orders"), payloads[0].value...)
		var r record.Record
		b.ReportAllocs()
		for b.Loop() {
			if ok, err := (Binary{}).Decode(&r, true, message); !ok || err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestAllocations(t *testing.T) {
	dst := make([]byte, 0, 4096)
	for _, c := range []Codec{Text{}, Binary{}} {
		for _, p := range payloads {
			r := record.Record{Topic: "orders", Key: []byte("17"), Value: p.value}
			if n := testing.AllocsPerRun(100, func() { _, _ = c.Append(dst, &r) }); n != 0 {
				t.Errorf("%s: Append of %s allocates %v times", c.Subprotocol(), p.name, n)
			}
		}
	}
	var r record.Record
	decodes := func(name string, binary bool, message []byte, want float64) {
		t.Helper()
		n := testing.AllocsPerRun(100, func() {
			if _, err := (Text{}).Decode(&r, binary, message); err != nil {
				t.Fatal(err)
			}
		})
		if n != want {
			t.Errorf("Decode of %s allocates %v times, want %v", name, n, want)
		}
	}
	messages := clientMessages()
	decodes("a binary message", true, []byte("\x06orders17"), 0)
	decodes("a message without escapes", false, messages["plain"], 0)
	decodes("a nested message", false, messages["nested"], 0)
	decodes("a message with escapes", false, messages["json"], 1)
	decodes("key and message with escapes", false, []byte(`{"topic":"orders","key":"\n","message":"\n"}`), 1)
	decodes("a heartbeat", false, []byte(`{}`), 0)
}
