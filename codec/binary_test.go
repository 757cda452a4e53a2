package codec

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kafkaws/kafkaws/record"
)

func TestBinaryAppend(t *testing.T) {
	longest := strings.Repeat("t", record.MaxTopicLength)
	for _, c := range []struct {
		name string
		r    record.Record
		want string
	}{
		{"length, topic, value", record.Record{Topic: "my_topic", Value: []byte("my awesome message")}, "\x08my_topicmy awesome message"},
		{"any bytes", record.Record{Topic: "aa", Value: []byte("\x00\xff\"")}, "\x02aa\x00\xff\""},
		{"the key is not carried", record.Record{Topic: "aa", Key: []byte("k"), Value: []byte("m")}, "\x02aam"},
		{"an empty record", record.Record{Topic: "aa", Value: []byte{}}, "\x02aa"},
		{"a tombstone goes out as an empty value", record.Record{Topic: "aa", Key: []byte("k")}, "\x02aa"},
		{"n is unsigned", record.Record{Topic: longest, Value: []byte("m")}, "\xf9" + longest + "m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Binary{}.Append([]byte("before "), &c.r)
			if err != nil || string(got) != "before "+c.want {
				t.Errorf("%q (%v), want %q", got, err, c.want)
			}
		})
	}
	if got, err := (Binary{}).Append([]byte("before"), &record.Record{Topic: longest + "t"}); err == nil || string(got) != "before" {
		t.Errorf("a topic too long: %q, %v", got, err)
	}
}

var binaryMessages = []struct {
	name, message string
	want          outcome
}{
	{"length, topic, value", "\x08my_topicmy awesome message", taken("my_topic", "", "my awesome message")},
	{"any bytes", "\x02aa\x00\xff\"", taken("aa", "", "\x00\xff\"")},
	{"n over 127", "\xf9" + strings.Repeat("t", 249) + "m", taken(strings.Repeat("t", 249), "", "m")},
	{"n is the whole rest: an empty record", "\x02aa", taken("aa", "", "")},
	{"an empty frame", "", failed(errBinaryEmpty.Reason)},
	{"n longer than the frame", "\x03aa", failed("the binary message ends within the topic's name: 2 of 3 bytes")},
	{"n longer than the frame, which is n alone", "\xff", failed("the binary message ends within the topic's name: 0 of 255 bytes")},
	{"the topic is not UTF-8", "\x02a\xffm", failed(errBinaryTopic.Reason)},
	{"the topic's legality is not looked at", "\x00m", taken("", "", "m")},
	{"JSON is not looked for", `{"topic":"aa","message":"m"}`, failed("the binary message ends within the topic's name: 27 of 123 bytes")},
}

func TestBinaryDecode(t *testing.T) {
	for _, c := range binaryMessages {
		t.Run(c.name, func(t *testing.T) {
			// The subprotocol has no say in what a binary frame holds.
			for _, codec := range []Codec{Text{}, Binary{}} {
				if got := decode(t, codec, true, bytes.Clone([]byte(c.message))); !reflect.DeepEqual(got, c.want) {
					t.Errorf("%T: %+v\nwant %+v", codec, got, c.want)
				}
			}
		})
	}
}

func FuzzBinaryDecode(f *testing.F) {
	for _, c := range binaryMessages {
		f.Add([]byte(c.message))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		got := decode(t, Binary{}, true, message)
		n := 0
		if len(message) > 0 {
			n = 1 + int(message[0])
		}
		fits := n > 0 && n <= len(message) && utf8.Valid(message[1:n])
		if got.taken != fits || !fits && got.err == "" {
			t.Fatalf("%+v", got)
		}
		if !fits {
			return
		}
		if got.key != nil || got.value == nil {
			t.Fatalf("%+v", got)
		}
		again, err := Binary{}.Append(nil, &record.Record{Topic: got.topic, Value: got.value})
		if (err != nil) != (len(got.topic) > record.MaxTopicLength) {
			t.Fatal(err)
		}
		if err == nil && !bytes.Equal(again, message) {
			t.Fatalf("%q became %q", message, again)
		}
	})
}
