package codec

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kafkaws/kafkaws/record"
)

func TestTextAppend(t *testing.T) {
	for _, c := range []struct {
		name string
		r    record.Record
		want string
	}{
		{"compact, topic before message", record.Record{Topic: "aa", Value: []byte("m1")}, `{"topic":"aa","message":"m1"}`},
		{"key between them", record.Record{Topic: "aa", Key: []byte("k"), Value: []byte("m1")}, `{"topic":"aa","key":"k","message":"m1"}`},
		{"an empty key is no key", record.Record{Topic: "aa", Key: []byte{}, Value: []byte("m1")}, `{"topic":"aa","message":"m1"}`},
		{"an empty record", record.Record{Topic: "aa", Value: []byte{}}, `{"topic":"aa","message":""}`},
		{"a tombstone", record.Record{Topic: "aa", Key: []byte("k")}, `{"topic":"aa","key":"k","message":null}`},
		{"a tombstone without a key", record.Record{Topic: "aa"}, `{"topic":"aa","message":null}`},
		{"non-ASCII is raw", record.Record{Topic: "aa", Value: []byte("Жук 日本 é 😀 \u0080\u2027\u202a\ufeff")}, "{\"topic\":\"aa\",\"message\":\"Жук 日本 é 😀 \u0080\u2027\u202a\ufeff\"}"},
		{"< > & ' = are raw, and DEL and /", record.Record{Topic: "aa", Value: []byte("<a href='/x'>&=\x7f")}, "{\"topic\":\"aa\",\"message\":\"<a href='/x'>&=\x7f\"}"},
		{"quote and backslash are escaped", record.Record{Topic: "aa", Value: []byte(`{"a":"\\"}`)}, `{"topic":"aa","message":"{\"a\":\"\\\\\"}"}`},
		{"control characters are escaped", record.Record{Topic: "aa", Value: []byte("\x00\x01\a\b\t\n\v\f\r\x0e\x1b\x1f ")}, `{"topic":"aa","message":"\u0000\u0001\u0007\b\t\n\u000b\f\r\u000e\u001b\u001f "}`},
		{"U+2028 and U+2029 are escaped", record.Record{Topic: "aa", Value: []byte("a\u2028b\u2029")}, `{"topic":"aa","message":"a\u2028b\u2029"}`},
		{"invalid UTF-8 becomes U+FFFD", record.Record{Topic: "aa", Key: []byte("\xff"), Value: []byte("a\xe2\x82b\"\xed\xa0\x80\xf0\x90")}, "{\"topic\":\"aa\",\"key\":\"\uFFFD\",\"message\":\"a\uFFFDb\\\"\uFFFD\uFFFD\"}"},
		{"a topic's name that a transform made", record.Record{Topic: "a\"b\xffЖ", Value: []byte("m")}, "{\"topic\":\"a\\\"b\uFFFDЖ\",\"message\":\"m\"}"},
		{"place, time and headers are not carried", record.Record{Topic: "aa", Partition: 3, Offset: 9, Timestamp: time.Unix(1, 0), Headers: []record.Header{{Key: "h"}}, Value: []byte("m")}, `{"topic":"aa","message":"m"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Text{}.Append([]byte("before "), &c.r)
			if err != nil || string(got) != "before "+c.want {
				t.Errorf("%s (%v)\nwant   %s", got, err, c.want)
			}
			if !json.Valid(got[len("before "):]) {
				t.Error("not JSON")
			}
		})
	}
}

// outcome is what Decode made of a message: a record, the text of an error, or
// neither if the message was ignored.
type outcome struct {
	topic      string
	key, value []byte
	taken      bool
	err        string
}

func decode(t *testing.T, c Codec, binary bool, message []byte) outcome {
	t.Helper()
	before := bytes.Clone(message)
	// What was in r before must not shine through.
	r := record.Record{
		Topic: "before", Partition: 7, Offset: 7, Timestamp: time.Unix(7, 0),
		Key: []byte("before"), Value: []byte("before"), Headers: []record.Header{{Key: "before"}},
	}
	ok, err := c.Decode(&r, binary, message)
	if !bytes.Equal(message, before) {
		t.Fatalf("the message was changed: %q", message)
	}
	if err != nil {
		if ok {
			t.Fatal("an error and true")
		}
		checkReason(t, err)
		return outcome{err: err.Error()}
	}
	if !ok {
		return outcome{}
	}
	if r.Partition != record.AnyPartition || r.Offset != 0 || !r.Timestamp.IsZero() || r.Headers != nil {
		t.Fatalf("left over: %+v", r)
	}
	if len(r.Key) != cap(r.Key) || len(r.Value) != cap(r.Value) {
		t.Fatalf("key or value have room behind them: %d of %d, %d of %d", len(r.Key), cap(r.Key), len(r.Value), cap(r.Value))
	}
	if !utf8.ValidString(r.Topic) {
		t.Fatalf("topic %q", r.Topic)
	}
	return outcome{topic: r.Topic, key: r.Key, value: r.Value, taken: true}
}

func taken(topic, key, value string) outcome {
	o := outcome{topic: topic, value: []byte(value), taken: true}
	if key != "" {
		o.key = []byte(key)
	}
	return o
}

func failed(err string) outcome { return outcome{err: err} }

var textMessages = []struct {
	name, message string
	want          outcome
}{
	{"topic and message", `{"topic":"aa","message":"m1"}`, taken("aa", "", "m1")},
	{"topic, key and message", `{"topic" : "my_topic", "key" : "my_key123", "message" : "my awesome message" }`, taken("my_topic", "my_key123", "my awesome message")},
	{"any order", `{"message":"m1","key":"k","topic":"aa"}`, taken("aa", "k", "m1")},
	{"white space", " \t\r\n{ \"topic\"\n:\t\"aa\" ,\r\"message\" : \"m1\" } \n", taken("aa", "", "m1")},
	{"other fields are ignored", `{"id":1,"topic":"aa","x":{"topic":"bb","y":[{},[],null,"]"]},"message":"m1","z":[[]]}`, taken("aa", "", "m1")},
	{"a number is taken as its text, as written", `{"topic":"aa","key":-0.10e+02,"message":12345678901234567890.50}`, taken("aa", "-0.10e+02", "12345678901234567890.50")},
	{"a boolean is taken as its text", `{"topic":"aa","key":false,"message":true}`, taken("aa", "false", "true")},
	{"a number as the topic is taken as its text", `{"topic":17,"message":"m"}`, taken("17", "", "m")},
	{"on duplicates the last wins", `{"topic":"aa","key":"k","message":"m1","message":"m2","topic":"bb","key":"l"}`, taken("bb", "l", "m2")},
	{"on duplicates the last wins, null and object included", `{"topic":null,"key":{},"message":{},"topic":"bb","key":null,"message":"m2"}`, taken("bb", "", "m2")},
	{"an empty key is no key", `{"topic":"aa","key":"","message":"m1"}`, taken("aa", "", "m1")},
	{"an empty message is an empty record", `{"topic":"aa","message":""}`, taken("aa", "", "")},
	{"key null is no key", `{"topic":"aa","key":null,"message":"m1"}`, taken("aa", "", "m1")},
	{"message null is a tombstone", `{"topic":"aa","key":"k","message":null}`, outcome{topic: "aa", key: []byte("k"), taken: true}},
	{"message null needs a key", `{"topic":"aa","message":null}`, failed(errTombstone.Reason)},
	{"message null needs a key that is not empty", `{"topic":"aa","key":"","message":null}`, failed(errTombstone.Reason)},
	{"message null needs a key that is not null", `{"topic":"aa","key":null,"message":null}`, failed(errTombstone.Reason)},
	{"an object as message is its text as sent", `{"topic":"aa","message": {"b" : [1.0, "\u0041\n"],  "a":{}} }`, taken("aa", "", `{"b" : [1.0, "\u0041\n"],  "a":{}}`)},
	{"an array as message is its text as sent", `{"topic":"aa","message":[ ]}`, taken("aa", "", `[ ]`)},
	{"an object as key", `{"topic":"aa","key":{},"message":"m"}`, failed(errKeyType.Reason)},
	{"an array as key", `{"topic":"aa","key":["k"],"message":"m"}`, failed(errKeyType.Reason)},
	{"an object as topic", `{"topic":{},"message":"m"}`, failed(errTopicType.Reason)},
	{"null as topic", `{"topic":null,"message":"m"}`, failed(errTopicType.Reason)},
	{"{} is ignored", `{}`, outcome{}},
	{"no topic is ignored", `{"message":"m1"}`, outcome{}},
	{"no message is ignored", `{"topic":"aa","key":"k"}`, outcome{}},
	{"no message is ignored, whatever the rest is", `{"topic":{},"key":[]}`, outcome{}},
	{"names are case-sensitive", `{"Topic":"aa","MESSAGE":"m1"}`, outcome{}},
	{"names with escapes", `{"\u0074opic":"aa","\u006d\u0065\u0073\u0073\u0061\u0067\u0065":"m1","\u006b\u0065\u0079":"k","\u006d\u0065\u0073\u0073\u0061\u0067\u0065\u0065":"m2"}`, taken("aa", "k", "m1")},
	{"the topic's legality is not looked at", `{"topic":"","message":"m1"}`, taken("", "", "m1")},
	{"escapes", `{"topic":"a\u0061","key":"\"\\\/\b\f\n\r\t\u0000","message":"\u00e9\u65E5\ud83D\uDE00x"}`, taken("aa", "\"\\/\b\f\n\r\t\x00", "é日😀x")},
	{"surrogates without their half", `{"topic":"aa","message":"\ud800 \udc00\ud83d\ud83d\ude00\ud800\u0041\ud800\\u"}`, taken("aa", "", "\uFFFD \uFFFD\uFFFD😀\uFFFDA\uFFFD\\u")},
	{"raw U+2028, DEL and non-ASCII", "{\"topic\":\"aa\",\"message\":\"\u2028\x7fЖ\"}", taken("aa", "", "\u2028\x7fЖ")},
	{"not JSON", `hello`, failed(errNotObject.Reason)},
	{"empty", ``, failed("the message is not JSON: it ends too early")},
	{"blank", " \n", failed("the message is not JSON: it ends too early")},
	{"an array", `[{"topic":"aa","message":"m"}]`, failed(errNotObject.Reason)},
	{"a string", `"aa"`, failed(errNotObject.Reason)},
	{"null", `null`, failed(errNotObject.Reason)},
	{"single quotes", `{'topic':'aa','message':'m'}`, failed(`the message is not JSON: unexpected '\'' at byte 1`)},
	{"bare names", `{topic:"aa",message:"m"}`, failed(`the message is not JSON: unexpected 't' at byte 1`)},
	{"bare values", `{"topic":aa,"message":"m"}`, failed(`the message is not JSON: unexpected 'a' at byte 9`)},
	{"cut short", `{"topic":"aa","message":"m`, failed("the message is not JSON: it ends too early")},
	{"cut short behind a backslash", `{"topic":"aa","message":"m\`, failed("the message is not JSON: it ends too early")},
	{"behind the object", `{"topic":"aa","message":"m"}{}`, failed(`the message is not JSON: unexpected '{' at byte 28`)},
	{"a comma too many", `{"topic":"aa","message":"m",}`, failed(`the message is not JSON: unexpected '}' at byte 28`)},
	{"a raw line feed", "{\"topic\":\"aa\",\"message\":\"\n\"}", failed(`the message is not JSON: unexpected '\n' at byte 25`)},
	{"a byte order mark", "\uFEFF{}", failed(errNotObject.Reason)},
	{"invalid UTF-8", "{\"topic\":\"aa\",\"message\":\"\xff\"}", failed(errNotUTF8.Reason)},
	{"brackets that do not match", `{"topic":"aa","message":[{]}}`, failed(`the message is not JSON: unexpected ']' at byte 26`)},
	{"brackets that do not match, later", `{"topic":"aa","message":[{}}}`, failed(`the message is not JSON: unexpected '}' at byte 27`)},
	{"a wide rune where none may be", "{\"topic\":\u2028}", failed(`the message is not JSON: unexpected '\u2028' at byte 9`)},
	{"nested as deep as may be", `{"topic":"aa","message":` + deep(maxDepth-1) + `}`, taken("aa", "", deep(maxDepth-1))},
	{"nested too deep", `{"topic":"aa","message":` + deep(maxDepth) + `}`, failed("the message is nested deeper than 1000 levels")},
	{"nested too deep where it is ignored", `{"x":` + strings.Repeat(`{"a":`, maxDepth) + `}`, failed("the message is nested deeper than 1000 levels")},
}

func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestTextDecode(t *testing.T) {
	for _, c := range textMessages {
		t.Run(c.name, func(t *testing.T) {
			// The subprotocol has no say in what a text frame holds.
			for _, codec := range []Codec{Text{}, Binary{}} {
				if got := decode(t, codec, false, []byte(c.message)); !reflect.DeepEqual(got, c.want) {
					t.Errorf("%T: %+v\nwant %+v", codec, got, c.want)
				}
			}
		})
	}
}

func FuzzTextDecode(f *testing.F) {
	for _, c := range textMessages {
		f.Add([]byte(c.message))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		got := decode(t, Text{}, false, message)
		if got.err == errTooDeep.Reason {
			if bytes.Count(message, []byte("{"))+bytes.Count(message, []byte("[")) <= maxDepth {
				t.Fatal("not that deep")
			}
			return
		}
		want := decodeBySlowJSON(message)
		if want.err != "" && got.err != "" {
			return // the sentences are ours alone
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\nwant %+v", got, want)
		}
	})
}

// decodeBySlowJSON is decodeText by way of encoding/json, member by member, since
// encoding/json itself ignores the case of names.
func decodeBySlowJSON(message []byte) outcome {
	if !utf8.Valid(message) || !json.Valid(message) {
		return failed("not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(message))
	if open, _ := d.Token(); open != json.Delim('{') {
		return failed("not an object")
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return failed(err.Error())
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return failed(err.Error())
		}
		members[name.(string)] = raw
	}
	// bytesOf returns nil for null and for what is not there.
	bytesOf := func(raw json.RawMessage) []byte {
		if raw == nil || string(raw) == "null" {
			return nil
		}
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return []byte(s)
		}
		return raw
	}
	nests := func(raw json.RawMessage) bool { return raw != nil && (raw[0] == '{' || raw[0] == '[') }
	topic, key, value := members["topic"], members["key"], members["message"]
	switch {
	case topic == nil || value == nil:
		return outcome{}
	case nests(topic) || string(topic) == "null" || nests(key):
		return failed("type")
	}
	o := outcome{topic: string(bytesOf(topic)), key: bytesOf(key), value: bytesOf(value), taken: true}
	if len(o.key) == 0 {
		o.key = nil
	}
	if o.key == nil && o.value == nil {
		return failed("tombstone")
	}
	return o
}

func FuzzTextRoundTrip(f *testing.F) {
	f.Add("aa", []byte("k"), []byte("m1"), false)
	f.Add("aa", []byte{}, []byte(`{"a":"\u2028"}`), false)
	f.Add("a\"b", []byte("k"), []byte{}, true)
	f.Add("\xff", []byte("\xe2\x82"), []byte("\xed\xa0\x80 \u2028"), false)
	f.Fuzz(func(t *testing.T, topic string, key, value []byte, tombstone bool) {
		if value == nil {
			value = []byte{}
		}
		if tombstone {
			value = nil
		}
		r := record.Record{Topic: topic, Key: key, Value: value}
		message, err := Text{}.Append(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(message) || !json.Valid(message) {
			t.Fatalf("%q", message)
		}
		want := outcome{topic: string(replaced([]byte(topic))), taken: true}
		if len(key) > 0 {
			want.key = replaced(key)
		}
		if value != nil {
			want.value = replaced(value)
		}
		if want.key == nil && want.value == nil {
			want = failed(errTombstone.Reason)
		}
		if got := decode(t, Text{}, false, message); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %+v\nwant %+v", message, got, want)
		}
	})
}

// TestTextDecodeKeepsNothing decodes two messages into one record: the bytes of
// the first, where kept, must survive the second.
func TestTextDecodeKeepsNothing(t *testing.T) {
	var r record.Record
	first := []byte(`{"topic":"aa","key":"\u006b1","message":"\u006d1"}`)
	if ok, err := (Text{}).Decode(&r, false, first); !ok || err != nil {
		t.Fatal(ok, err)
	}
	key, value := r.Key, r.Value
	if ok, err := (Text{}).Decode(&r, false, []byte(`{"topic":"aa","key":"\u006c2","message":"\u006e2"}`)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if string(key) != "k1" || string(value) != "m1" {
		t.Errorf("the first record became %q %q", key, value)
	}
}
