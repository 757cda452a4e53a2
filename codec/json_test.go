package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kafkaws/kafkaws/record"
)

func TestJSONAppend(t *testing.T) {
	at := time.UnixMilli(1716400000123)
	const before = `{"type":"record","topic":"aa","partition":0,"offset":0,"epoch":0,"timestamp":-1`
	for _, c := range []struct {
		name           string
		r              record.Record
		text, embedded string // embedded is empty where it is the same
	}{
		{
			"all members in their order",
			record.Record{Topic: "orders", Partition: 3, Epoch: 5, Offset: 17, Timestamp: at, Key: []byte("17"), Value: []byte("shipped"), Headers: []record.Header{{Key: "k", Value: []byte("v")}}},
			`{"type":"record","topic":"orders","partition":3,"offset":17,"epoch":5,"timestamp":1716400000123,"key":"17","value":"shipped","headers":[["k","v"]]}`, "",
		},
		{
			"an epoch that is not known",
			record.Record{Topic: "aa", Offset: 1, Epoch: record.NoEpoch, Value: []byte("m")},
			`{"type":"record","topic":"aa","partition":0,"offset":1,"timestamp":-1,"value":"m"}`, "",
		},
		{"no key, no time, no headers", record.Record{Topic: "aa", Value: []byte("m")}, before + `,"value":"m"}`, ""},
		{"an empty key is a key", record.Record{Topic: "aa", Key: []byte{}, Value: []byte{}}, before + `,"key":"","value":""}`, ""},
		{"a tombstone", record.Record{Topic: "aa", Key: []byte("k")}, before + `,"key":"k","value":null}`, ""},
		{
			"the largest numbers",
			record.Record{Topic: "aa", Partition: 1<<31 - 1, Epoch: 1<<31 - 1, Offset: 1<<63 - 1, Timestamp: time.UnixMilli(253402300799999), Value: []byte("m")},
			`{"type":"record","topic":"aa","partition":2147483647,"offset":9223372036854775807,"epoch":2147483647,"timestamp":253402300799999,"value":"m"}`, "",
		},
		{"1970 is a time", record.Record{Topic: "aa", Timestamp: time.UnixMilli(0), Value: []byte("m")}, `{"type":"record","topic":"aa","partition":0,"offset":0,"epoch":0,"timestamp":0,"value":"m"}`, ""},
		{"characters are escaped as in kafka-text", record.Record{Topic: "aa", Value: []byte("\"\\\x00\t\x7f</é\u2028")}, before + ",\"value\":\"\\\"\\\\\\u0000\\t\x7f</é\\u2028\"}", ""},
		{
			"bytes are base64",
			record.Record{Topic: "aa", Key: []byte{0xff}, Value: []byte{0xfb, 0xff, 0xfe, 'a'}, Headers: []record.Header{{Key: "b", Value: []byte{0xff, 0xff}}, {Key: "t", Value: []byte("é")}}},
			before + `,"key":"/w==","key_encoding":"base64","value":"+//+YQ==","value_encoding":"base64","headers":[["b","//8=","base64"],["t","é"]]}`, "",
		},
		{
			"headers: null, empty, twice",
			record.Record{Topic: "aa", Value: []byte("m"), Headers: []record.Header{{Key: "n"}, {Key: "", Value: []byte{}}, {Key: "n", Value: []byte("\"")}}},
			before + `,"value":"m","headers":[["n",null],["",""],["n","\""]]}`, "",
		},
		{"a header's name that is not UTF-8", record.Record{Topic: "aa", Value: []byte("m"), Headers: []record.Header{{Key: "a\xff\""}}}, before + ",\"value\":\"m\",\"headers\":[[\"a\uFFFD\\\"\",null]]}", ""},

		{"an object", record.Record{Topic: "aa", Value: []byte(` {"a": [1,"\u00e9"]} `)}, before + `,"value":" {\"a\": [1,\"\\u00e9\"]} "}`, before + `,"value": {"a": [1,"\u00e9"]} ,"value_encoding":"json"}`},
		{"a string", record.Record{Topic: "aa", Value: []byte(`"é"`)}, before + `,"value":"\"é\""}`, before + `,"value":"é","value_encoding":"json"}`},
		{"a number as it was written", record.Record{Topic: "aa", Value: []byte(`-1.50e+400`)}, before + `,"value":"-1.50e+400"}`, before + `,"value":-1.50e+400,"value_encoding":"json"}`},
		{"null is no tombstone", record.Record{Topic: "aa", Value: []byte(`null`)}, before + `,"value":"null"}`, before + `,"value":null,"value_encoding":"json"}`},
		{"U+2028 stands as it is", record.Record{Topic: "aa", Value: []byte("[\"\u2028\"]")}, before + `,"value":"[\"\u2028\"]"}`, before + ",\"value\":[\"\u2028\"],\"value_encoding\":\"json\"}"},
		{"an empty value is not JSON", record.Record{Topic: "aa", Value: []byte{}}, before + `,"value":""}`, ""},
		{"two values are not JSON", record.Record{Topic: "aa", Value: []byte(`{} {}`)}, before + `,"value":"{} {}"}`, ""},
		{"cut JSON is not JSON", record.Record{Topic: "aa", Value: []byte(`{"a":`)}, before + `,"value":"{\"a\":"}`, ""},
		{"a leading zero is not JSON", record.Record{Topic: "aa", Value: []byte(`007`)}, before + `,"value":"007"}`, ""},
		{"a byte order mark is not JSON", record.Record{Topic: "aa", Value: []byte("\ufeff{}")}, before + ",\"value\":\"\ufeff{}\"}", ""},
		{"a raw control character is not JSON", record.Record{Topic: "aa", Value: []byte("\"\t\"")}, before + `,"value":"\"\t\""}`, ""},
		{"JSON that is not UTF-8 is not JSON", record.Record{Topic: "aa", Value: []byte("\"\xff\"")}, before + `,"value":"Iv8i","value_encoding":"base64"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, codec := range []JSON{{}, JSON{}.EmbedValues()} {
				want := c.text
				if codec.embed && c.embedded != "" {
					want = c.embedded
				}
				got, err := codec.Append([]byte("before "), &c.r)
				if err != nil || string(got) != "before "+want {
					t.Errorf("got  %s (%v)\nwant %s", got, err, want)
				}
				if !json.Valid(got[len("before "):]) {
					t.Error("not JSON")
				}
			}
		})
	}
}

func TestEmbeddedDepth(t *testing.T) {
	for depth, want := range map[int]bool{1: true, maxEmbeddedDepth: true, maxEmbeddedDepth + 1: false, 5000: false} {
		for _, pair := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
			value := strings.Repeat(pair[0], depth-1) + "[]" + strings.Repeat(pair[1], depth-1)
			r := record.Record{Topic: "aa", Value: []byte(value)}
			got, _ := JSON{}.EmbedValues().Append(nil, &r)
			if embedded := bytes.HasSuffix(got, []byte(`,"value_encoding":"json"}`)); embedded != want {
				t.Errorf("%d levels of %s are embedded: %t", depth, pair[0], embedded)
			}
		}
	}
}

func TestEmbeddingNoJSONAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	for _, value := range []string{"no JSON", "{\"a\":1", "[1,2,}", "tru", "12 apples", "\"\x00\"", strings.Repeat("[", 1000)} {
		r := record.Record{Topic: "aa", Value: []byte(value)}
		if n := testing.AllocsPerRun(100, func() { _, _ = JSON{}.EmbedValues().Append(dst, &r) }); n != 0 {
			t.Errorf("%q allocates %v times", value, n)
		}
	}
}

// sentRecord is a record as encoding/json reads it.
type sentRecord struct {
	Type          string
	Topic         string
	Partition     int32
	Offset        int64
	Epoch         *int32
	Timestamp     int64
	Key           *string
	KeyEncoding   string `json:"key_encoding"`
	Value         json.RawMessage
	ValueEncoding string `json:"value_encoding"`
	Headers       [][]*string
}

// bytesOf returns what a string of a record stands for.
func bytesOf(t *testing.T, s *string, encoding string) []byte {
	t.Helper()
	switch {
	case s == nil:
		return nil
	case encoding == "":
		return []byte(*s)
	case encoding != "base64":
		t.Fatalf("encoding %q", encoding)
	}
	b, err := base64.StdEncoding.DecodeString(*s)
	if err != nil || utf8.Valid(b) {
		t.Fatalf("%q as base64 (%v)", *s, err)
	}
	return b
}

// record returns the record that was sent.
func (s *sentRecord) record(t *testing.T) *record.Record {
	t.Helper()
	r := &record.Record{Topic: s.Topic, Partition: s.Partition, Epoch: record.NoEpoch, Offset: s.Offset, Key: bytesOf(t, s.Key, s.KeyEncoding)}
	if s.Epoch != nil {
		r.Epoch = *s.Epoch
	}
	if s.Timestamp != -1 {
		r.Timestamp = time.UnixMilli(s.Timestamp)
	}
	if s.ValueEncoding == "json" {
		r.Value = s.Value
	} else {
		var text *string
		if err := json.Unmarshal(s.Value, &text); err != nil {
			t.Fatal(err)
		}
		r.Value = bytesOf(t, text, s.ValueEncoding)
	}
	for _, h := range s.Headers {
		encoding := ""
		if len(h) == 3 {
			encoding = *h[2]
		}
		r.Headers = append(r.Headers, record.Header{Key: *h[0], Value: bytesOf(t, h[1], encoding)})
	}
	return r
}

func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func FuzzJSONAppend(f *testing.F) {
	f.Add("aa", int32(0), int64(0), int64(1716400000123), []byte("k"), []byte(`{"a":1}`), "h", []byte("v"), uint8(0))
	f.Add("a\"b\xff", int32(7), int64(1<<62), int64(-1), []byte{0xff}, []byte("[1,\"\u2028\"]"), "\xff", []byte{0xfe}, uint8(1))
	f.Add("aa", int32(0), int64(0), int64(0), []byte{}, []byte("null"), "", []byte{}, uint8(0xff))
	f.Fuzz(func(t *testing.T, topic string, partition int32, offset, ms int64, key, value []byte, name string, headerValue []byte, absent uint8) {
		r := record.Record{Topic: topic, Partition: partition, Offset: offset, Key: append([]byte{}, key...), Value: append([]byte{}, value...)}
		if 0 <= ms && ms <= maxTimestamp {
			r.Timestamp = time.UnixMilli(ms)
		}
		if absent&8 != 0 {
			r.Epoch = record.NoEpoch
		} else {
			r.Epoch = partition & 0x7fffffff // some number
		}
		if absent&1 != 0 {
			r.Key = nil
		}
		if absent&2 != 0 {
			r.Value = nil
		}
		header := record.Header{Key: name, Value: append([]byte{}, headerValue...)}
		if absent&4 != 0 {
			header.Value = nil
		}
		for range absent >> 5 {
			r.Headers = append(r.Headers, header)
		}
		for _, c := range []JSON{{}, JSON{}.EmbedValues()} {
			message, err := c.Append(nil, &r)
			if err != nil || !utf8.Valid(message) || !json.Valid(message) || message[0] != '{' {
				t.Fatalf("%q (%v)", message, err)
			}
			var sent sentRecord
			if err := json.Unmarshal(message, &sent); err != nil {
				t.Fatalf("%s: %v", message, err)
			}
			if c.embed != (sent.ValueEncoding == "json") && (!c.embed || utf8.Valid(value) && json.Valid(value) && r.Value != nil && depth(value) <= maxEmbeddedDepth) {
				t.Fatalf("%s", message)
			}
			got := sent.record(t)
			want := r
			want.Topic = string(replaced([]byte(topic)))
			if sent.Type != "record" || got.Topic != want.Topic || got.Partition != want.Partition || got.Offset != want.Offset || got.Epoch != want.Epoch || !got.Timestamp.Equal(want.Timestamp) ||
				!same(got.Key, want.Key) || len(got.Headers) != len(want.Headers) {
				t.Fatalf("%s: %+v\nwant %+v", message, got, want)
			}
			// encoding/json drops the white space around an embedded value.
			if sent.ValueEncoding == "json" {
				want.Value = bytes.Trim(want.Value, " \t\r\n")
			}
			if !same(got.Value, want.Value) {
				t.Fatalf("%s: value %q, want %q", message, got.Value, want.Value)
			}
			for i, h := range got.Headers {
				if h.Key != string(replaced([]byte(name))) || !same(h.Value, header.Value) {
					t.Fatalf("%s: header %d is %+v", message, i, h)
				}
			}
		}
	})
}

// depth returns how deep JSON is nested.
func depth(s []byte) int {
	deepest, now := 0, 0
	d := json.NewDecoder(bytes.NewReader(s))
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			now++
			deepest = max(deepest, now)
		case json.Delim(']'), json.Delim('}'):
			now--
		}
	}
}

// TestJSONDecode: the codec alone, without a session, takes what needs no answer.
func TestJSONDecode(t *testing.T) {
	at := time.UnixMilli(1716400000123)
	r := record.Record{Topic: "before", Partition: 7, Offset: 7, Timestamp: at, Key: []byte("before"), Value: []byte("before"), Headers: []record.Header{{Key: "before"}}}
	ok, err := JSON{}.Decode(&r, false, []byte(`{"type":"publish","topic":"aa","value":"m1"}`))
	if err != nil || !ok || r.Topic != "aa" || string(r.Value) != "m1" || r.Partition != record.AnyPartition || r.Offset != 0 || !r.Timestamp.IsZero() || r.Key != nil || r.Headers != nil {
		t.Errorf("%t, %v, %+v", ok, err, r)
	}
	if ok, err := (JSON{}).Decode(&r, false, []byte(`{"type":"ping"}`)); ok || err != nil {
		t.Errorf("a ping: %t, %v", ok, err)
	}
	const one = `expected one request of the type "publish"`
	for message, want := range map[string]string{
		``:    "the message is not JSON: it ends too early",
		`[]`:  one,
		`"a"`: `the message must be a request, {"type":"...",...}, or an array of requests`,
		`[{"type":"publish","topic":"aa","value":"m"},{"type":"publish","topic":"aa","value":"m"}]`: one,
		`{"type":"subscribe","topic":"aa"}`:                one,
		`{"type":"` + strings.Repeat(`\u0001`, 100) + `"}`: one,
		`{}`:                              `the request has no "type"`,
		`{"type":"publish","topic":"aa"}`: `a publish request needs "value"; null is a tombstone`,
		`{"type":"publish","topic":"aa","value":"m","producer":"p","sequence":1}`:                                `"producer" and "sequence" need a session of kafka-json`,
		`{"type":"publish","topic":"aa","value":"m","timestamp":1.5}`:                                            `"timestamp" must be milliseconds since 1970, an integer, or a time such as "2026-01-31T12:00:00Z" (RFC 3339)`,
		fmt.Sprintf(`{"type":"publish","topic":"aa","value":%s}`, strings.Repeat("[", 1001)):                     "the message is nested deeper than 1000 levels",
		`{"type":"publish","topic":"aa","value":"m","headers":[["a","%","base64"]]}`:                             "a header is marked as base64 and is not: the standard alphabet, with padding",
		`{"type":"publish","topic":"aa","value":"m","producer":"` + strings.Repeat("x", 200) + `","sequence":1}`: `"producer" must be 1 to 128 bytes`,
	} {
		ok, err := JSON{}.Decode(&r, false, []byte(message))
		if ok || err == nil || err.Error() != want {
			t.Errorf("%.100s: %t, %v\nwant %s", message, ok, err, want)
			continue
		}
		checkReason(t, err)
	}
	if _, err := (JSON{}).Decode(&r, true, []byte(`{"type":"ping"}`)); err == nil || err.Error() != "kafka-json has text messages only" {
		t.Errorf("a binary frame: %v", err)
	}
}
