package codec

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

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
	for _, c := range benchmarked() {
		for _, p := range payloads {
			b.Run(c.name+"/"+p.name, func(b *testing.B) {
				r := record.Record{Topic: "orders", Offset: 123456, Timestamp: time.UnixMilli(1716400000123), Key: []byte("17"), Value: p.value}
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

// named is a codec with its name in benchmarks.
type named struct {
	name string
	Codec
}

func benchmarked() []named {
	return []named{{"kafka-text", Text{}}, {"kafka-binary", Binary{}}, {"kafka-json", JSON{}}, {"kafka-json-embedding", JSON{}.EmbedValues()}}
}

// clientMessages are messages to be decoded, by what their value is.
func clientMessages() map[string][]byte {
	m := map[string][]byte{"nested": []byte(`{"topic":"orders","key":"17","message":` + string(payloads[1].value) + `}`)}
	for _, p := range payloads[:2] {
		m[p.name], _ = Text{}.Append(nil, &record.Record{Topic: "orders", Key: []byte("17"), Value: p.value})
	}
	return m
}

// publishRequests are the same as publish requests of kafka-json, and one with
// all that there is.
func publishRequests() map[string][]byte {
	m := make(map[string][]byte)
	for name, message := range clientMessages() {
		m[name] = bytes.Replace(bytes.Replace(message, []byte(`{"topic"`), []byte(`{"type":"publish","id":17,"topic"`), 1), []byte(`"message":`), []byte(`"value":`), 1)
	}
	m["full"] = []byte(`{"type":"publish","id":"a-17","topic":"orders","key":"17","value":{"a":1},"headers":[["source","page"],["trace","AQID","base64"]],` +
		`"partition":3,"timestamp":1716400000123,"producer":"tab-1","sequence":18}`)
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
	for name, message := range publishRequests() {
		b.Run("kafka-json/"+name, func(b *testing.B) {
			var requests []Request
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if requests, err = DecodeRequests(requests[:0], message); err != nil || requests[0].Failure != nil {
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
	for _, c := range benchmarked() {
		for _, p := range payloads {
			r := record.Record{
				Topic: "orders", Offset: 123456, Timestamp: time.UnixMilli(1716400000123), Key: []byte("17"), Value: p.value,
				Headers: []record.Header{{Key: "k", Value: []byte("v")}, {Key: strings.Repeat("Ж\"", 50)}, {Key: "b", Value: []byte{0xff}}},
			}
			if n := testing.AllocsPerRun(100, func() { _, _ = c.Append(dst, &r) }); n != 0 {
				t.Errorf("%s: Append of %s allocates %v times", c.name, p.name, n)
			}
		}
	}
	replies := map[string]appender{
		"published": &Published{ID: []byte("7"), Offset: 18, Timestamp: time.UnixMilli(1716400000123)},
		"discarded": &Discarded{ID: []byte("7")},
		"error":     &Failure{ID: []byte("7"), Code: CodeUnavailable, Message: strings.Repeat("é\"", 50), Outcome: OutcomeFailed, KafkaError: "K"},
		"pong":      &Pong{ID: []byte("7")},
	}
	for name, reply := range replies {
		if n := testing.AllocsPerRun(100, func() { reply.Append(dst) }); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
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
	requests := publishRequests()
	for name, want := range map[string]float64{
		"plain": 0, "nested": 0, // the record is where the message is
		"json": 1, // the bytes of what has escapes
		"full": 1, // the bytes of the header in base64
	} {
		var decoded []Request
		n := testing.AllocsPerRun(100, func() {
			var err error
			if decoded, err = DecodeRequests(decoded[:0], requests[name]); err != nil || len(decoded) != 1 || decoded[0].Failure != nil {
				t.Fatal(err, decoded)
			}
		})
		if n != want {
			t.Errorf("DecodeRequests of %s allocates %v times, want %v", name, n, want)
		}
	}
}
