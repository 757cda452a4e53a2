package customcodec_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/internal/exampletest"
	"github.com/kafkaws/kafkaws/record"
)

// load makes a codec of what stands behind `codec`, in the steps that Caddy takes.
func load(t testing.TB, segment string) codec.Codec {
	t.Helper()
	d := caddyfile.NewTestDispenser(segment)
	d.Next()
	parsed, err := caddyfile.UnmarshalModule(d, codec.Namespace+".cbor")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel() // codecs need nothing of it afterwards
	module, err := ctx.LoadModuleByID(codec.Namespace+".cbor", caddyconfig.JSON(parsed, nil))
	if err != nil {
		t.Fatal(err)
	}
	return module.(codec.Codec)
}

const asText = "cbor {\n values text\n}"

func TestSubprotocol(t *testing.T) {
	c := load(t, "cbor")
	if c.Subprotocol() != "kafka-cbor" || !c.Binary() {
		t.Errorf("subprotocol %q, binary %v", c.Subprotocol(), c.Binary())
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		segment string
		record  record.Record
		want    string // in the diagnostic notation
	}{
		{
			"cbor",
			record.Record{Topic: "a", Partition: 2, Offset: 1 << 40, Timestamp: time.UnixMilli(1_700_000_000_123), Key: []byte("k"), Value: []byte{0, 0xff}},
			`{"topic": "a", "partition": 2, "offset": 1099511627776, "timestamp": 1700000000123, "key": h'6b', "value": h'00ff'}`,
		},
		{
			"cbor",
			record.Record{Topic: "é", Timestamp: time.UnixMilli(-1), Key: []byte{}, Headers: []record.Header{{Key: "h", Value: []byte{1}}, {Key: "h"}}},
			`{"topic": "\u00e9", "partition": 0, "offset": 0, "timestamp": -1, "key": h'', "value": null, "headers": [["h", h'01'], ["h", null]]}`,
		},
		{
			asText,
			record.Record{Topic: "a", Timestamp: time.UnixMilli(0), Key: []byte("k"), Value: []byte{0xff}, Headers: []record.Header{{Value: []byte("v")}}},
			`{"topic": "a", "partition": 0, "offset": 0, "timestamp": 0, "key": "k", "value": h'ff', "headers": [["", "v"]]}`,
		},
		{
			asText,
			record.Record{Topic: "a", Timestamp: time.UnixMilli(0), Value: []byte{}},
			`{"topic": "a", "partition": 0, "offset": 0, "timestamp": 0, "key": null, "value": ""}`,
		},
	} {
		same := c.record.Clone()
		// It appends, and whatever else is in the slice stays as it is.
		dst := append(make([]byte, 0, 1000), "frame"...)
		got, err := load(t, c.segment).Append(dst, &c.record)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(got, []byte("frame")) || &got[0] != &dst[0] {
			t.Errorf("%q was not appended", got)
		}
		if text, err := cbor.Diagnose(got[len("frame"):]); err != nil || text != c.want {
			t.Errorf("got  %s\nwant %s\n%v", text, c.want, err)
		}
		if !reflect.DeepEqual(&c.record, same) {
			t.Errorf("the record was changed to %v", c.record)
		}
	}
}

func TestAppendFails(t *testing.T) {
	for _, r := range []record.Record{
		{Topic: "\xff"},
		{Topic: "a", Headers: []record.Header{{Key: "\xff"}}},
	} {
		if got, err := load(t, "cbor").Append([]byte("frame"), &r); err == nil {
			t.Errorf("%v: got %q", r, got)
		}
	}
}

// Messages of clients, in hexadecimal.
const (
	topicA = "65" + "746f706963" + "6161"   // "topic": "a"
	value  = "65" + "76616c7565"            // "value":
	key    = "63" + "6b6579"                // "key":
	heads  = "67" + "68656164657273"        // "headers":
	self   = "a2" + topicA + value + "4100" // {"topic": "a", "value": h'00'}
)

func TestDecode(t *testing.T) {
	published := func(key, value []byte, headers ...record.Header) *record.Record {
		return &record.Record{Topic: "a", Partition: record.AnyPartition, Key: key, Value: value, Headers: headers}
	}
	for _, c := range []struct {
		name, message string
		want          *record.Record // nil for a message that is ignored
		reason        string
	}{
		{"bytes", self, published(nil, []byte{0}), ""},
		{"text", "a2" + topicA + value + "626869", published(nil, []byte("hi")), ""},
		{"empty bytes", "a2" + topicA + value + "40", published(nil, []byte{}), ""},
		{"empty text", "a2" + topicA + value + "60", published(nil, []byte{}), ""},
		{"bytes in pieces", "a2" + topicA + value + "5f41004101ff", published(nil, []byte{0, 1}), ""},
		{"map without a length", "bf" + topicA + value + "4100ff", published(nil, []byte{0}), ""},
		{"Uint8Array", "a2" + topicA + value + "d8404100", published(nil, []byte{0}), ""},
		{"tagged as CBOR", "d9d9f7" + self, published(nil, []byte{0}), ""},
		{"key", "a3" + topicA + key + "616b" + value + "4100", published([]byte("k"), []byte{0}), ""},
		{"null key", "a3" + topicA + key + "f6" + value + "4100", published(nil, []byte{0}), ""},
		{"undefined key", "a3" + topicA + key + "f7" + value + "4100", published(nil, []byte{0}), ""},
		{"tombstone", "a3" + topicA + key + "4101" + value + "f6", published([]byte{1}, nil), ""},
		{"headers", "a3" + topicA + value + "4100" + heads + "8282616841018261 68f6", published(nil, []byte{0},
			record.Header{Key: "h", Value: []byte{1}}, record.Header{Key: "h"}), ""},
		{"others", "a5" + topicA + value + "4100" + "666f6666736574" + "01" + "65546f706963" + "6162" + "01" + "820102", published(nil, []byte{0}), ""},
		// What the JavaScript library cbor-x makes of {topic: 'a', key: undefined, value: new Uint8Array([0, 255])}.
		{"cbor-x", "b90003" + topicA + key + "f7" + value + "d8404200ff", published(nil, []byte{0, 0xff}), ""},
		{"empty", "", nil, ""},

		{"cut short", self[:len(self)-2], nil, "the message is not well-formed CBOR, or nested too deeply"},
		{"nested", "a2" + topicA + value + strings.Repeat("81", 100) + "00", nil, "the message is not well-formed CBOR, or nested too deeply"},
		{"topic not UTF-8", "a2" + "65746f706963" + "61ff" + value + "4100", nil, "the message is not well-formed CBOR, or nested too deeply"},
		{"value not UTF-8", "a2" + topicA + value + "61ff", nil, "the message is not well-formed CBOR, or nested too deeply"},
		{"something behind", self + "00", nil, "there is something behind the CBOR map"},
		{"topic twice", "a3" + topicA + topicA + value + "4100", nil, "the CBOR map has a member twice"},
		{"array", "80", nil, "shape"},
		{"topic is bytes", "a2" + "65746f706963" + "4161" + value + "4100", nil, "shape"},
		{"value is a number", "a2" + topicA + value + "01", nil, "shape"},
		{"value is a map", "a2" + topicA + value + "a0", nil, "shape"},
		{"value is a tagged number", "a2" + topicA + value + "d84001", nil, "shape"},
		{"header of one", "a3" + topicA + value + "4100" + heads + "81816168", nil, "shape"},
		{"header is null", "a3" + topicA + value + "4100" + heads + "81f6", nil, "shape"},
		{"header without name", "a3" + topicA + value + "4100" + heads + "8182f64100", nil, "shape"},
		{"no topic", "a1" + value + "4100", nil, `the CBOR map has no "topic"`},
		{"null", "f6", nil, `the CBOR map has no "topic"`},
		{"no value", "a1" + topicA, nil, `the CBOR map has no "value"; that of a tombstone is null`},
		{"undefined value", "a2" + topicA + value + "f7", nil, `the CBOR map has no "value"; that of a tombstone is null`},
		{"tombstone without key", "a2" + topicA + value + "f6", nil, `a tombstone needs a key: "value" is null and there is no "key"`},
	} {
		message, err := hex.DecodeString(strings.ReplaceAll(c.message, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		// What the record before left must not show.
		r := record.Record{Topic: "b", Partition: 1, Offset: 2, Timestamp: time.UnixMilli(3), Key: []byte("k"), Headers: []record.Header{{}}}
		ok, err := load(t, "cbor").Decode(&r, true, message)
		if c.reason == "shape" {
			c.reason = `expected a CBOR map: {"topic": text, "value": bytes, "key": bytes, "headers": [[text, bytes]]}`
		}
		switch {
		case c.reason != "":
			if got := reasonOf(t, err); ok || got != c.reason {
				t.Errorf("%s: got %v, %q, want %q", c.name, ok, got, c.reason)
			}
		case err != nil || ok != (c.want != nil):
			t.Errorf("%s: got %v, %v", c.name, ok, err)
		case ok && !reflect.DeepEqual(&r, c.want):
			t.Errorf("%s: got %#v, want %#v", c.name, &r, c.want)
		}
	}
	if _, err := load(t, "cbor").Decode(new(record.Record), false, []byte("{}")); reasonOf(t, err) != "kafka-cbor takes binary messages only" {
		t.Errorf("a text message: %v", err)
	}
}

// reasonOf returns what a client is told, which has to be fit for it.
func reasonOf(t testing.TB, err error) string {
	t.Helper()
	var told *codec.Error
	if !errors.As(err, &told) {
		t.Fatalf("%T: %v", err, err)
	}
	if told.Reason == "" || told.CloseReason() != told.Reason || !utf8.ValidString(told.Reason) {
		t.Fatalf("a close frame cannot hold %q", told.Reason)
	}
	return told.Reason
}

// Whatever a client sends is refused in words, or is a record that comes out as
// it went in.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{self, "", "f6", "bf" + topicA + value + "5f4100ffff", "a2" + topicA + value + "d84061ff", "a3" + topicA + value + "60" + heads + "8182616840"} {
		message, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message)
	}
	codecs := []codec.Codec{load(f, "cbor"), load(f, asText)}
	f.Fuzz(func(t *testing.T, message []byte) {
		same := bytes.Clone(message)
		var r record.Record
		ok, err := codecs[0].Decode(&r, true, message)
		if !bytes.Equal(message, same) {
			t.Fatal("the message was changed")
		}
		if err != nil {
			reasonOf(t, err)
			return
		}
		if !ok {
			return
		}
		if r.Partition != record.AnyPartition || r.Value == nil && r.Key == nil {
			t.Fatalf("%x became %#v", message, r)
		}
		for _, c := range codecs {
			out, err := c.Append(nil, &r)
			if err != nil {
				t.Fatalf("%#v: %v", r, err)
			}
			var again record.Record
			if ok, err := c.Decode(&again, true, out); !ok || err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("%#v became %#v: %v, %v", r, again, ok, err)
			}
		}
	})
}

func TestCaddyfile(t *testing.T) {
	for _, c := range []struct{ line, err string }{
		{"codec cbor", ""},
		{"codec cbor {\nvalues text\n}", ""},
		{"codec cbor text", "wrong argument count or unexpected line ending after 'text', at Caddyfile:4"},
		{"codec cbor {\nvalues json\n}", `values: got "json", expected bytes or text, at Caddyfile:6`},
		{"codec cbor {\nvalues\n}", "values takes one value, at Caddyfile:5"},
		{"codec cbor {\nvalues text\nvalues text\n}", "values is given twice, at Caddyfile:6"},
		{"codec cbor {\nkeys text\n}", `unknown option "keys", at Caddyfile:5`},
	} {
		got := ""
		if err := exampletest.Validate(exampletest.Handler(c.line)); err != nil {
			got = err.Error()
		}
		if (got == "") != (c.err == "") || !strings.Contains(got, c.err) {
			t.Errorf("%s\n got %q\nwant %q", c.line, got, c.err)
		}
	}
}

// TestDocuments validates the Caddyfile and those of the documentation.
func TestDocuments(t *testing.T) {
	exampletest.ValidateDocuments(t, module)
}
