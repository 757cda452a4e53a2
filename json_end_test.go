package kafkaws_test

import (
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// checkRetry checks how long a client is to wait that the server closed.
func checkRetry(t testing.TB, code int, retry *frame, want int) {
	t.Helper()
	if code != want || retry == nil {
		t.Fatalf("closed with %d after %v, want %d after retry_after", code, retry, want)
	}
	if wait := time.Duration(*retry.MS) * time.Millisecond; wait <= 0 || wait > 10*time.Second {
		t.Errorf("%s", retry.raw)
	}
}

// TestRetryAfterReload: sessions of a handler that changed are told when to come
// back, not all the same, and go on at their positions without a gap.
func TestRetryAfterReload(t *testing.T) {
	const sessions = 10
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	s := startSite(t, broker.Addr(), open+"drain_timeout 2s")
	var all []*jsonClient
	for range sessions {
		c := s.dialJSON("topics=" + topic)
		c.next("subscribed")
		all = append(all, c)
	}
	fill(t, broker, topic, 0, 0, 3)
	for _, c := range all {
		c.expectValues(sequence(0, 3)...)
	}
	if err := s.reload(siteConfig(s.addr, broker.Addr(), open+"drain_timeout 2s\nmax_topics 9")); err != nil {
		t.Fatal(err)
	}
	waits := make(map[int64]bool)
	for _, c := range all {
		code, retry := c.ended()
		checkRetry(t, code, retry, 1012)
		waits[*retry.MS] = true
	}
	if len(waits) < 2 {
		t.Errorf("all clients are to come back after %v", waits)
	}
	fill(t, broker, topic, 0, 3, 5)
	back := s.dialJSON("topics=" + topic + "&" + fromPositions(all[0].at))
	back.expectValues(sequence(3, 5)...)
}

// TestRetryAfterExit: so it is when Caddy stops. What a client had published by
// then is answered before.
func TestRetryAfterExit(t *testing.T) {
	const n = 50
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	s := startSite(t, broker.Addr(), open)
	c := s.dialJSON("")
	c.publish(object{"topic": topic, "value": "first"})
	resume := hang(t, broker)
	ids := make(map[string]bool)
	for range n {
		ids[c.ask("publish", object{"topic": topic, "value": "x"})] = true
	}
	c.do("ping", nil, "pong")
	s.terminate()
	await(t, "caddy has noticed", func() bool {
		_, _, err := s.tryDial("", nil)
		return err != nil
	})
	resume()
	code, retry := c.ended()
	checkRetry(t, code, retry, 1001)
	for _, f := range c.pending {
		if ids[string(f.ID)] && f.Type == "published" {
			delete(ids, string(f.ID))
		}
	}
	if len(ids) > 0 {
		t.Errorf("%d requests were not answered with published: %s", len(ids), c.unread())
	}
	if got := len(broker.ReadAll(t, topic)); got != n+1 {
		t.Errorf("kafka has %d records, want %d", got, n+1)
	}
}
