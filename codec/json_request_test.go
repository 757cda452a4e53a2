package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kafkaws/kafkaws/record"
)

// decodeOne decodes a message of one request, into a list whose elements have
// been used for another.
func decodeOne(t *testing.T, message string) Request {
	t.Helper()
	const used = `{"type":"publish","id":"before","topic":"before","key":"before","value":"before","headers":[["before","x"],["before2","y"]],` +
		`"partition":7,"timestamp":7,"producer":"before","sequence":7}`
	requests, err := DecodeRequests(nil, []byte(used))
	if err != nil || requests[0].Failure != nil {
		t.Fatal(err, requests)
	}
	data := []byte(message)
	requests, err = DecodeRequests(requests[:0], data)
	if string(data) != message {
		t.Fatalf("the message was changed: %q", data)
	}
	if err != nil {
		checkReason(t, err)
		t.Fatalf("%s: %v", message, err)
	}
	if len(requests) != 1 {
		t.Fatalf("%s: %d requests", message, len(requests))
	}
	q := requests[0]
	for _, b := range [][]byte{q.ID, q.Record.Key, q.Record.Value} {
		if len(b) != cap(b) {
			t.Errorf("%s: %q has room behind it", message, b)
		}
	}
	q.topic, q.producer, q.headers = "", "", nil
	return q
}

// publish is a request to publish, as far as the tests do not say otherwise.
func publish(r record.Record) Request {
	if r.Topic == "" {
		r.Topic = "aa"
	}
	return Request{Type: TypePublish, Record: r}
}

func TestDecodePublish(t *testing.T) {
	const anywhere = record.AnyPartition
	start := `{"type":"publish","topic":"aa",`
	for _, c := range []struct {
		name, message string
		want          Request
	}{
		{"text", start + `"value":"m"}`, publish(record.Record{Partition: anywhere, Value: []byte("m")})},
		{
			"everything, in another order",
			`{"sequence":0,"producer":"tab 1","timestamp":1716400000123,"partition":3,"headers":[["h","v"]],"value":"m","key":"k","topic":"aa","id":7,"type":"publish"}`,
			Request{
				Type: TypePublish, ID: []byte("7"), Producer: "tab 1",
				Record: record.Record{Topic: "aa", Partition: 3, Timestamp: time.UnixMilli(1716400000123), Key: []byte("k"), Value: []byte("m"), Headers: []record.Header{{Key: "h", Value: []byte("v")}}},
			},
		},
		{"null is as if it were left out", start + `"value":"m","key":null,"headers":null,"partition":null,"timestamp":null,"key_encoding":null,"value_encoding":null,"producer":null,"sequence":null,"id":null}`, publish(record.Record{Partition: anywhere, Value: []byte("m")})},
		{"unknown members, and those of other requests", start + `"value":"m","x":[{"topic":1}],"x":2,"delay_ms":"no","from":0,"from":1}`, publish(record.Record{Partition: anywhere, Value: []byte("m")})},
		{"white space", " \r\n{ \"type\" :\t\"publish\" , \"topic\" : \"aa\" , \"value\" : \"m\" } \n", publish(record.Record{Partition: anywhere, Value: []byte("m")})},
		{"escapes, in names too", `{"\u0074ype":"p\u0075blish","topi\u0063":"a\u0061","value":"\u00e9\ud83e\udd8a\n\/","key":"\u006b"}`, publish(record.Record{Partition: anywhere, Key: []byte("k"), Value: []byte("é🦊\n/")})},
		{"an object is its text", start + `"value":{"a": [1, "\u00e9"]} }`, publish(record.Record{Partition: anywhere, Value: []byte(`{"a": [1, "\u00e9"]}`)})},
		{"a number is its text", start + `"value":-1.50E+2,"key":12345678901234567890}`, publish(record.Record{Partition: anywhere, Key: []byte("12345678901234567890"), Value: []byte(`-1.50E+2`)})},
		{"true is its text", start + `"value":true,"key":[1]}`, publish(record.Record{Partition: anywhere, Key: []byte("[1]"), Value: []byte(`true`)})},
		{"empty key and value", start + `"value":"","key":""}`, publish(record.Record{Partition: anywhere, Key: []byte{}, Value: []byte{}})},
		{"a tombstone", start + `"value":null,"key":"k"}`, publish(record.Record{Partition: anywhere, Key: []byte("k")})},
		{"a tombstone of the empty key", start + `"value":null,"key":""}`, publish(record.Record{Partition: anywhere, Key: []byte{}})},
		{"base64", start + `"value":"+\/\/+YQ==","value_encoding":"base64","key":"/w==","key_encoding":"base64"}`, publish(record.Record{Partition: anywhere, Key: []byte{0xff}, Value: []byte{0xfb, 0xff, 0xfe, 'a'}})},
		{"empty base64 is an empty value", start + `"value":"","value_encoding":"base64"}`, publish(record.Record{Partition: anywhere, Value: []byte{}})},
		{"null as base64 is a tombstone", start + `"value":null,"value_encoding":"base64","key":"k"}`, publish(record.Record{Partition: anywhere, Key: []byte("k")})},
		{"json keeps quotes", start + `"value":"\u00e9","value_encoding":"json"}`, publish(record.Record{Partition: anywhere, Value: []byte(`"\u00e9"`)})},
		{"json keeps null", start + `"value":null,"value_encoding":"json"}`, publish(record.Record{Partition: anywhere, Value: []byte(`null`)})},
		{"json keeps white space within", start + `"value": { } ,"value_encoding":"json"}`, publish(record.Record{Partition: anywhere, Value: []byte(`{ }`)})},
		{
			"headers",
			start + `"value":"m","headers":[ [ "n" , null ] ,["e",""],["n","\u00e9"],["b","/w==","base64"],["j",{"a": 1}],["\u006e",1]]}`,
			publish(record.Record{Partition: anywhere, Value: []byte("m"), Headers: []record.Header{
				{Key: "n"}, {Key: "e", Value: []byte{}}, {Key: "n", Value: []byte("é")}, {Key: "b", Value: []byte{0xff}}, {Key: "j", Value: []byte(`{"a": 1}`)}, {Key: "n", Value: []byte("1")},
			}}),
		},
		{"no headers", start + `"value":"m","headers":[ ]}`, publish(record.Record{Partition: anywhere, Value: []byte("m")})},
		{"a time", start + `"value":"m","timestamp":"2026-01-31T12:00:00.5+02:00"}`, publish(record.Record{Partition: anywhere, Timestamp: time.UnixMilli(1769853600500), Value: []byte("m")})},
		{"1970 is a time", start + `"value":"m","timestamp":0}`, publish(record.Record{Partition: anywhere, Timestamp: time.UnixMilli(0), Value: []byte("m")})},
		{"the largest numbers", start + `"value":"m","partition":2147483647,"producer":"p","sequence":9223372036854775807}`, Request{
			Type: TypePublish, Producer: "p", Sequence: 1<<63 - 1, Record: record.Record{Topic: "aa", Partition: 1<<31 - 1, Value: []byte("m")},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decodeOne(t, c.message)
			if got.Failure != nil {
				t.Fatal(got.Failure.Message)
			}
			if !got.Record.Timestamp.Equal(c.want.Record.Timestamp) {
				t.Errorf("timestamp %v, want %v", got.Record.Timestamp, c.want.Record.Timestamp)
			}
			got.Record.Timestamp, c.want.Record.Timestamp = time.Time{}, time.Time{}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestDecodeOtherRequests(t *testing.T) {
	for _, c := range []struct {
		message string
		want    Request
	}{
		{`{"type":"subscribe","id":"a","topics":["aa","bb","\u0061a"]}`, Request{Type: TypeSubscribe, ID: []byte(`"a"`), Topics: []string{"aa", "bb"}}},
		{`{"type":"subscribe","topic":"aa","from":null,"last":null,"filter":null}`, Request{Type: TypeSubscribe, Topics: []string{"aa"}}},
		{`{"type":"subscribe","topic":"aa","from":"-15m","filter":"record.key == \"k\""}`, Request{
			Type: TypeSubscribe, Topics: []string{"aa"}, Filter: `record.key == "k"`, Start: record.Start{Kind: record.StartAgo, Ago: 15 * time.Minute},
		}},
		{`{"type":"subscribe","topics":null,"topic":"aa"}`, Request{Type: TypeSubscribe, Topics: []string{"aa"}}},
		{`{"type":"subscribe","topic":null,"topics":["aa"]}`, Request{Type: TypeSubscribe, Topics: []string{"aa"}}},
		{`{"type":"subscribe","topic":"aa","last":10}`, Request{Type: TypeSubscribe, Topics: []string{"aa"}, Start: record.Start{Kind: record.StartNewest, Newest: 10}}},
		{`{"type":"subscribe","topic":"aa","from":{"aa":{"offsets":{"0":18}}}}`, Request{
			Type: TypeSubscribe, Topics: []string{"aa"}, Start: record.Start{Kind: record.StartPositions, Positions: record.Positions{"aa": {Offsets: map[int32]int64{0: 18}}}},
		}},
		{`{"type":"unsubscribe","id":-1.5e3,"topics":["aa"]}`, Request{Type: TypeUnsubscribe, ID: []byte("-1.5e3"), Topics: []string{"aa"}}},
		{`{"type":"ack","positions":{"aa":{"offsets":{"0":18}}}}`, Request{Type: TypeAck, Positions: record.Positions{"aa": {Offsets: map[int32]int64{0: 18}}}}},
		{`{"type":"nack","topic":"aa","partition":0,"offset":18}`, Request{Type: TypeNack, Record: record.Record{Topic: "aa", Offset: 18}}},
		{`{"type":"nack","topic":"aa","partition":3,"offset":0,"delay_ms":1500}`, Request{Type: TypeNack, Record: record.Record{Topic: "aa", Partition: 3}, Delay: 1500 * time.Millisecond}},
		{`{"type":"ping","id":"a\u0041\""}`, Request{Type: TypePing, ID: []byte(`"a\u0041\""`)}},
		{`{"type":"ping","topic":1,"topic":2}`, Request{Type: TypePing}},
	} {
		got := decodeOne(t, c.message)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s\ngot  %+v (%+v)\nwant %+v", c.message, got, got.Failure, c.want)
		}
	}
}

func TestDecodeWrongRequests(t *testing.T) {
	headers := func(n int) string {
		return `{"type":"publish","topic":"aa","value":"m","headers":[` + strings.TrimSuffix(strings.Repeat(`["a",""],`, n), ",") + `]}`
	}
	if q := decodeOne(t, headers(1000)); len(q.Record.Headers) != 1000 {
		t.Errorf("%d headers: %+v", len(q.Record.Headers), q.Failure)
	}
	topics := `{"type":"subscribe","topics":[`
	for i := range 10_001 {
		topics += fmt.Sprintf(`"t%d",`, i)
	}
	topics = strings.TrimSuffix(topics, ",") + `]}`
	const (
		id        = `"id" must be a string or a number of at most 64 bytes`
		keyBase64 = `"key" is marked as base64 and is not: the standard alphabet, with padding`
		header    = `"headers" must be an array of ["name","value"] or ["name","value","base64"]`
		timestamp = `"timestamp" must be milliseconds since 1970, an integer, or a time such as "2026-01-31T12:00:00Z" (RFC 3339)`
		partition = `"partition" must be an integer from 0 to 2147483647`
		producer  = `"producer" and "sequence" need each other`
		list      = `"topics" must be an array of strings, and not empty`
		ack       = `an ack needs "positions": {"orders":{"offsets":{"0":18}}}`
	)
	ok := `"topic":"aa","value":"m"`
	for _, c := range []struct{ message, err string }{
		{`{}`, `the request has no "type"`},
		{`{"Type":"ping"}`, `the request has no "type"`},
		{`{"type":null}`, `"type" must be a string`},
		{`{"type":["ping"]}`, `"type" must be a string`},
		{`{"type":"ping","type":"ping"}`, `the request has "type" twice`},
		{`{"type":"ping","id":true}`, id},
		{`{"type":"ping","id":{}}`, id},
		{`{"type":"ping","id":"` + strings.Repeat("x", 63) + `"}`, id},
		{`{"type":"ping","id":` + strings.Repeat("1", 65) + `}`, id},
		{`{"type":"ping","id":1,"\u0069d":2}`, `the request has "id" twice`},
		{`{"id":[],"type":"publish",` + ok + `}`, id},

		{`{"type":"publish","value":"m"}`, `the request has no "topic"`},
		{`{"type":"publish","topic":null,"value":"m"}`, `the request has no "topic"`},
		{`{"type":"publish","topic":1,"value":"m"}`, `"topic" must be a string`},
		{`{"type":"publish",` + ok + `,"topic":"bb"}`, `the request has "topic" twice`},
		{`{"type":"publish",` + ok + `,"value":null,"x":1}`, `the request has "value" twice`},
		{`{"type":"publish","topic":"aa"}`, `a publish request needs "value"; null is a tombstone`},
		{`{"type":"publish","topic":"aa","value_encoding":"json"}`, `a publish request needs "value"; null is a tombstone`},
		{`{"type":"publish","topic":"aa","value":null}`, `a tombstone needs a key: "value" is null and there is no "key"`},
		{`{"type":"publish","topic":"aa","value":null,"key":null}`, `a tombstone needs a key: "value" is null and there is no "key"`},
		{`{"type":"publish",` + ok + `,"key":"k","key_encoding":"base64"}`, keyBase64},
		{`{"type":"publish",` + ok + `,"key":"YQ","key_encoding":"base64"}`, keyBase64},
		{`{"type":"publish",` + ok + `,"key":"-_8=","key_encoding":"base64"}`, keyBase64},
		{`{"type":"publish",` + ok + `,"key":1,"key_encoding":"base64"}`, `"key" is marked as base64, so it must be a string`},
		{`{"type":"publish",` + ok + `,"key_encoding":"json"}`, `"key_encoding" must be "base64", or be left out`},
		{`{"type":"publish",` + ok + `,"value_encoding":"hex"}`, `"value_encoding" must be "base64" or "json", or be left out`},
		{`{"type":"publish",` + ok + `,"value_encoding":1}`, `"value_encoding" must be a string`},
		{`{"type":"publish",` + ok + `,"headers":{"a":"b"}}`, header},
		{`{"type":"publish",` + ok + `,"headers":"a"}`, header},
		{`{"type":"publish",` + ok + `,"headers":["a"]}`, header},
		{`{"type":"publish",` + ok + `,"headers":[["a"]]}`, header},
		{`{"type":"publish",` + ok + `,"headers":[[]]}`, header},
		{`{"type":"publish",` + ok + `,"headers":[{}]}`, header},
		{`{"type":"publish",` + ok + `,"headers":[[1,"b"]]}`, header},
		{`{"type":"publish",` + ok + `,"headers":[["a","b",null]]}`, header},
		{`{"type":"publish",` + ok + `,"headers":[["a","b","hex"]]}`, header},
		{`{"type":"publish",` + ok + `,"headers":[["a","YQ==","base64",1]]}`, header},
		{`{"type":"publish",` + ok + `,"headers":[["a",1,"base64"]]}`, `a header is marked as base64, so it must be a string`},
		{headers(1001), `"headers" has more than 1000 headers`},
		{`{"type":"publish",` + ok + `,"partition":-1}`, partition},
		{`{"type":"publish",` + ok + `,"partition":2147483648}`, partition},
		{`{"type":"publish",` + ok + `,"partition":"1"}`, partition},
		{`{"type":"publish",` + ok + `,"partition":1.0}`, partition},
		{`{"type":"publish",` + ok + `,"partition":18446744073709551616}`, partition},
		{`{"type":"publish",` + ok + `,"partition":true}`, partition},
		{`{"type":"publish",` + ok + `,"timestamp":-1}`, timestamp},
		{`{"type":"publish",` + ok + `,"timestamp":1716400000123456}`, timestamp}, // microseconds
		{`{"type":"publish",` + ok + `,"timestamp":1e12}`, timestamp},
		{`{"type":"publish",` + ok + `,"timestamp":"yesterday"}`, timestamp},
		{`{"type":"publish",` + ok + `,"timestamp":"1969-12-31T23:59:59Z"}`, timestamp},
		{`{"type":"publish",` + ok + `,"timestamp":{}}`, timestamp},
		{`{"type":"publish",` + ok + `,"producer":"p"}`, producer},
		{`{"type":"publish",` + ok + `,"sequence":1}`, producer},
		{`{"type":"publish",` + ok + `,"producer":1,"sequence":1}`, `"producer" must be a string`},
		{`{"type":"publish",` + ok + `,"producer":"p","sequence":-1}`, `"sequence" must be an integer from 0 to 9223372036854775807`},
		{`{"type":"publish",` + ok + `,"producer":"p","sequence":9223372036854775808}`, `"sequence" must be an integer from 0 to 9223372036854775807`},
		{`{"type":"publish",` + ok + `,"producer":"","sequence":1}`, `"producer" must be 1 to 128 bytes`},
		{`{"type":"publish",` + ok + `,"producer":"` + strings.Repeat("p", 129) + `","sequence":1}`, `"producer" must be 1 to 128 bytes`},

		{`{"type":"subscribe"}`, `the request has neither "topics" nor "topic"`},
		{`{"type":"subscribe","topics":["aa"],"topic":"aa"}`, `"topics" and "topic" cannot be given together`},
		{`{"type":"subscribe","topics":[]}`, list},
		{`{"type":"subscribe","topics":null,"topic":null}`, `the request has neither "topics" nor "topic"`},
		{`{"type":"subscribe","topics":"aa,bb"}`, list},
		{`{"type":"subscribe","topics":{"aa":1}}`, list},
		{`{"type":"subscribe","topics":["aa",1]}`, list},
		{`{"type":"subscribe","topic":["aa"]}`, `"topic" must be a string`},
		{topics, `"topics" has more than 10000 topics`},
		{`{"type":"subscribe","topic":"aa","from":5}`, `"from" must be a string, or positions`},
		{`{"type":"subscribe","topic":"aa","from":[]}`, `"from" must be a string, or positions`},
		{`{"type":"subscribe","topic":"aa","from":"15m"}`, `"from": a duration back has a minus: -15m`},
		{`{"type":"subscribe","topic":"aa","from":{"aa":{}}}`, `"from": the position in topic "aa" has no "offsets"`},
		{`{"type":"subscribe","topic":"aa","from":"latest","last":5}`, `"from" and "last" cannot be given together`},
		{`{"type":"subscribe","topic":"aa","last":"5"}`, `"last" must be an integer from 1`},
		{`{"type":"subscribe","topic":"aa","last":0}`, `"last" must be an integer from 1`},
		{`{"type":"subscribe","topic":"aa","last":1.5}`, `"last" must be an integer from 1`},
		{`{"type":"subscribe","topic":"aa","filter":{}}`, `"filter" must be a string`},
		{`{"type":"unsubscribe"}`, `the request has neither "topics" nor "topic"`},
		{`{"type":"ack"}`, ack},
		{`{"type":"ack","positions":{}}`, ack},
		{`{"type":"ack","positions":"{}"}`, ack},
		{`{"type":"ack","positions":[1]}`, `positions must be a JSON object: {"orders":{"offsets":{"0":18}}}`},
		{`{"type":"ack","positions":{"aa":{"offsets":{"0":-1}}}}`, `"offsets" of topic "aa" must be an integer from 0 to 9223372036854775807 for partition 0`},
		{`{"type":"nack","partition":0,"offset":1}`, `the request has no "topic"`},
		{`{"type":"nack","topic":"aa","offset":1}`, `a nack needs "partition"`},
		{`{"type":"nack","topic":"aa","partition":0}`, `a nack needs "offset"`},
		{`{"type":"nack","topic":"aa","partition":0,"offset":-1}`, `"offset" must be an integer from 0 to 9223372036854775807`},
		{`{"type":"nack","topic":"aa","partition":null,"offset":1}`, `a nack needs "partition"`},
		{`{"type":"nack","topic":"aa","partition":0,"offset":1,"delay_ms":86400001}`, `"delay_ms" must be an integer from 0 to 86400000`},
		{`[1]`, `a request must be an object`},
	} {
		q := decodeOne(t, c.message)
		if q.Failure == nil || q.Failure.Code != CodeBadRequest || q.Failure.Message != c.err {
			t.Errorf("%.200s\ngot  %+v\nwant %s", c.message, q.Failure, c.err)
			continue
		}
		if published := q.Type == TypePublish; (q.Failure.Outcome == OutcomeFailed) != published {
			t.Errorf("%.200s: outcome %q", c.message, q.Failure.Outcome)
		}
	}
	q := decodeOne(t, `{"type":"publish","id":"a-7","topic":"aa"}`)
	if got := string(q.Failure.ID); got != `"a-7"` {
		t.Errorf("the failure's id is %s", got)
	}
}

func TestDecodeUnknownType(t *testing.T) {
	q := decodeOne(t, `{"type":"welcome","id":7,"topic":{}}`)
	if q.Type != "welcome" || string(q.ID) != "7" || q.Failure == nil || q.Failure.Code != CodeUnknownType || q.Failure.Message != `there is no request of the type "welcome"` {
		t.Errorf("%+v %+v", q, q.Failure)
	}
	if q := decodeOne(t, `{"type":"`+strings.Repeat("Ж", 1000)+`"}`); len(q.Type) > 64 || !utf8.ValidString(q.Type) || q.Failure == nil {
		t.Errorf("%+v %+v", q, q.Failure)
	}
}

func TestDecodeWholeMessages(t *testing.T) {
	array := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`{"type":"ping"},`, n), ",") + "]" }
	for _, c := range []struct {
		message string
		n       int
		err     string
	}{
		{`[]`, 0, ""},
		{" [\n] ", 0, ""},
		{`[{"type":"ping"} , {"type":"publish"},"x"]`, 3, ""},
		{array(1000), 1000, ""},
		{array(1001), 0, "the message has more than 1000 requests"},
		{``, 0, "the message is not JSON: it ends too early"},
		{`  `, 0, "the message is not JSON: it ends too early"},
		{`"ping"`, 0, `the message must be a request, {"type":"...",...}, or an array of requests`},
		{`ping`, 0, `the message must be a request, {"type":"...",...}, or an array of requests`},
		{"{\"type\":\"\xff\"}", 0, "the text message is not valid UTF-8"},
		{`{"type":"ping"`, 0, "the message is not JSON: it ends too early"},
		{`{"type":"ping"}}`, 0, `the message is not JSON: unexpected '}' at byte 15`},
		{`{"type":"ping"}{"type":"ping"}`, 0, `the message is not JSON: unexpected '{' at byte 15`},
		{`{"type":"ping",}`, 0, `the message is not JSON: unexpected '}' at byte 15`},
		{`{"type":"ping" "id":1}`, 0, `the message is not JSON: unexpected '"' at byte 15`},
		{`{"type"}`, 0, `the message is not JSON: unexpected '}' at byte 7`},
		{`[{"type":"ping"},]`, 0, `the message is not JSON: unexpected ']' at byte 17`},
		{`[{"type":"ping"} {"type":"ping"}]`, 0, `the message is not JSON: unexpected '{' at byte 17`},
		{`[{"type":"ping"},{"type":tru}]`, 0, `the message is not JSON: unexpected '}' at byte 28`},
		{`[{"type":"ping"},{"x":01}]`, 0, `the message is not JSON: unexpected '1' at byte 23`},
		{`[{"type":"ping"},{"x":"` + "\n" + `"}]`, 0, `the message is not JSON: unexpected '\n' at byte 23`},
		{`[` + strings.Repeat(`[`, 1001), 0, "the message is nested deeper than 1000 levels"},
		{strings.Repeat(`{"a":`, 1002), 0, "the message is nested deeper than 1000 levels"},
	} {
		requests, err := DecodeRequests(make([]Request, 0, 2), []byte(c.message))
		got := ""
		if err != nil {
			got = err.Error()
			checkReason(t, err)
			if requests != nil {
				t.Errorf("%.100s: an error and %d requests", c.message, len(requests))
			}
		}
		if got != c.err || len(requests) != c.n {
			t.Errorf("%.100s: %d requests, %s; want %d, %s", c.message, len(requests), got, c.n, c.err)
		}
	}
}

// TestRequestsAreKept: what comes before in the list stays, and the requests of
// one message do not share what they may write to.
func TestRequestsAreKept(t *testing.T) {
	list, err := DecodeRequests(nil, []byte(`[{"type":"publish","topic":"aa","value":"1","headers":[["a","1"]]},{"type":"publish","topic":"aa","value":"2","headers":[["b","2"]]}]`))
	if err != nil {
		t.Fatal(err)
	}
	list, err = DecodeRequests(list, []byte(`{"type":"publish","topic":"bb","value":"\u0033","headers":[["c","\u0033"]]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, q := range list {
		h := q.Record.Headers
		if len(h) != 1 || cap(h) != 1 {
			t.Fatalf("%+v", h)
		}
		got += q.Record.Topic + string(q.Record.Value) + h[0].Key + string(h[0].Value) + " "
	}
	if got != "aa1a1 aa2b2 bb3c3 " {
		t.Error(got)
	}
	// A transform that puts a list of its own into a record must not find it
	// overwritten by the next request.
	own := []record.Header{{Key: "own"}}
	list[0].Record.Headers = own
	if _, err := DecodeRequests(list[:0], []byte(`{"type":"publish","topic":"aa","value":"1","headers":[["other","1"]]}`)); err != nil || own[0].Key != "own" {
		t.Errorf("%v, %+v", err, own)
	}
}

func FuzzDecodeRequests(f *testing.F) {
	for name := range publishRequests() {
		f.Add(publishRequests()[name])
	}
	for _, seed := range []string{
		`{"type":"subscribe","id":"a","topics":["aa","bb"],"from":{"aa":{"offsets":{"0":1}}},"filter":"true"}`,
		`{"type":"subscribe","topic":"aa","from":"-15m"}`, `{"type":"unsubscribe","topics":["aa"]}`,
		`{"type":"ack","id":1,"positions":{"aa":{"offsets":{"0":1}}}}`, `{"type":"nack","topic":"aa","partition":0,"offset":1,"delay_ms":1}`,
		`[{"type":"ping","id":1},{"type":"pong"},[],null,{"type":"publish","type":"ping"}]`,
		`{"type":"publish","topic":"aa","key":"\u0000","value":"aGk=","value_encoding":"base64","headers":[["a",null],["b","/w==","base64"]],"timestamp":"2026-01-31T12:00:00Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Nothing behind the message is there to be read, or to be written to.
		message := bytes.Clone(data)[:len(data):len(data)]
		requests, err := DecodeRequests(make([]Request, 0, 1), message)
		if !bytes.Equal(message, data) {
			t.Fatal("the message was changed")
		}
		if err != nil {
			checkReason(t, err)
			if json.Valid(data) && utf8.Valid(data) && (data[0] == '{' || data[0] == '[') && depth(data) < maxDepth && bytes.Count(data, []byte(",")) < MaxRequests {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		var elements []json.RawMessage
		if json.Unmarshal(data, &elements) != nil {
			elements = []json.RawMessage{data}
		}
		if !json.Valid(data) || len(elements) != len(requests) {
			t.Fatalf("%d requests, %d elements", len(requests), len(elements))
		}
		for i := range requests {
			checkRequest(t, &requests[i], elements[i])
		}
	})
}

// checkRequest asserts what is true of every request that was decoded, and that
// it can be written and read again.
func checkRequest(t *testing.T, q *Request, element json.RawMessage) {
	t.Helper()
	if q.ID != nil && (len(q.ID) > maxID || !json.Valid(q.ID) || !bytes.Contains(element, q.ID)) {
		t.Fatalf("id %q", q.ID)
	}
	if !utf8.ValidString(q.Type) || len(q.Type) > maxID {
		t.Fatalf("type %q", q.Type)
	}
	if q.Failure != nil {
		frame := q.Failure.Append(nil)
		if !json.Valid(frame) || !utf8.Valid(frame) || !bytes.Equal(q.Failure.ID, q.ID) || q.Failure.Message == "" {
			t.Fatalf("%s", frame)
		}
		return
	}
	switch q.Type {
	case TypePublish:
		r := &q.Record
		if r.Key == nil && r.Value == nil || r.Partition < record.AnyPartition || (q.Producer == "") && q.Sequence != 0 {
			t.Fatalf("%+v", q)
		}
		// A record of the server's says the same of a record as a request to
		// publish it.
		for _, c := range []JSON{{}, JSON{}.EmbedValues()} {
			again, _ := c.Append(nil, r)
			again = bytes.Replace(again, []byte(`{"type":"record"`), []byte(`{"type":"publish"`), 1)
			again = bytes.Replace(again, []byte(`"partition":-1,`), nil, 1)
			again = bytes.Replace(again, []byte(`"timestamp":-1,`), []byte(`"timestamp":null,`), 1)
			second := decodeOne(t, string(again))
			if second.Failure != nil {
				t.Fatalf("%s: %s", again, second.Failure.Message)
			}
			s := &second.Record
			if s.Topic != r.Topic || s.Partition != r.Partition || s.Timestamp.UnixMilli() != r.Timestamp.UnixMilli() || !same(s.Key, r.Key) || len(s.Headers) != len(r.Headers) {
				t.Fatalf("%s: %+v, want %+v", again, s, r)
			}
			if !same(s.Value, r.Value) && !(c.embed && bytes.Equal(s.Value, bytes.Trim(r.Value, " \t\r\n"))) {
				t.Fatalf("%s: %q, want %q", again, s.Value, r.Value)
			}
			for i := range s.Headers {
				if s.Headers[i].Key != r.Headers[i].Key || !same(s.Headers[i].Value, r.Headers[i].Value) {
					t.Fatalf("%s: %+v, want %+v", again, s.Headers[i], r.Headers[i])
				}
			}
		}
	case TypeSubscribe, TypeUnsubscribe:
		if len(q.Topics) == 0 {
			t.Fatalf("%+v", q)
		}
	case TypeAck:
		if len(q.Positions) == 0 {
			t.Fatalf("%+v", q)
		}
	case TypeNack:
		if q.Record.Partition < 0 || q.Record.Offset < 0 || q.Delay < 0 || q.Delay > 24*time.Hour {
			t.Fatalf("%+v", q)
		}
	case TypePing:
	default:
		t.Fatalf("type %q was taken", q.Type)
	}
}
