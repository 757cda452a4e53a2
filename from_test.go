package kafkaws_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// positions is the parameter of a client that goes on at an offset.
func positions(topic string, offset int) string {
	return "from=" + url.QueryEscape(fmt.Sprintf(`{%q:{"offsets":{"0":%d}}}`, topic, offset))
}

// TestWhereToStart has clients begin at places that they name.
func TestWhereToStart(t *testing.T) {
	const n = 10
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(i int) string { return begin.Add(time.Duration(i) * time.Minute).UTC().Format(time.RFC3339) }
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Value: fmt.Append(nil, i), Timestamp: begin.Add(time.Duration(i) * time.Minute)}
	}
	broker.ProduceTo(t, topic, 0, records...)
	s := startSite(t, broker.Addr(), open)
	message := func(i int) string { return fmt.Sprintf(`{"topic":%q,"message":"%d"}`, topic, i) }
	clients := map[string]*client{}
	for query, from := range map[string]int{
		"":                       n,
		"from=latest":            n,
		"from=earliest":          0,
		"last=3":                 n - 3,
		"last=100":               0,
		"from=" + at(4):          4,
		"from=" + at(n):          n, // after the last record
		"from=-2h":               0,
		"from=-1s":               n,
		positions(topic, 5):      5,
		positions(topic, n):      n,
		positions("another", 17): n, // says nothing of this one
	} {
		c := s.dial("topics=" + topic + "&" + query)
		for i := from; i < n; i++ {
			if got := c.text(); got != message(i) {
				t.Fatalf("%s: got %s, want %s", query, got, message(i))
			}
		}
		clients[query] = c
	}
	broker.ProduceTo(t, topic, 0, &kgo.Record{Value: fmt.Append(nil, n)})
	for query, c := range clients {
		if got := c.text(); got != message(n) {
			t.Errorf("%s: then got %s, want %s", query, got, message(n))
		}
	}
	for _, query := range []string{"from=yesterday", "from=15m", "last=0", "last=x", "from=latest&last=1", "from=" + url.QueryEscape(`{"a":`)} {
		if _, resp, err := s.tryDial("topics="+topic+"&"+query, nil); err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", query, resp, err)
		}
	}
}

// TestGaps has clients come back with positions that Kafka no longer has.
func TestGaps(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	for i := range 10 {
		broker.ProduceTo(t, topic, 0, &kgo.Record{Value: fmt.Append(nil, i)})
	}
	broker.DeleteRecords(t, topic, 0, 6)
	message := func(i int) string { return fmt.Sprintf(`{"topic":%q,"message":"%d"}`, topic, i) }
	strict := startSite(t, broker.Addr(), open)
	earliest := startSite(t, broker.Addr(), open+"on_gap earliest\n")
	latest := startSite(t, broker.Addr(), open+"on_gap latest\n")
	var followers []*client
	for _, offset := range []int{3, 50} { // deleted, and not there yet
		query := "topics=" + topic + "&" + positions(topic, offset)
		strict.dial(query).expectClose(4000)
		c := earliest.dial(query)
		c.expect(message(6), message(7), message(8), message(9))
		followers = append(followers, c, latest.dial(query))
	}
	broker.ProduceTo(t, topic, 0, &kgo.Record{Value: fmt.Append(nil, 10)})
	for _, c := range followers {
		c.expect(message(10))
	}
	// What is there is no gap.
	strict.dial("topics=" + topic + "&" + positions(topic, 8)).expect(message(8))
}
