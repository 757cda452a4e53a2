package kafkaws_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestBrokerIsKilled kills the only broker under load. One Caddy waits for it
// longer than it is away, the other does not.
func TestBrokerIsKilled(t *testing.T) {
	const (
		publishers  = 10
		subscribers = 20
	)
	broker := kafkatest.Start(t)
	topic, hastyTopic := kafkatest.Topic(t), kafkatest.Topic(t)
	for _, name := range []string{topic, hastyTopic} {
		broker.CreateTopic(t, name, 4, nil)
	}
	patient := startSite(t, broker.Addr(), open)
	hasty := startSite(t, broker.Addr(), open+"publish_timeout 3s")

	hearers := listenAll(patient.dialFleet(subscribers, "topics="+topic))
	hastyHearers := listenAll(hasty.dialFleet(subscribers, "topics="+hastyTopic))
	load := func(s *site, topic string) []*publisher {
		var all []*publisher
		for i, c := range s.dialFleet(publishers, "") {
			all = append(all, c.publish(topic, fmt.Sprint("publisher ", i), 2*time.Millisecond))
		}
		return all
	}
	writers, hastyWriters := load(patient, topic), load(hasty, hastyTopic)
	mustHear(t, hearers, 1000)
	mustHear(t, hastyHearers, 1000)

	broker.Kill()
	killed := time.Now()
	var ends []*listener
	for _, w := range hastyWriters {
		<-w.ended
		ends = append(ends, w.listener)
	}
	t.Logf("publishers with a publish_timeout of 3s were closed %v after the broker was killed", time.Since(killed))
	for _, l := range ends {
		// Records that were on their way may have been written or not; those
		// that were not sent yet have not.
		if l.code != 4001 && l.code != 1013 {
			t.Errorf("a publisher was closed with %d, want 4001 or 1013", l.code)
		}
	}

	broker.Restart(t)
	answers := time.Now()
	before := hearers[0].heard.Load()
	waitFor(t, "records flow again", func() bool { return hearers[0].heard.Load() > before })
	t.Logf("records flowed %v after the broker answered, which was away for %v", time.Since(answers), answers.Sub(killed))
	mustHear(t, hearers, int(before)+5000)

	// Those who were patient have all they published in Kafka and at their
	// subscribers, once and in order.
	promised := streams{}
	for _, w := range writers {
		if !w.open() {
			t.Fatalf("a publisher was closed with %d", w.code)
		}
		w.finish()
		promised[w.stream] = int(w.sent.Load())
	}
	mustHearAll(t, hearers, promised)
	if found := written(t, broker.ReadAll(t, topic)); fmt.Sprint(found) != fmt.Sprint(promised) {
		t.Errorf("kafka has    %v\nit should have %v", found, promised)
	}

	// What the others got through is a beginning of what they sent, and their
	// subscribers hear it and what comes now.
	for _, w := range hastyWriters {
		w.finish()
	}
	produce(t, kafkaClient(t, broker.Addr()), &kgo.Record{Topic: hastyTopic, Partition: 0, Value: []byte(numbered("afterwards", 0, ""))})
	waitFor(t, "subscribers hear what comes after the restart", func() bool {
		for _, l := range hastyHearers {
			if !l.open() {
				t.Fatalf("a subscriber was closed with %d", l.code)
			}
			if l.hasHeard("afterwards") == 0 {
				return false
			}
		}
		return true
	})
	// More of what was given up may still come.
	found := written(t, broker.ReadAll(t, hastyTopic))
	waitFor(t, "subscribers hear what the hasty publishers got through", func() bool {
		for _, l := range hastyHearers {
			for stream, n := range found {
				if l.open() && l.hasHeard(stream) < n {
					return false
				}
			}
		}
		return true
	})
	for _, w := range hastyWriters {
		if found[w.stream] == 0 || found[w.stream] > int(w.sent.Load()) {
			t.Errorf("%s: %d records are in kafka, %d were sent", w.stream, found[w.stream], w.sent.Load())
		}
	}
}

// TestPublishWithoutKafka has clients publish while there was never a broker.
func TestPublishWithoutKafka(t *testing.T) {
	s := startSite(t, freeAddr(t), open+"publish_timeout 1s")
	c := s.dial("")
	sent := time.Now()
	c.send(message("anything", "", "x"))
	c.expectClose(websocket.CloseTryAgainLater)
	t.Logf("closed after %v", time.Since(sent))
}
