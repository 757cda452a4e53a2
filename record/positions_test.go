package record_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kafkaws/kafkaws/record"
)

var someID = record.TopicID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func TestTopicID(t *testing.T) {
	const text = "AAECAwQFBgcICQoLDA0ODw"
	if got := someID.String(); got != text {
		t.Errorf("got %s", got)
	}
	if got, err := record.ParseTopicID(text); err != nil || got != someID {
		t.Errorf("got %v (%v)", got, err)
	}
	// Kafka's org.apache.kafka.common.Uuid prints these two so.
	for text, id := range map[string]record.TopicID{
		"AAAAAAAAAAAAAAAAAAAAAA": {},
		"-_______________-____w": {0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb, 0xff, 0xff, 0xff},
	} {
		if got, err := record.ParseTopicID(text); err != nil || got != id || got.String() != text {
			t.Errorf("%s: got %v (%v)", text, got, err)
		}
	}
	for _, bad := range []string{"", text[1:], text + "A", text[:21] + "=", text[:21] + "x", text[:21] + "+", "\n\n" + text[2:], "00010203-0405-0607-0809-0a0b0c0d0e0f"} {
		if got, err := record.ParseTopicID(bad); err == nil || !got.IsZero() {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

func TestPositionsAppend(t *testing.T) {
	for _, c := range []struct {
		positions record.Positions
		want      string
	}{
		{nil, `{}`},
		{record.Positions{}, `{}`},
		{record.Positions{"orders": {}}, `{"orders":{"offsets":{}}}`},
		{
			record.Positions{"orders": {TopicID: someID, Offsets: map[int32]int64{1: 4, 0: 18}, Epochs: map[int32]int32{0: 3}}},
			`{"orders":{"topic_id":"AAECAwQFBgcICQoLDA0ODw","offsets":{"0":18,"1":4},"epochs":{"0":3}}}`,
		},
		{
			record.Positions{"b": {Offsets: map[int32]int64{10: 1, 9: 1<<63 - 1, 2: 0}}, "a.b": {Offsets: map[int32]int64{0: 0}, Epochs: map[int32]int32{}}},
			`{"a.b":{"offsets":{"0":0}},"b":{"offsets":{"2":0,"9":9223372036854775807,"10":1}}}`,
		},
		{record.Positions{"a\"\n": {}}, `{"a\"\n":{"offsets":{}}}`},
	} {
		got := string(c.positions.Append([]byte("before ")))
		if got != "before "+c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if !json.Valid([]byte(c.want)) {
			t.Errorf("not JSON: %s", c.want)
		}
	}
}

func TestParsePositions(t *testing.T) {
	for _, c := range []struct {
		text string
		want record.Positions
	}{
		{` { } `, record.Positions{}},
		{`{"a":{"offsets":{}}}`, record.Positions{"a": {Offsets: map[int32]int64{}}}},
		{
			`{"orders":{"epochs":{"0":3},"offsets":{"1":4,"0":18},"topic_id":"AAECAwQFBgcICQoLDA0ODw"}}`,
			record.Positions{"orders": {TopicID: someID, Offsets: map[int32]int64{1: 4, 0: 18}, Epochs: map[int32]int32{0: 3}}},
		},
		{
			"{\n\t\"a\" : { \"offsets\" : { \"2147483647\" : 9223372036854775807 } , \"topic_id\":null,\"epochs\":null, \"x\":[{\"offsets\":1}],\"x\":2}\r\n}",
			record.Positions{"a": {Offsets: map[int32]int64{1<<31 - 1: 1<<63 - 1}}},
		},
		{`{"\u0061":{"off\u0073ets":{"\u0030":1}}}`, record.Positions{"a": {Offsets: map[int32]int64{0: 1}}}},
	} {
		got, err := record.ParsePositions([]byte(c.text))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s\ngot  %v (%v)\nwant %v", c.text, got, err, c.want)
		}
	}
}

func TestParsePositionsRefuses(t *testing.T) {
	many := func(n int, open, each, end string) string {
		var b strings.Builder
		b.WriteString(open)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, each, i)
		}
		return b.String() + end
	}
	const notJSON = `positions must be a JSON object: {"orders":{"offsets":{"0":18}}}`
	for _, c := range []struct{ text, err string }{
		{``, notJSON},
		{`{"a":{"offsets":{"0":1}}`, notJSON},
		{`{"a":{"offsets":{"0":1}}}{}`, notJSON},
		{`[]`, notJSON},
		{`null`, notJSON},
		{`{"a":[]}`, `the position in topic "a" must be an object: {"offsets":{"0":18}}`},
		{`{"a":null}`, `the position in topic "a" must be an object: {"offsets":{"0":18}}`},
		{`{"a":{}}`, `the position in topic "a" has no "offsets"`},
		{`{"a":{"Offsets":{}}}`, `the position in topic "a" has no "offsets"`},
		{`{"a":{"offsets":null}}`, `the position in topic "a" has no "offsets"`},
		{`{"a":{"offsets":[1]}}`, `"offsets" of topic "a" must be an object of numbers by partition: {"0":18}`},
		{`{"a":{"offsets":{"0":1},"offsets":{}}}`, `the position in topic "a" has "offsets" twice`},
		{`{"a":{"offsets":{"0":1,"0":1}}}`, `"offsets" of topic "a" names partition 0 twice`},
		{`{"a":{"offsets":{}},"a":{"offsets":{}}}`, `positions name topic "a" twice`},
		{`{"a":{"offsets":{}},"\u0061":{"offsets":{}}}`, `positions name topic "a" twice`},
		{`{"a b":{"offsets":{}}}`, `positions name a topic that Kafka could not have: "a b"`},
		{`{"":{"offsets":{}}}`, `positions name a topic that Kafka could not have: ""`},
		{`{"a":{"offsets":{"-1":1}}}`, `"offsets" of topic "a" has a partition that is no number: "-1"`},
		{`{"a":{"offsets":{"01":1}}}`, `"offsets" of topic "a" has a partition that is no number: "01"`},
		{`{"a":{"offsets":{"+1":1}}}`, `"offsets" of topic "a" has a partition that is no number: "+1"`},
		{`{"a":{"offsets":{"2147483648":1}}}`, `"offsets" of topic "a" has a partition that is no number: "2147483648"`},
		{`{"a":{"offsets":{"0":-1}}}`, `"offsets" of topic "a" must be an integer from 0 to 9223372036854775807 for partition 0`},
		{`{"a":{"offsets":{"0":9223372036854775808}}}`, `"offsets" of topic "a" must be an integer from 0 to 9223372036854775807 for partition 0`},
		{`{"a":{"offsets":{"0":1.0}}}`, `"offsets" of topic "a" must be an integer from 0 to 9223372036854775807 for partition 0`},
		{`{"a":{"offsets":{"0":"1"}}}`, `"offsets" of topic "a" must be an integer from 0 to 9223372036854775807 for partition 0`},
		{`{"a":{"offsets":{"0":{}}}}`, `"offsets" of topic "a" must be an integer from 0 to 9223372036854775807 for partition 0`},
		{`{"a":{"offsets":{"0":null}}}`, `"offsets" of topic "a" must be an integer from 0 to 9223372036854775807 for partition 0`},
		{`{"a":{"offsets":{"0":1},"epochs":{"0":2147483648}}}`, `"epochs" of topic "a" must be an integer from 0 to 2147483647 for partition 0`},
		{`{"a":{"offsets":{"0":1},"epochs":{"1":2}}}`, `"epochs" of topic "a" names partition 1, which "offsets" does not`},
		{`{"a":{"offsets":{},"topic_id":1}}`, `"topic_id" of topic "a" must be a string`},
		{`{"a":{"offsets":{},"topic_id":"x"}}`, `"topic_id" of topic "a" is none: a topic's id is 22 characters of URL-safe base64, without padding`},
		{many(10_001, `{`, `"t%d":{"offsets":{}}`, `}`), `positions name more than 10000 topics`},
		{many(100_001, `{"a":{"offsets":{`, `"%d":1`, `}}}`), `positions name more than 100000 partitions`},
		{strings.Repeat(`{"a":`, 20_000) + strings.Repeat(`}`, 20_000), notJSON},
	} {
		got, err := record.ParsePositions([]byte(c.text))
		if err == nil || err.Error() != c.err || got != nil {
			t.Errorf("%.200s\ngot  %v\nwant %s", c.text, err, c.err)
		}
	}
}

func TestPositionsClone(t *testing.T) {
	if record.Positions(nil).Clone() != nil {
		t.Error("nil became something")
	}
	p := record.Positions{"a": {TopicID: someID, Offsets: map[int32]int64{0: 1}, Epochs: map[int32]int32{0: 2}}, "b": {}}
	c := p.Clone()
	if !reflect.DeepEqual(p, c) {
		t.Fatalf("%v became %v", p, c)
	}
	c["a"].Offsets[0], c["a"].Epochs[0] = 7, 7
	delete(c, "b")
	if p["a"].Offsets[0] != 1 || p["a"].Epochs[0] != 2 || len(p) != 2 {
		t.Errorf("a change of the copy changed the original: %v", p)
	}
}

func FuzzParsePositions(f *testing.F) {
	for _, seed := range []string{
		`{"orders":{"topic_id":"AAECAwQFBgcICQoLDA0ODw","offsets":{"0":18,"1":4},"epochs":{"0":3}}}`,
		`{"a":{"offsets":{"0":1,"0":2}}}`, `{"\u0061":{"offsets":{}},"x":null}`, `{}`, `[`, "{\"a\xff\":{}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := record.ParsePositions(data)
		if err != nil {
			if p != nil || err.Error() == "" {
				t.Fatalf("%v and %v", p, err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("took what is not JSON")
		}
		// What encoding/json makes of it; no member is there twice now.
		var slow map[string]struct {
			Offsets map[int32]int64 `json:"offsets"`
			Epochs  map[int32]int32 `json:"epochs"`
		}
		exact := !strings.ContainsAny(string(data), "OFSETPCH\u017f\u212a\\") // it ignores the case of names
		if exact {
			if err := json.Unmarshal(data, &slow); err != nil {
				t.Fatal(err)
			}
		}
		for topic, at := range p {
			if !record.ValidTopic(topic) || at.Offsets == nil {
				t.Fatalf("%q: %v", topic, at)
			}
			if exact && !reflect.DeepEqual(at.Offsets, slow[topic].Offsets) {
				t.Fatalf("%q: %v, want %v", topic, at.Offsets, slow[topic].Offsets)
			}
			for partition, n := range at.Offsets {
				if partition < 0 || n < 0 {
					t.Fatalf("%q: %v", topic, at)
				}
			}
		}
		text := p.Append(nil)
		again, err := record.ParsePositions(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if second := again.Append(nil); string(second) != string(text) {
			t.Fatalf("%s became %s", text, second)
		}
	})
}
