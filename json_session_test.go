package kafkaws_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestWelcome: the first frame tells the session's name, which the log has too,
// and what it has to keep to.
func TestWelcome(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), open+"max_topics 7\nmax_message_size 10KiB\nmax_in_flight 9\nping_interval 11s")
	c, other := s.dialJSON(""), s.dialJSON("")
	want := map[string]int64{"max_requests": 1000, "max_topics": 7, "max_message_size": 10 << 10, "max_in_flight": 9, "ping_interval_ms": 11000}
	if got := c.welcome.Limits; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("limits %v, want %v", got, want)
	}
	if c.welcome.Session == other.welcome.Session || c.welcome.ProducerSecret == other.welcome.ProducerSecret || c.welcome.ProducerSecret == "" {
		t.Errorf("two sessions have %s and %s", c.welcome.raw, other.welcome.raw)
	}
	_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
	if code, retry := c.ended(); code != 1000 || retry != nil {
		t.Errorf("closed with %d after %v", code, retry)
	}
	await(t, "the session's name in the log", func() bool {
		for line := range strings.Lines(s.Log()) {
			var logged struct{ Msg, Session string }
			if json.Unmarshal([]byte(line), &logged) == nil && logged.Msg == "session ended" && logged.Session == c.welcome.Session {
				return true
			}
		}
		return false
	})
	// A user that the site has authenticated needs no secret.
	s = startSite(t, broker.Addr(), open)
	if err := s.reload(withRoute(siteConfig(s.addr, broker.Addr(), open), accounts("alice"))); err != nil {
		t.Fatal(err)
	}
	if user := s.dialJSONAs("", credentials("alice")); user.welcome.ProducerSecret != "" {
		t.Errorf("a user was given a secret: %s", user.welcome.raw)
	}
}

// TestBadRequests: what is wrong is answered, and the session goes on.
func TestBadRequests(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	s := startSite(t, broker.Addr(), open+"max_message_size 100KiB")
	c := s.dialJSON("")
	tooMany := "[" + strings.Repeat(`{"type":"ping"},`, 1000) + `{"type":"ping"}]`
	for _, bad := range []struct{ send, id, code, message string }{
		{`{"type":"pi`, "", "bad_request", "JSON"},
		{`{"type":"ping"}{}`, "", "bad_request", ""},
		{`"ping"`, "", "bad_request", ""},
		{``, "", "bad_request", ""},
		{tooMany, "", "bad_request", "1000|1,000"},
		{`{"type":"dance","id":"x"}`, `"x"`, "unknown_type", ""},
		{`{"id":7}`, "7", "bad_request", "type"},
		{`{"type":"ping","id":"` + strings.Repeat("x", 63) + `"}`, "", "bad_request", "id"},
		{`{"type":"ping","id":[1]}`, "", "bad_request", "id"},
		{`{"type":"publish","id":1,"topic":"` + topic + `","value":"x","topic":"y"}`, "1", "bad_request", "twice"},
		{`{"type":"publish","id":1,"topic":"` + topic + `"}`, "1", "bad_request", "value"},
		{`{"type":"publish","id":1.0,"topic":"` + topic + `","value":null}`, "1.0", "bad_request", "key"},
		{`{"type":"publish","id":1,"topic":"` + topic + `","value":"x","partition":1e0}`, "1", "bad_request", "partition"},
		{`{"type":"publish","id":1,"topic":"` + topic + `","value":"x","producer":"p"}`, "1", "bad_request", "sequence"},
		{`{"type":"publish","id":1,"topic":"` + topic + `","value":"/w","value_encoding":"base64"}`, "1", "bad_request", "base64"},
		{`{"type":"subscribe","id":1}`, "1", "bad_request", "topic"},
		{`{"type":"subscribe","id":1,"topic":"` + topic + `","from":"yesterday"}`, "1", "bad_request", "from"},
		{`{"type":"subscribe","id":1,"topic":"` + topic + `","from":"latest","last":1}`, "1", "bad_request", "last"},
		{`{"type":"subscribe","id":1,"topic":"` + topic + `","last":0}`, "1", "bad_request", "last"},
		{`{"type":"subscribe","id":1,"topic":"` + topic + `","filter":"record.key =="}`, "1", "bad_filter", ""},
		{`{"type":"subscribe","id":1,"topic":"` + topic + `","filter":"record.key + 1"}`, "1", "bad_filter", ""},
		{`{"type":"subscribe","id":1,"topic":"no/topic"}`, "1", "unknown_topic", ""},
		{`{"type":"unsubscribe","id":1,"topic":"` + topic + `"}`, "1", "not_subscribed", ""},
		{`{"type":"resume","id":1}`, "1", "bad_request", "producer_secret"},
		{`{"type":"resume","id":1,"producer_secret":"guess"}`, "1", "bad_request", "producer_secret"},
		{`{"type":"ack","id":1,"positions":{"` + topic + `":{"offsets":{"0":1}}}}`, "1", "no_group", "group.id"},
		{`{"type":"nack","id":1,"topic":"` + topic + `","partition":0,"offset":0}`, "1", "no_group", "group.id"},
	} {
		c.send(bad.send)
		f := c.next("error")
		if string(f.ID) != bad.id || f.Code != bad.code || f.Retriable || !regexp.MustCompile(bad.message).MatchString(f.Message) {
			t.Errorf("%.100s is answered with %s", bad.send, f.raw)
		}
	}
	// A request that is wrong does not affect the others of its array.
	c.send(`[{"type":"ping","id":"first"},{"type":"dance","id":2},7,{"type":"ping","id":"\u0041","more":[{}]}]`)
	c.answer(`"first"`, "pong")
	c.answer("2", "error")
	c.answer("", "error")
	c.answer(`"\u0041"`, "pong") // byte for byte
	c.send(`{"type":"ping"}`)
	if f := c.next("pong"); f.ID != nil {
		t.Errorf("a ping without an id is answered with %s", f.raw)
	}
	if left := c.unread(); left != "" {
		t.Errorf("nobody asked for %s", left)
	}
}

// TestWhatClosesASession is the little that does.
func TestWhatClosesASession(t *testing.T) {
	s := startSite(t, kafkatest.Shared(t).Addr(), open+"max_message_size 1KiB")
	for code, send := range map[int]func(c *jsonClient) error{
		1003: func(c *jsonClient) error { return c.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"ping"}`)) },
		1007: func(c *jsonClient) error { return c.WriteMessage(websocket.TextMessage, []byte("{\"type\":\"\xff\"}")) },
		1009: func(c *jsonClient) error {
			return c.WriteMessage(websocket.TextMessage, []byte(strings.Repeat(" ", 2<<10)))
		},
	} {
		c := s.dialJSON("")
		if err := send(c); err != nil {
			t.Fatal(err)
		}
		if got, retry := c.ended(); got != code || retry != nil {
			t.Errorf("closed with %d after %v, want %d", got, retry, code)
		}
	}
}

// TestParameters has the request say how records are to be sent.
func TestParameters(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	values := []string{`{"a": 1.50, "n":12345678901234567890}`, `"text"`, `null`, `no JSON`, "\xff\xfe", `[` + strings.Repeat(`[`, 70) + strings.Repeat(`]`, 70) + `]`}
	for i, value := range values {
		broker.ProduceTo(t, topic, 0, &kgo.Record{Key: fmt.Append(nil, i), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("\xff")}, {Key: "h"}}})
	}
	broker.ProduceTo(t, topic, 0, &kgo.Record{Key: []byte("\xff")})
	s := startSite(t, broker.Addr(), open+"compression 50B")
	squeezed := *s
	squeezed.deflate = true
	raw := func(f frame) string { return string(f.Value) + f.ValueEncoding }
	plain := []string{mustJSON(values[0]), mustJSON(values[1]), mustJSON(values[2]), mustJSON(values[3]), `"//4="base64`, mustJSON(values[5]), "null"}
	embedded := []string{values[0] + "json", values[1] + "json", values[2] + "json", plain[3], plain[4], plain[5], "null"}
	for _, site := range []*site{s, &squeezed} {
		for query, want := range map[string][]string{
			"":                     plain,
			"&values=text":         plain,
			"&values=json":         embedded,
			"&batch=1":             plain,
			"&batch=1&values=json": embedded,
			"&batch=0&filter=" + url.QueryEscape(`record.key in ["0", "3"]`):                               {plain[0], plain[3]},
			"&batch=1&values=json&filter=" + url.QueryEscape(`record.value.a > 1.0 || record.offset == 5`): {embedded[0], embedded[5]},
			"&filter=" + url.QueryEscape(`record.value == null && record.offset > 2`):                      {plain[6]},
		} {
			c := site.dialJSON("from=earliest&topics=" + topic + query)
			if site.deflate != strings.Contains(c.extensions, "permessage-deflate") {
				t.Fatalf("%s: extensions %q", query, c.extensions)
			}
			if f := c.next("subscribed"); f.ID != nil || len(f.Topics) != 1 || f.Positions[topic].Offsets[0] != 0 || len(f.Positions[topic].TopicID) != 22 {
				t.Errorf("%s", f.raw)
			}
			records := c.records(len(want))
			for i, f := range records {
				if raw(f) != want[i] {
					t.Errorf("%s: %s, want %s", query, f.raw, want[i])
				}
				if f.KeyEncoding == "" && string(f.Headers) != `[["h","/w==","base64"],["h",null]]` {
					t.Errorf("%s: headers of %s", query, f.raw)
				}
			}
			if last := records[len(records)-1]; last.KeyEncoding != "" && (last.KeyEncoding != "base64" || *last.Key != "/w==" || last.Headers != nil) {
				t.Errorf("%s: %s", query, last.raw)
			}
			if batched := strings.Contains(query, "batch=1"); batched != (len(c.arrays) > 0) {
				t.Errorf("%s: arrays of %v", query, c.arrays)
			}
			// That it has come to the end is told, also where a filter passes the
			// last records over.
			c.status("caught_up")
			if end := c.do("unsubscribe", object{"topic": topic}, "unsubscribed").Positions[topic].Offsets[0]; end != int64(len(values)+1) {
				t.Errorf("%s: it ended at %d", query, end)
			}
			if left := c.unread(); left != "" && !strings.Contains(left, "progress") {
				t.Errorf("%s: nobody asked for %s", query, left)
			}
		}
	}
	// A filter is not kafka-json's alone.
	s.dial("from=earliest&topics="+topic+"&filter="+url.QueryEscape(`record.key == "3"`), "kafka-text").expect(fmt.Sprintf(`{"topic":%q,"key":"3","message":"no JSON"}`, topic))
	for _, query := range []string{"batch=2", "values=xml", "filter=1", "filter=" + url.QueryEscape("record.nothing"), "from=x", "last=0"} {
		if _, resp, err := s.tryDial(query, nil, "kafka-json"); err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", query, resp, err)
		}
	}
}

// TestBatches: records that are there come several in an array, those that come
// alone in arrays of one.
func TestBatches(t *testing.T) {
	const n = 5000
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	all := make([]*kgo.Record, n)
	for i := range all {
		all[i] = &kgo.Record{Value: fmt.Append(nil, i)}
	}
	broker.ProduceTo(t, topic, 0, all...)
	s := startSite(t, broker.Addr(), open)
	half := s.dialJSON("batch=1&from=earliest&topics=" + topic + "&filter=" + url.QueryEscape("record.offset % 2 == 0"))
	c := s.dialJSON("batch=1&from=earliest&topics=" + topic)
	for i, f := range c.records(n) {
		if f.text() != fmt.Sprint(i) {
			t.Fatalf("record %d is %s", i, f.raw)
		}
	}
	for i, f := range half.records(n / 2) {
		if f.text() != fmt.Sprint(2*i) {
			t.Fatalf("record %d of the filtered is %s", i, f.raw)
		}
	}
	if len(c.arrays) > n/10 || len(half.arrays) > n/20 {
		t.Errorf("%d and %d arrays are few records in each", len(c.arrays), len(half.arrays))
	}
	for i := range 4 {
		broker.ProduceTo(t, topic, 0, &kgo.Record{Value: fmt.Append(nil, i)})
		before := len(c.arrays)
		c.expectValues(fmt.Sprint(i))
		if len(c.arrays) != before+1 || c.arrays[before] != 1 {
			t.Errorf("a record alone came in %v", c.arrays[before:])
		}
		if i%2 == 0 {
			half.expectValues(fmt.Sprint(i))
		}
	}
}
