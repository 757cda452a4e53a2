package codec

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kafkaws/kafkaws/internal/asyncapitest"
	"github.com/kafkaws/kafkaws/record"
)

const (
	asyncapi = "../docs/asyncapi.yaml" // the wire for machines
	page     = "../docs/protocol.md"   // the same for people
)

// appender is a frame of the server.
type appender interface{ Append(dst []byte) []byte }

// frames are all frames of the server's but records, with all that they can have
// and with as little.
func frames() map[string]appender {
	id := []byte(`"a\u0041"`)
	at := time.UnixMilli(1716400000123)
	positions := record.Positions{"orders": {TopicID: record.TopicID{1}, Offsets: map[int32]int64{0: 18, 1: 4}, Epochs: map[int32]int32{0: 3}}}
	return map[string]appender{
		`{"type":"welcome","session":"s","limits":{"max_requests":1000}}`: &Welcome{Session: "s"},
		`{"type":"welcome","session":"s","group":"g\"","producer_secret":"p","limits":{"max_requests":1000,"max_topics":128,"max_message_size":1048576,"max_in_flight":256,"ping_interval_ms":25000}}`: &Welcome{
			Session: "s", Group: `g"`, ProducerSecret: "p",
			Limits: Limits{MaxTopics: 128, MaxMessageSize: 1 << 20, MaxInFlight: 256, PingInterval: 25 * time.Second},
		},
		`{"type":"subscribed","topics":["orders"],"positions":{}}`: &Subscribed{Topics: []string{"orders"}},
		`{"type":"subscribed","id":"a\u0041","topics":["orders","a\"b"],"positions":{"orders":{"topic_id":"AQAAAAAAAAAAAAAAAAAAAA","offsets":{"0":18,"1":4},"epochs":{"0":3}}}}`: &Subscribed{
			ID: id, Topics: []string{"orders", `a"b`}, Positions: positions,
		},
		`{"type":"unsubscribed","id":7,"topics":["orders"],"positions":{"orders":{"offsets":{"0":1}}}}`: &Unsubscribed{
			ID: []byte("7"), Topics: []string{"orders"}, Positions: record.Positions{"orders": {Offsets: map[int32]int64{0: 1}}},
		},
		`{"type":"published","partition":0,"offset":0}`:                                                            &Published{},
		`{"type":"published","id":"a\u0041","partition":3,"offset":18,"timestamp":1716400000123,"duplicate":true}`: &Published{ID: id, Partition: 3, Offset: 18, Timestamp: at, Duplicate: true},
		`{"type":"published","id":-1.5e3,"duplicate":true}`:                                                        &Published{ID: []byte("-1.5e3"), Partition: -1, Offset: -1, Duplicate: true},
		`{"type":"discarded"}`:                   &Discarded{},
		`{"type":"discarded","id":"a\u0041"}`:    &Discarded{ID: id},
		`{"type":"acked"}`:                       &Acked{},
		`{"type":"acked","id":7,"positions":{}}`: &Acked{ID: []byte("7"), Positions: record.Positions{}},
		`{"type":"resumed"}`:                     &Resumed{},
		`{"type":"resumed","id":"a\u0041"}`:      &Resumed{ID: []byte(`"a\u0041"`)},
		`{"type":"pong"}`:                        &Pong{},
		`{"type":"pong","id":"a\u0041"}`:         &Pong{ID: id},
		`{"type":"retry_after","ms":1830}`:       &RetryAfter{Delay: 1830*time.Millisecond + 999*time.Microsecond},
		`{"type":"retry_after","ms":0}`:          &RetryAfter{Delay: -time.Second},
		`{"type":"error","code":"bad_request","message":"","retriable":false}`: &Failure{Code: CodeBadRequest},
		`{"type":"error","id":"a\u0041","code":"unavailable","message":"a \"b\"\n","retriable":true,"outcome":"failed","kafka_error":"K","topic":"orders"}`: &Failure{
			ID: id, Code: CodeUnavailable, Message: "a \"b\"\n", Outcome: OutcomeFailed, KafkaError: "K", Topic: "orders",
		},
		`{"type":"error","id":7,"code":"unknown_outcome","message":"m","retriable":true,"outcome":"unknown"}`:  &Failure{ID: []byte("7"), Code: CodeUnknownOutcome, Message: "m", Outcome: OutcomeUnknown},
		`{"type":"error","id":8,"code":"unknown_outcome","message":"m","retriable":false,"outcome":"unknown"}`: &Failure{ID: []byte("8"), Code: CodeUnknownOutcome, Message: "m", Outcome: OutcomeUnknown, Final: true},
		`{"type":"status","status":"waiting","topic":"orders"}`:                                                &Waiting{Topic: "orders"},
		`{"type":"status","status":"unreachable","since":1716400000123}`:                                       &Unreachable{Since: at},
		`{"type":"status","status":"reachable"}`:                                                               Reachable{},
		`{"type":"status","status":"caught_up","topic":"orders"}`:                                              &CaughtUp{Topic: "orders"},
		`{"type":"status","status":"gap","topic":"orders","partition":1,"from":18,"to":40,"reason":"deleted"}`: &Gap{
			Topic: "orders", Partition: 1, From: 18, To: 40, Reason: GapDeleted,
		},
		`{"type":"status","status":"gap","topic":"orders","partition":0,"from":18,"to":0,"reason":"recreated"}`: &Gap{Topic: "orders", From: 18, Reason: GapRecreated},
		`{"type":"status","status":"progress","positions":{"orders":{"offsets":{"0":40}}}}`:                     &Progress{Positions: record.Positions{"orders": {Offsets: map[int32]int64{0: 40}}}},
		`{"type":"status","status":"assigned","partitions":{},"positions":{}}`:                                  &Assigned{},
		`{"type":"status","status":"assigned","partitions":{"a":[],"orders":[0,1,10]},"positions":{"orders":{"offsets":{"1":4}}}}`: &Assigned{
			Partitions: Partitions{"orders": {10, 1, 0}, "a": nil}, Positions: record.Positions{"orders": {Offsets: map[int32]int64{1: 4}}},
		},
		`{"type":"status","status":"revoked","partitions":{"orders":[1]}}`: &Revoked{Partitions: Partitions{"orders": {1}}},
	}
}

func TestFrames(t *testing.T) {
	document := asyncapitest.Load(t, asyncapi)
	for want, frame := range frames() {
		got := frame.Append([]byte("before "))
		if string(got) != "before "+want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !json.Valid([]byte(want)) {
			t.Errorf("not JSON: %s", want)
		}
		document.CheckFrame(t, []byte(want))
	}
}

func TestMessagesOfErrorsAreCut(t *testing.T) {
	frame := (&Failure{Code: CodeBadFilter, Message: strings.Repeat("Ж", 10_000)}).Append(nil)
	if !utf8.Valid(frame) || !json.Valid(frame) || len(frame) > 1200 {
		t.Errorf("%d bytes: %s", len(frame), frame)
	}
}

// TestRecordsAreAsDescribed checks records against the document, one by one and as
// the gateway makes batches of them.
func TestRecordsAreAsDescribed(t *testing.T) {
	document := asyncapitest.Load(t, asyncapi)
	records := []record.Record{
		{Topic: "aa", Value: []byte("m")},
		{Topic: "aa", Key: []byte("k"), Epoch: 7},
		{Topic: "aa", Key: []byte("k"), Epoch: record.NoEpoch},
		{Topic: "aa", Key: []byte{}, Value: []byte{}, Timestamp: time.UnixMilli(1)},
		{Topic: "aa", Key: []byte{0xff}, Value: []byte{0xff}, Headers: []record.Header{{Key: "a"}, {Key: "b", Value: []byte{0xff}}, {Key: "c", Value: []byte("c")}}},
		{Topic: "aa", Value: []byte(`{"a":[1]}`)},
		{Topic: "aa", Value: []byte(`null`)},
		{Topic: "aa", Value: []byte(`1.5`)},
	}
	for _, c := range []JSON{{}, JSON{}.EmbedValues()} {
		batch := []byte("[")
		for i := range records {
			frame, err := c.Append(nil, &records[i])
			if err != nil {
				t.Fatal(err)
			}
			document.CheckFrame(t, frame)
			batch = append(append(batch, frame...), ',')
		}
		batch[len(batch)-1] = ']'
		document.CheckFrame(t, batch)
	}
	for i := range records {
		frame, _ := Text{}.Append(nil, &records[i])
		document.Check(t, "textRecord", frame)
	}
}

// TestExamples: the examples of the document are what it says itself, and requests
// among them are taken.
func TestExamples(t *testing.T) {
	document := asyncapitest.Load(t, asyncapi)
	for _, message := range document.Messages() {
		examples := document.Examples(message)
		if len(examples) == 0 {
			t.Errorf("%s has no example", message)
		}
		for _, example := range examples {
			document.Check(t, message, example.Payload)
			switch message {
			case TypeSubscribe, TypeUnsubscribe, TypePublish, TypeAck, TypeNack, TypeResume, TypePing, "requests":
				requests, err := DecodeRequests(nil, example.Payload)
				if err != nil || len(requests) == 0 {
					t.Errorf("%s, %s: %v", message, example.Name, err)
				}
				for i := range requests {
					if f := requests[i].Failure; f != nil {
						t.Errorf("%s, %s: %s", message, example.Name, f.Message)
					}
				}
			case "textPublish":
				var r record.Record
				if taken, err := (Text{}).Decode(&r, false, example.Payload); err != nil || taken == strings.Contains(example.Name, "ignored") {
					t.Errorf("%s, %s: %t, %v", message, example.Name, taken, err)
				}
			case "binaryRecord":
				var text string
				if err := json.Unmarshal(example.Payload, &text); err != nil {
					t.Fatal(err)
				}
				var r record.Record
				if taken, err := (Binary{}).Decode(&r, true, []byte(text)); err != nil || !taken || r.Topic != "orders" || string(r.Value) != "hi" {
					t.Errorf("%s: %t, %v, %+v", message, taken, err, r)
				}
			}
		}
	}
}

// TestDocumentRefuses: the schemas are not so loose that they take anything.
func TestDocumentRefuses(t *testing.T) {
	document := asyncapitest.Load(t, asyncapi)
	for _, c := range []struct{ message, payload string }{
		{"record", `{"type":"record","topic":"aa","partition":0,"offset":0,"timestamp":-1}`},
		{"record", `{"type":"record","topic":"aa","partition":0,"offset":0,"timestamp":-1,"value":{}}`},
		{"record", `{"type":"record","topic":"aa","partition":0,"offset":0,"timestamp":-1,"value":"m","extra":1}`},
		{"record", `{"type":"record","topic":"aa","partition":0,"offset":0,"timestamp":-1,"value":"m","headers":[["a","b","hex"]]}`},
		{"record", `{"type":"record","topic":"aa","partition":0,"offset":0,"epoch":-1,"timestamp":-1,"value":"m"}`},
		{"records", `[]`},
		{"subscribed", `{"type":"subscribed","topics":["aa"],"positions":{"aa":{"offsets":{"00":1}}}}`},
		{"subscribed", `{"type":"subscribed","topics":["aa"],"positions":{"aa":{"topic_id":"x","offsets":{}}}}`},
		{"status", `{"type":"status","status":"gap","topic":"aa"}`},
		{"status", `{"type":"status","status":"other"}`},
		{"error", `{"type":"error","code":"other","message":"m","retriable":true}`},
		{"subscribe", `{"type":"subscribe","topics":["aa"],"topic":"aa"}`},
		{"publish", `{"type":"publish","topic":"aa"}`},
		{"publish", `{"type":"publish","topic":"aa","value":"m","timestamp":"yesterday"}`},
		{"requests", `[{"type":"pong"}]`},
		{"textRecord", `{"topic":"aa","message":1}`},
	} {
		if document.Validate(c.message, []byte(c.payload)) == nil {
			t.Errorf("%s takes %s", c.message, c.payload)
		}
	}
}

// TestClosedListsAreDescribed compares the constants of the code with the
// document and with the page for people.
func TestClosedListsAreDescribed(t *testing.T) {
	read := func(file string) string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(text), "\r\n", "\n")
	}
	document := asyncapitest.Load(t, asyncapi)
	described := read(page)
	for _, c := range []struct{ file, pattern, message, frame string }{
		{"json_error.go", `ErrorCode = "(\w+)"`, "error", `{"type":"error","code":"%","message":"m","retriable":true}`},
		{"json_error.go", `Outcome = "(\w+)"`, "error", `{"type":"error","code":"internal","message":"m","retriable":true,"outcome":"%"}`},
		{"json_status.go", `GapReason = "(\w+)"`, "status", `{"type":"status","status":"gap","topic":"aa","partition":0,"from":1,"to":2,"reason":"%"}`},
		{"json_request.go", `Type\w+ += "(\w+)"`, "", ""},
	} {
		constants := regexp.MustCompile(c.pattern).FindAllStringSubmatch(read(c.file), -1)
		if len(constants) < 2 {
			t.Errorf("%s has no %s", c.file, c.pattern)
		}
		for _, constant := range constants {
			if !strings.Contains(described, "`"+constant[1]+"`") {
				t.Errorf("%s does not have `%s`", page, constant[1])
			}
			if c.message != "" {
				document.Check(t, c.message, []byte(strings.ReplaceAll(c.frame, "%", constant[1])))
			} else if !slices.Contains(document.Messages(), constant[1]) {
				t.Errorf("the document has no message %s", constant[1])
			}
		}
	}
}

// TestPageIsAsDescribed checks every frame in the page for people against the
// document.
func TestPageIsAsDescribed(t *testing.T) {
	document := asyncapitest.Load(t, asyncapi)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	in := false
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		switch {
		case bytes.HasPrefix(line, []byte("```")):
			in = bytes.Equal(line, []byte("```json"))
		case in && bytes.HasPrefix(line, []byte(`[{"type":"record"`)), in && bytes.HasPrefix(line, []byte(`{"type":`)):
			found++
			document.CheckFrame(t, line)
		case in && bytes.HasPrefix(line, []byte(`[{"type":`)):
			found++
			document.Check(t, "requests", line)
		case in && len(line) > 0 && !json.Valid(line):
			t.Errorf("not JSON: %s", line)
		}
	}
	if found < 20 {
		t.Errorf("%d frames were found", found)
	}
}
