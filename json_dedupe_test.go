package kafkaws_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// numberedRecord is a publish request of a series.
func numberedRecord(topic, producer string, sequence int) object {
	return object{"topic": topic, "producer": producer, "sequence": sequence, "value": fmt.Sprint(producer, " ", sequence)}
}

// stored returns the values of a topic's records.
func stored(t testing.TB, broker *kafkatest.Broker, topic string) []string {
	t.Helper()
	var values []string
	for _, r := range broker.ReadAll(t, topic) {
		values = append(values, string(r.Value))
	}
	return values
}

// startLogins starts a site with a path for everybody, and one for users.
func startLogins(t testing.TB, brokers string, users ...string) (everybody, loggedIn *site) {
	t.Helper()
	addr := freeAddr(t)
	config := global + fmt.Sprintf("http://%s {\n%shandle /users/* {\n%skafka_websocket {\nname users\nbrokers %s\n%s}\n}\n}\n",
		addr, handleBlock("/all/", brokers, open), accounts(users...), brokers, open)
	s := &site{caddyProcess: startCaddy(t, config), addr: addr, path: "/all/"}
	return s, s.at("/users/")
}

// TestNumberedRecords: a record that is sent again is not written again, in the
// same session and in later ones.
func TestNumberedRecords(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	everybody, loggedIn := startLogins(t, broker.Addr(), "alice", "bob")

	// again has a client send records that it has sent before.
	again := func(c *jsonClient, before []frame) {
		t.Helper()
		for i, first := range before {
			if f := c.publish(numberedRecord(topic, "tab", i)); !f.Duplicate || *f.Offset != *first.Offset || *f.Partition != *first.Partition || *f.Timestamp != *first.Timestamp {
				t.Errorf("%s came first, then %s", first.raw, f.raw)
			}
		}
	}
	for _, kind := range []struct {
		name  string
		site  *site
		login http.Header
		back  func(c, before *jsonClient)
	}{
		{"with the secret", everybody, nil, func(c, before *jsonClient) {
			c.do("resume", object{"producer_secret": before.welcome.ProducerSecret}, "resumed")
		}},
		{"a user", loggedIn, credentials("alice"), func(*jsonClient, *jsonClient) {}},
		// What is none of a user's has no meaning.
		{"a user who resumes", loggedIn, credentials("bob"), func(c, _ *jsonClient) {
			c.do("resume", object{"producer_secret": "AAAAAAAAAAAAAAAAAAAAAA"}, "resumed")
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			count := len(stored(t, broker, topic))
			first := kind.site.with(t).dialJSONAs("", kind.login)
			var before []frame
			for i := range 5 {
				f := first.publish(numberedRecord(topic, "tab", i))
				if f.Duplicate {
					t.Errorf("%s", f.raw)
				}
				before = append(before, f)
			}
			again(first, before)
			if f := first.fails("publish", object{"topic": topic, "producer": "tab", "sequence": 3, "value": "another"}, "conflict"); f.Retriable || f.Outcome != "failed" {
				t.Errorf("%s", f.raw)
			}
			_ = first.UnderlyingConn().Close()

			second := kind.site.with(t).dialJSONAs("", kind.login)
			kind.back(second, first)
			again(second, before)
			if f := second.publish(numberedRecord(topic, "tab", 5)); f.Duplicate {
				t.Errorf("%s", f.raw)
			}
			// Another series, and one of somebody else, are others.
			if f := second.publish(numberedRecord(topic, "other tab", 2)); f.Duplicate {
				t.Errorf("%s", f.raw)
			}
			stranger := kind.site.with(t).dialJSONAs("", kind.login)
			if kind.login == nil {
				if f := stranger.publish(numberedRecord(topic, "tab", 0)); f.Duplicate {
					t.Errorf("%s", f.raw)
				}
				count++
			}
			if n := len(stored(t, broker, topic)) - count; n != 7 {
				t.Errorf("%d records were written, want 7", n)
			}
		})
	}
}

// TestResume: a session goes on with the series of one other, and says so before its
// first numbered record. Else a client could have as many series as it likes.
func TestResume(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	s := startSite(t, broker.Addr(), open)
	resume := func(c *jsonClient, secret, answer string) {
		t.Helper()
		if f := c.do("resume", object{"producer_secret": secret}, answer); answer == "error" && (f.Code != "bad_request" || f.Retriable) {
			t.Errorf("%s", f.raw)
		}
	}
	first := s.dialJSON("")
	own, other := first.welcome.ProducerSecret, "AAAAAAAAAAAAAAAAAAAAAA"
	first.publish(numberedRecord(topic, "tab", 0))
	resume(first, other, "error")
	resume(first, own, "resumed") // it has them already
	if f := first.publish(numberedRecord(topic, "tab", 0)); !f.Duplicate {
		t.Errorf("%s", f.raw)
	}

	second := s.dialJSON("")
	second.send(`{"type":"resume","id":"guess","producer_secret":"guess"}`)
	second.answer(`"guess"`, "error") // it does not count
	second.publish(object{"topic": topic, "value": "without a number"})
	resume(second, own, "resumed")
	resume(second, own, "resumed")
	resume(second, other, "error")
	resume(second, second.welcome.ProducerSecret, "error")
	if f := second.publish(numberedRecord(topic, "tab", 0)); !f.Duplicate {
		t.Errorf("%s", f.raw)
	}

	// A record that is refused is one, too.
	third := s.dialJSON("")
	third.fails("publish", numberedRecord("no/topic", "tab", 0), "unknown_topic")
	resume(third, own, "error")
}

// TestNobodyFillsTheMemory: clients that may not publish do not have the series of
// others forgotten, however many secrets they make up.
func TestNobodyFillsTheMemory(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	s := startSite(t, broker.Addr(), "publish "+topic+"\n")
	c, denied := s.dialJSON(""), s.dialJSON("")
	c.publish(numberedRecord(topic, "tab", 0))
	for i := range 2 * 8 { // what a secret may have
		denied.fails("publish", numberedRecord("denied", fmt.Sprint("tab ", i), 0), "not_allowed")
	}
	if f := c.publish(numberedRecord(topic, "tab", 0)); !f.Duplicate {
		t.Errorf("%s", f.raw)
	}
}

// TestSequences: numbers may be skipped and come in any order, up to a thousand
// behind the newest.
func TestSequences(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	s := startSite(t, broker.Addr(), open+"transform in discard `record.value == \"ping\"`\n")
	c := s.dialJSON("")
	for _, sequence := range []int{5000, 4001, 4999, 5003, 1 << 53} {
		c.publish(numberedRecord(topic, "a", sequence))
	}
	if f := c.fails("publish", numberedRecord(topic, "a", 4002), "out_of_window"); f.Outcome != "unknown" || f.Retriable {
		t.Errorf("%s", f.raw)
	}
	if f := c.publish(numberedRecord(topic, "a", 1<<53)); !f.Duplicate {
		t.Errorf("%s", f.raw)
	}
	// What was discarded stays so; the number of what has failed is free.
	ping := object{"topic": topic, "producer": "b", "sequence": 0, "value": "ping"}
	c.do("publish", ping, "discarded")
	c.do("publish", ping, "discarded")
	wrong := object{"topic": "unknown-topic", "producer": "b", "sequence": 1, "value": "x"}
	c.fails("publish", wrong, "unknown_topic")
	c.fails("publish", wrong, "unknown_topic")
	c.publish(numberedRecord(topic, "b", 1))
	for i := range 6 {
		c.publish(numberedRecord(topic, fmt.Sprint("more", i), 0))
	}
	if f := c.fails("publish", numberedRecord(topic, "too many", 0), "too_many_producers"); !f.Retriable || f.Outcome != "failed" {
		t.Errorf("%s", f.raw)
	}
	c.publish(object{"topic": topic, "value": "without a number"})
}

// TestRepeatInFlight cuts the socket of a client whose records Kafka has not
// answered for. It comes back and sends them again: each is written once, and
// answered once it is known.
func TestRepeatInFlight(t *testing.T) {
	const n = 20
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	s := startSite(t, broker.Addr(), open)
	first := s.dialJSON("")
	first.publish(numberedRecord(topic, "tab", 0))
	resume := hang(t, broker)
	for i := 1; i < n; i++ {
		first.ask("publish", numberedRecord(topic, "tab", i))
	}
	first.do("ping", nil, "pong") // they were read
	_ = first.UnderlyingConn().Close()

	second := s.dialJSON("")
	second.do("resume", object{"producer_secret": first.welcome.ProducerSecret}, "resumed")
	var ids []string
	for i := range n {
		ids = append(ids, second.ask("publish", numberedRecord(topic, "tab", i)))
	}
	second.do("ping", nil, "pong")
	resume()
	var answers []frame
	for _, id := range ids {
		answers = append(answers, second.answer(id, "published"))
	}
	all := broker.ReadAll(t, topic)
	for i, f := range answers {
		if !f.Duplicate {
			t.Errorf("%s", f.raw)
		}
		checkPublished(t, f, recordAt(t, all, f))
		if got, want := string(recordAt(t, all, f).Value), fmt.Sprint("tab ", i); got != want {
			t.Errorf("%s is %q", f.raw, got)
		}
	}
	if len(all) != n {
		t.Errorf("kafka has %d records, want %d", len(all), n)
	}
}
