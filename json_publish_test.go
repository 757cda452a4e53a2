package kafkaws_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// checkPublished compares what a client was told of a record with Kafka's.
func checkPublished(t testing.TB, f frame, r *kgo.Record) {
	t.Helper()
	if *f.Partition != r.Partition || *f.Offset != r.Offset || *f.Timestamp != r.Timestamp.UnixMilli() {
		t.Errorf("%s is at %d/%d, %d in kafka", f.raw, r.Partition, r.Offset, r.Timestamp.UnixMilli())
	}
}

// recordAt returns the record at a place.
func recordAt(t testing.TB, all []*kgo.Record, f frame) *kgo.Record {
	t.Helper()
	for _, r := range all {
		if r.Partition == *f.Partition && r.Offset == *f.Offset {
			return r
		}
	}
	t.Fatalf("kafka has no record for %s", f.raw)
	return nil
}

// TestPublishForms writes a record in each form that a request can have.
func TestPublishForms(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 4, nil)
	s := startSite(t, broker.Addr(), open)
	squeezed := *s
	squeezed.deflate = true
	header := func(key string, value []byte) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: value} }
	at := time.Date(2026, 1, 31, 12, 0, 0, 123e6, time.UTC)
	tests := []struct {
		members string
		want    kgo.Record
	}{
		{`"value":"hello"`, kgo.Record{Value: []byte("hello")}},
		{`"value":""`, kgo.Record{Value: []byte{}}},
		{`"key":"k","value":null`, kgo.Record{Key: []byte("k")}},
		{`"key":"","value":"x"`, kgo.Record{Key: []byte{}, Value: []byte("x")}},
		{`"key":null,"headers":null,"partition":null,"timestamp":null,"value":"\u00e4\ud83e\udd8a\n"`, kgo.Record{Value: []byte("ä🦊\n")}},
		{`"value":{"a": 1.50,"b":[ ]}`, kgo.Record{Value: []byte(`{"a": 1.50,"b":[ ]}`)}},
		{`"key":17,"value":12345678901234567890`, kgo.Record{Key: []byte("17"), Value: []byte("12345678901234567890")}},
		{`"value":"text","value_encoding":"json"`, kgo.Record{Value: []byte(`"text"`)}},
		{`"value":null,"value_encoding":"json"`, kgo.Record{Value: []byte(`null`)}},
		{`"key":"/w==","key_encoding":"base64","value":"//4=","value_encoding":"base64"`, kgo.Record{Key: []byte("\xff"), Value: []byte("\xff\xfe")}},
		{
			`"headers":[["a","1"],["a","/w==","base64"],["b",null],["c",{"d":1}],["",""]],"value":"x"`,
			kgo.Record{Value: []byte("x"), Headers: []kgo.RecordHeader{header("a", []byte("1")), header("a", []byte("\xff")), header("b", nil), header("c", []byte(`{"d":1}`)), header("", []byte{})}},
		},
		{`"partition":3,"value":"x"`, kgo.Record{Partition: 3, Value: []byte("x")}},
		{`"timestamp":1769860800123,"value":"x"`, kgo.Record{Timestamp: at, Value: []byte("x")}},
		{`"timestamp":"2026-01-31T13:00:00.123+01:00","partition":2,"key":"k","value":"x"`, kgo.Record{Partition: 2, Timestamp: at, Key: []byte("k"), Value: []byte("x")}},
	}
	for _, site := range []*site{s, &squeezed} {
		c := site.dialJSON("")
		var answers []frame
		for i, test := range tests {
			text := fmt.Sprintf(`{"type":"publish","id":%d,"topic":%q,%s}`, i, topic, test.members)
			c.document.CheckFrame(t, []byte(text))
			c.send(text)
			answers = append(answers, c.answer(fmt.Sprint(i), "published"))
		}
		all := broker.ReadAll(t, topic)
		for i, test := range tests {
			got, want := recordAt(t, all, answers[i]), test.want
			checkPublished(t, answers[i], got)
			same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
			if !same(got.Key, want.Key) || !same(got.Value, want.Value) || fmt.Sprintf("%q", got.Headers) != fmt.Sprintf("%q", want.Headers) ||
				strings.Contains(test.members, `"partition":`+fmt.Sprint(want.Partition)) && got.Partition != want.Partition ||
				!want.Timestamp.IsZero() && !got.Timestamp.Equal(want.Timestamp) {
				t.Errorf("%s is %q = %q with %q at %d, %v", test.members, got.Key, got.Value, got.Headers, got.Partition, got.Timestamp)
			}
			if want.Timestamp.IsZero() && time.Since(got.Timestamp).Abs() > 2*patience {
				t.Errorf("%s has the time %v", test.members, got.Timestamp)
			}
		}
		// Keys go to the partitions of Kafka's own clients.
		for i, key := range []string{"k", "17"} {
			f := c.publish(object{"topic": topic, "key": key, "value": fmt.Sprint(i)})
			if want := kgo.StickyKeyPartitioner(nil).ForTopic(topic).Partition(&kgo.Record{Key: []byte(key)}, 4); int(*f.Partition) != want {
				t.Errorf("the key %s is in partition %d, want %d", key, *f.Partition, want)
			}
		}
	}
}

// TestWhatIsReceivedCanBePublished: a record, with another type, is a request.
func TestWhatIsReceivedCanBePublished(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	broker.ProduceTo(t, topic, 0,
		&kgo.Record{Key: []byte("\xff"), Value: []byte("\xfe\xff"), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("\xff")}, {Key: "a"}}},
		&kgo.Record{Value: []byte(`{"a":"b"}`)}, &kgo.Record{Key: []byte("k")}, &kgo.Record{Value: []byte(`null`)})
	s := startSite(t, broker.Addr(), open)
	c := s.dialJSON("values=json&from=earliest&topics=" + topic)
	for i, f := range c.records(4) {
		c.send(strings.Replace(f.raw, `"record"`, fmt.Sprintf(`"publish","id":"again-%d"`, i), 1))
		c.answer(fmt.Sprintf(`"again-%d"`, i), "published")
	}
	all := broker.ReadAll(t, topic)
	if len(all) != 8 {
		t.Fatalf("%d records", len(all))
	}
	for i, r := range all[4:] {
		if want := all[i]; fmt.Sprintf("%q %q %q %v", r.Key, r.Value, r.Headers, r.Timestamp) != fmt.Sprintf("%q %q %q %v", want.Key, want.Value, want.Headers, want.Timestamp) {
			t.Errorf("%q = %q became %q = %q", want.Key, want.Value, r.Key, r.Value)
		}
	}
}

// TestPublishMany sends arrays of requests without waiting: all are answered, each
// with its place, and each partition has them in their order.
func TestPublishMany(t *testing.T) {
	const messages, each, partitions = 20, 100, 3
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, partitions, nil)
	s := startSite(t, broker.Addr(), open+"max_in_flight 50")
	c := s.dialJSON("")
	for m := range messages {
		var requests []object
		for i := range each {
			requests = append(requests, object{"type": "publish", "id": m*each + i, "topic": topic, "partition": i % partitions, "value": fmt.Sprint(m*each + i)})
		}
		requests[7] = object{"type": "publish", "id": m*each + 7, "topic": topic, "partition": partitions, "value": "nowhere"}
		text := mustJSON(requests)
		c.document.Check(t, "requests", []byte(text))
		c.send(text)
	}
	answers := make(map[string]frame)
	for range messages * each {
		f := c.wait(func(f *frame) bool { return f.ID != nil })
		answers[string(f.ID)] = f
	}
	last := [partitions]int{-1, -1, -1}
	for _, r := range broker.ReadAll(t, topic) {
		f, answered := answers[string(r.Value)]
		if !answered || f.Type != "published" {
			t.Fatalf("%s was answered with %s", r.Value, f.raw)
		}
		checkPublished(t, f, r)
		delete(answers, string(r.Value))
		n := 0
		if _, err := fmt.Sscan(string(r.Value), &n); err != nil || n <= last[r.Partition] {
			t.Fatalf("%s is behind %d: %v", r.Value, last[r.Partition], err)
		}
		last[r.Partition] = n
	}
	if len(answers) != messages {
		t.Errorf("%d requests were not written, want %d", len(answers), messages)
	}
	for _, f := range answers {
		if f.Code != "refused" || f.Outcome != "failed" || f.Retriable {
			t.Errorf("a partition that is not there: %s", f.raw)
		}
	}
}

// TestPublishFails: each reason is told, and the session goes on.
func TestPublishFails(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic, small, compacted, stamped := kafkatest.Topic(t), kafkatest.Topic(t), kafkatest.Topic(t), kafkatest.Topic(t)
	for name, config := range map[string]map[string]string{
		topic: nil, small: {"max.message.bytes": "2000"}, compacted: {"cleanup.policy": "compact"}, stamped: {"message.timestamp.type": "LogAppendTime"},
	} {
		broker.CreateTopic(t, name, 1, config)
	}
	s := startSite(t, broker.Addr(), "publish TestPublish* unknown\n"+"transform in discard `record.value == \"ping\"`\n"+"transform in filter `record.key == null || record.value.price > 10.0`\n")
	c := s.dialJSON("")
	for _, test := range []struct {
		members                   object
		code, outcome, kafkaError string
	}{
		{object{"topic": topic, "key": "k", "value": "no JSON"}, "transform_failed", "failed", ""},
		{object{"topic": "other", "value": "x"}, "not_allowed", "failed", ""},
		{object{"topic": "no/topic", "value": "x"}, "unknown_topic", "failed", ""},
		{object{"topic": "unknown", "value": "x"}, "unknown_topic", "failed", ""},
		{object{"topic": small, "value": strings.Repeat("x", 4000)}, "too_large", "failed", "MESSAGE_TOO_LARGE"},
		{object{"topic": compacted, "value": "x"}, "refused", "failed", "INVALID_RECORD"},
		{object{"topic": topic, "value": "x", "partition": 1}, "refused", "failed", ""},
	} {
		if f := c.do("publish", test.members, "error"); f.Code != test.code || f.Outcome != test.outcome || f.KafkaError != test.kafkaError || f.Retriable || f.Message == "" || f.Topic != "" {
			t.Errorf("got %s, want %s, %s, %s", f.raw, test.code, test.outcome, test.kafkaError)
		}
	}
	c.do("publish", object{"topic": topic, "value": "ping"}, "discarded")
	c.do("publish", object{"topic": topic, "key": "k", "value": object{"price": 9}}, "discarded")
	c.publish(object{"topic": topic, "key": "k", "value": object{"price": 11}})
	c.publish(object{"topic": small, "value": "x"})
	f := c.publish(object{"topic": stamped, "value": "x", "timestamp": 1})
	checkPublished(t, f, broker.ReadAll(t, stamped)[0])
	if n := len(broker.ReadAll(t, topic)); n != 1 {
		t.Errorf("%d records are in the topic, want 1", n)
	}
}

// TestKafkaErrors: errors that Kafka has a name for have it, and what became of
// the record is told.
func TestKafkaErrors(t *testing.T) {
	kafka := watchKafka(t, kfake.SeedTopics(1, "topic", "other"))
	s := startSite(t, kafka.ListenAddrs()[0], open+"publish_timeout 2s")
	c := s.dialJSON("")
	c.publish(object{"topic": "topic", "value": "0"})
	check := func(f frame, code, outcome, kafkaError string) {
		t.Helper()
		retriable := code == "unavailable" || code == "unknown_outcome"
		if f.Code != code || f.Outcome != outcome || f.KafkaError != kafkaError || f.Retriable != retriable {
			t.Errorf("got %s, want %s, %s, %s", f.raw, code, outcome, kafkaError)
		}
	}
	for _, test := range []struct {
		fault error
		code  string
	}{
		{kerr.TopicAuthorizationFailed, "refused"},
		{kerr.InvalidRecord, "refused"},
		{kerr.MessageTooLarge, "too_large"},
		{kerr.PolicyViolation, "refused"},
	} {
		fault := test.fault.(*kerr.Error)
		kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: fault})
		check(c.do("publish", object{"topic": "topic", "value": "no"}, "error"), test.code, "failed", fault.Message)
	}
	c.publish(object{"topic": "topic", "value": "1"})
	// One that Kafka wrote before its answer was lost has no place.
	kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.DuplicateSequenceNumber})
	if f := c.publish(object{"topic": "topic", "value": "2"}); f.Offset != nil || f.Timestamp != nil || f.Duplicate {
		t.Errorf("%s", f.raw)
	}
	// One that Kafka does not write for now has failed, and its number is free.
	free, taken := numberedRecord("topic", "tab", 0), numberedRecord("topic", "tab", 1)
	stuck := kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	check(c.do("publish", free, "error"), "unavailable", "failed", "NOT_ENOUGH_REPLICAS")
	stuck.Remove()
	if f := c.publish(free); f.Duplicate {
		t.Errorf("%s", f.raw)
	}
	// Of one that it has written and did not say so, nobody knows. Where it has a
	// number, that is the answer to each request with it.
	stuck = kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: -1})
	check(c.do("publish", object{"topic": "topic", "value": "stuck"}, "error"), "unknown_outcome", "unknown", "")
	for range 2 {
		f := c.do("publish", taken, "error")
		if f.Code != "unknown_outcome" || f.Outcome != "unknown" || f.Retriable {
			t.Errorf("%s", f.raw)
		}
	}
	stuck.Remove()
	kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "other", Err: kerr.TopicAuthorizationFailed, Count: -1})
	check(c.do("publish", object{"topic": "other", "value": "x"}, "error"), "refused", "failed", "TOPIC_AUTHORIZATION_FAILED")
	c.publish(object{"topic": "topic", "value": "3"})
}

// TestPublishWhileKafkaIsDown: records that did not go out have failed, and those
// that did may have been written.
func TestPublishWhileKafkaIsDown(t *testing.T) {
	broker := kafkatest.Start(t)
	topic := newTopics(t, broker, 1)[0]
	s := startSite(t, broker.Addr(), open+"publish_timeout 3s")
	c := s.dialJSON("topics=" + topic)
	c.publish(object{"topic": topic, "value": "0"})
	resume := hang(t, broker)
	if f := c.do("publish", object{"topic": topic, "value": "1"}, "error"); f.Code != "unknown_outcome" || f.Outcome != "unknown" || !f.Retriable {
		t.Errorf("%s", f.raw)
	}
	resume()
	broker.WaitReady(t)
	c.publish(object{"topic": topic, "value": "2"})
	broker.Stop(t)
	down := c.status("unreachable")
	if since := time.UnixMilli(down.Since); time.Since(since) > 3*patience || time.Since(since) < 0 {
		t.Errorf("%s: that is %v ago", down.raw, time.Since(since))
	}
	fresh := s.dialJSON("")
	fresh.do("ping", nil, "pong")
	if f := fresh.do("publish", object{"topic": "another", "value": "3"}, "error"); f.Code != "unavailable" || f.Outcome != "failed" || !f.Retriable {
		t.Errorf("%s", f.raw)
	}
	if f := fresh.fails("subscribe", object{"topic": topic, "from": "earliest"}, "unavailable"); !f.Retriable {
		t.Errorf("%s", f.raw)
	}
	broker.StartAgain(t)
	c.status("reachable")
	c.publish(object{"topic": topic, "value": "4"})
	var values []string
	for _, r := range broker.ReadAll(t, topic) {
		values = append(values, string(r.Value))
	}
	if !slices.Contains(values, "4") || slices.Contains(values, "3") {
		t.Errorf("kafka has %v", values)
	}
	c.wait(func(f *frame) bool { return f.Type == "record" && f.text() == "4" })
}
