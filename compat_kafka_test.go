package kafkaws_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

func (c compat) kafkaSide(test func(string, func(compat))) {
	test("a record for an unknown topic closes with a code and a sentence", func(c compat) {
		topic := kafkatest.Topic(c.t)
		for _, message := range []string{line(topic, "m"), `{"topic":"` + topic + `","key":"k","message":null}`} {
			ws := c.dial("")
			ws.send(message)
			if reason := ws.expectClose(4500); !isSentence(reason) {
				c.t.Errorf("the reason is %q", reason)
			}
		}
		if c.exists(topic) {
			c.t.Error("the topic was made")
		}
	})
	test("a record that Kafka refuses closes with a code and a sentence", func(c compat) {
		topic := kafkatest.Topic(c.t)
		c.kafka.CreateTopic(c.t, topic, 1, map[string]string{"max.message.bytes": "1000"})
		ws := c.dial("topics=" + topic)
		ws.echo(topic, "small")
		ws.send(line(topic, strings.Repeat("x", 2000)))
		if reason := ws.expectClose(1009); !isSentence(reason) {
			c.t.Errorf("the reason is %q", reason)
		}
	})
	test("a record that the site does not allow closes with a code and a sentence", func(c compat) {
		topic := c.topic(1)
		for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			ws := c.at("/narrow/").dial("topics=" + topic)
			message := map[int]string{websocket.TextMessage: line(topic, "m"), websocket.BinaryMessage: layout(topic, "m")}[kind]
			if err := ws.WriteMessage(kind, []byte(message)); err != nil {
				c.t.Fatal(err)
			}
			if reason := ws.expectClose(1008); !isSentence(reason) {
				c.t.Errorf("the reason is %q", reason)
			}
		}
		ws := c.dial("")
		ws.send(line("__consumer_offsets", "m"))
		ws.expectClose(1008)
		if records := c.kafka.ReadAll(c.t, topic); len(records) != 0 {
			c.t.Errorf("%d records were written", len(records))
		}
	})
	test("a record that cannot be written closes with a code and a sentence", func(c compat) {
		// It is pinged meanwhile; that its pongs are not read is not its fault.
		ws := c.at("/down/").dial("")
		ws.send(line("any", "m"))
		if reason := ws.expectClose(1013); !isSentence(reason) {
			c.t.Errorf("the reason is %q", reason)
		}
	})
	test("what was published before a refusal is written", func(c compat) {
		topic := c.topic(1)
		ws := c.dial("")
		const n = 100
		for i := range n {
			ws.send(line(topic, fmt.Sprint(i)))
		}
		ws.send("no JSON")
		ws.expectClose(1007)
		await(c.t, "the records", func() bool { return len(c.kafka.ReadAll(c.t, topic)) == n })
	})
	test("create_topics makes topics, the default does not", func(c compat) {
		topic := kafkatest.Topic(c.t)
		ws := c.at("/create/").dial("topics=" + topic)
		if c.exists(topic) {
			c.t.Fatal("subscribing made the topic")
		}
		ws.echo(topic, "1")
		ws.echo(topic, "2")
		binary := c.at("/create/").dial("", "kafka-binary")
		other := kafkatest.Topic(c.t)
		if err := binary.WriteMessage(websocket.BinaryMessage, []byte(layout(other, "v"))); err != nil {
			c.t.Fatal(err)
		}
		await(c.t, "the record", func() bool { return c.exists(other) && len(c.kafka.ReadAll(c.t, other)) == 1 })
		ws.send(line("a/b", "m"))
		ws.expectClose(1008)
	})
	test("create_topics, with many publishers at once", func(c compat) {
		topic := kafkatest.Topic(c.t)
		const publishers, each = 20, 50
		hears := c.at("/create/").dial("topics=" + topic)
		var all sync.WaitGroup
		for p := range publishers {
			ws := c.at("/create/").dial("")
			all.Go(func() {
				for i := range each {
					message := fmt.Sprintf(`{"topic":%q,"key":"%d","message":"%d"}`, topic, p, i)
					if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
						c.t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		next := map[string]int{}
		for range publishers * each {
			var got struct{ Key, Message string }
			if err := json.Unmarshal([]byte(hears.text()), &got); err != nil {
				c.t.Fatal(err)
			}
			if got.Message != fmt.Sprint(next[got.Key]) {
				c.t.Fatalf("publisher %s: got %s, want %d", got.Key, got.Message, next[got.Key])
			}
			next[got.Key]++
		}
		if records := c.kafka.ReadAll(c.t, topic); len(records) != publishers*each {
			c.t.Errorf("%d records", len(records))
		}
	})
	test("positions are fixed before the 101", func(c compat) {
		topic := c.topic(3)
		c.kafka.Produce(c.t, topic, kafkatest.KV("", "before"))
		const n = 200
		for range 3 { // the first finds the topic unread, the others do not
			ws := c.dial("topics=" + topic)
			var records []*kgo.Record
			for i := range n {
				records = append(records, kafkatest.KV(fmt.Sprint("key", i%10), fmt.Sprint(i)))
			}
			c.kafka.Produce(c.t, topic, records...)
			heard := map[string][]string{}
			for range n {
				var got struct{ Key, Message string }
				if err := json.Unmarshal([]byte(ws.text()), &got); err != nil {
					c.t.Fatal(err)
				}
				heard[got.Key] = append(heard[got.Key], got.Message)
			}
			for i := range 10 {
				var want []string
				for j := i; j < n; j += 10 {
					want = append(want, fmt.Sprint(j))
				}
				if got := heard[fmt.Sprint("key", i)]; !slices.Equal(got, want) {
					c.t.Fatalf("of key%d heard %v", i, got)
				}
			}
		}
	})
	test("a client hears what it publishes right after the handshake", func(c compat) {
		topic := c.topic(5)
		for i := range 20 {
			c.dial("topics="+topic).echo(topic, fmt.Sprint(i))
		}
	})
	test("keys are placed as Java's producer places them", func(c compat) {
		ours, theirs := c.topic(7), c.topic(7)
		ws := c.dial("topics=" + ours)
		var records []*kgo.Record
		for i := range 300 {
			key := fmt.Sprintf("%dä%s", i, strings.Repeat("k", i%9))
			ws.send(fmt.Sprintf(`{"topic":%q,"key":%q,"message":"m"}`, ours, key))
			ws.text()
			records = append(records, kafkatest.KV(key, "m"))
		}
		c.kafka.Produce(c.t, theirs, records...)
		place := func(topic string) map[string]int32 {
			partitions := map[string]int32{}
			for _, r := range c.kafka.ReadAll(c.t, topic) {
				partitions[string(r.Key)] = r.Partition
			}
			return partitions
		}
		if got, want := place(ours), place(theirs); len(got) != 300 || !maps.Equal(got, want) {
			c.t.Errorf("got  %v\nwant %v", got, want)
		}
	})
	test("a burst is lost by nobody", func(c compat) {
		topic := c.topic(4)
		const subscribers, n = 10, 5000
		var clients []*client
		for range subscribers {
			clients = append(clients, c.dial("topics="+topic))
		}
		var all sync.WaitGroup
		for _, ws := range clients {
			all.Go(func() {
				next := map[string]int{}
				for range n {
					_, p, err := ws.ReadMessage()
					if err != nil {
						c.t.Error(err)
						return
					}
					var got struct{ Key, Message string }
					if err := json.Unmarshal(p, &got); err != nil || got.Message != fmt.Sprint(next[got.Key]) {
						c.t.Errorf("got %.100s, want %d", p, next[got.Key])
						return
					}
					next[got.Key]++
				}
			})
		}
		publisher := c.dial("")
		for i := range n {
			publisher.send(fmt.Sprintf(`{"topic":%q,"key":"%d","message":"%d"}`, topic, i%10, i/10))
		}
		all.Wait()
	})
	test("clients that are gone leave nothing behind", func(c compat) {
		topic := c.topic(1)
		c.dial("topics="+topic).echo(topic, "warm")
		before, files := c.goroutines(), c.files()
		for range 100 {
			ws := c.dial("topics=" + topic)
			_ = ws.Close()
		}
		await(c.t, "the end of all goroutines and files of 100 clients", func() bool {
			return c.goroutines() <= before+10 && c.files() <= files+10
		})
	})
}

// TestNamesAreCheckedBeforeKafka looks at the names that come near the brokers.
// The original's one producer asked for the metadata of an illegal name for
// ever, so that nobody could publish any more.
func TestNamesAreCheckedBeforeKafka(t *testing.T) {
	kafka := watchKafka(t, kfake.SeedTopics(1, "known"), kfake.DefaultNumPartitions(3))
	var mu sync.Mutex
	asked := map[string]bool{}
	kafka.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		switch r := r.(type) {
		case *kmsg.MetadataRequest:
			if r.Topics == nil {
				asked["all topics"] = true
			}
			for _, topic := range r.Topics {
				asked[*topic.Topic] = true
			}
		case *kmsg.CreateTopicsRequest:
			for _, topic := range r.Topics {
				asked[topic.Topic] = true
			}
		}
		return nil, nil, false
	})
	s := startSite(t, kafka.ListenAddrs()[0], open+"producer {\ncreate_topics\n}")
	other := s.dial("topics=known")
	other.echo("known", "before")
	for _, name := range []string{"", ".", "..", "a/b", "a b", "ä", "a\x00", strings.Repeat("x", 250)} {
		if name != "" {
			if status, _ := s.refused("topics="+url.QueryEscape(name), nil); status != 400 {
				t.Errorf("subscribing to %.20q: %d", name, status)
			}
		}
		text, binary := s.dial("topics=known"), s.dial("topics=known", "kafka-binary")
		text.send(fmt.Sprintf(`{"topic":%s,"message":"m"}`, mustJSON(name)))
		text.expectClose(1008)
		if len(name) < 256 {
			if err := binary.WriteMessage(websocket.BinaryMessage, []byte(layout(name, "v"))); err != nil {
				t.Fatal(err)
			}
			binary.expectClose(1008)
		}
		other.echo("known", "after")
	}
	publishers := make([]*client, 20)
	for i := range publishers {
		publishers[i] = s.dial("")
	}
	hears := s.dial("topics=new")
	var all sync.WaitGroup
	for _, ws := range publishers {
		all.Go(func() { _ = ws.WriteMessage(websocket.TextMessage, []byte(line("new", "m"))) })
	}
	all.Wait()
	for range publishers {
		hears.expect(line("new", "m"))
	}
	if n := kafka.counts()["CreateTopics"]; n != 1 {
		t.Errorf("the topic was created %d times", n)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := map[string]bool{"known": true, "new": true}; !maps.Equal(asked, want) {
		t.Errorf("the brokers were asked for %v", asked)
	}
}

// TestOldestKafka speaks to the oldest release that is supported.
func TestOldestKafka(t *testing.T) {
	broker := kafkatest.StartOld(t)
	a, b, missing := kafkatest.Topic(t), kafkatest.Topic(t), kafkatest.Topic(t)
	broker.CreateTopic(t, a, 5, nil)
	broker.CreateTopic(t, b, 1, nil)
	s := startSite(t, broker.Addr(), open+"producer {\ncreate_topics\n}")
	ws := s.dial("topics=" + strings.Join([]string{a, b, missing}, ","))
	ws.echo(a, "1")
	ws.echo(b, "2")
	var same []*kgo.Record
	for i := range 20 {
		message := fmt.Sprintf(`{"topic":%q,"key":"key%d","message":"m"}`, a, i)
		ws.send(message)
		ws.expect(message)
		same = append(same, kafkatest.KV(fmt.Sprint("key", i), "again"))
	}
	broker.Produce(t, a, same...)
	for range same {
		ws.text()
	}
	places := map[string]int32{}
	for _, r := range broker.ReadAll(t, a) {
		if place, known := places[string(r.Key)]; known && place != r.Partition {
			t.Errorf("%s is in the partitions %d and %d", r.Key, place, r.Partition)
		}
		places[string(r.Key)] = r.Partition
	}
	tombstone := fmt.Sprintf(`{"topic":%q,"key":"k","message":null}`, b)
	ws.send(tombstone)
	ws.expect(tombstone)
	if records := broker.ReadAll(t, b); len(records) != 2 || records[1].Value != nil || string(records[1].Key) != "k" {
		t.Errorf("got %v", records)
	}
	ws.echo(missing, "the first")
	ws.echo(missing, "the second")
	if status, _ := s.at(brokerPath).refused("topics=a/b", nil); status != 400 {
		t.Errorf("got %d", status)
	}
}
