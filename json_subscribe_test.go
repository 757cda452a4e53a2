package kafkaws_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// newTopics makes topics with a partition each.
func newTopics(t testing.TB, broker *kafkatest.Broker, n int) []string {
	t.Helper()
	all := make([]string, n)
	for i := range all {
		all[i] = kafkatest.Topic(t)
		broker.CreateTopic(t, all[i], 1, nil)
	}
	return all
}

// fill writes records to a partition, whose values are their numbers.
func fill(t testing.TB, broker *kafkatest.Broker, topic string, partition int32, from, to int) {
	t.Helper()
	var all []*kgo.Record
	for i := from; i < to; i++ {
		all = append(all, &kgo.Record{Key: fmt.Append(nil, i%2), Value: fmt.Append(nil, i)})
	}
	broker.ProduceTo(t, topic, partition, all...)
}

// sequence returns numbers as text.
func sequence(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// TestSubscribe has one session begin at each place that a request can name, and
// go on from there.
func TestSubscribe(t *testing.T) {
	const n = 10
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Minute) }
	for i := range n {
		broker.ProduceTo(t, topic, 0, &kgo.Record{Key: fmt.Append(nil, i%2), Value: fmt.Append(nil, i), Timestamp: at(i)})
	}
	s := startSite(t, broker.Addr(), open)
	c := s.dialJSON("")
	next := n
	positions := func(offset int) object { return object{topic: object{"offsets": object{"0": offset}}} }
	for _, test := range []struct {
		members object
		from    int
	}{
		{nil, n},
		{object{"from": "latest"}, n},
		{object{"from": "earliest"}, 0},
		{object{"from": nil, "last": 3}, n - 3},
		{object{"last": 1000}, 0},
		{object{"from": at(4).UTC().Format(time.RFC3339)}, 4},
		{object{"from": "-2h"}, 0},
		{object{"from": "2199-01-31T12:00:00Z"}, n},
		{object{"from": positions(7)}, 7},
		{object{"from": positions(n)}, n},
		{object{"from": object{topic: object{"offsets": object{}}}}, 0}, // not named begins at 0
		{object{"from": object{"another": object{"offsets": object{"0": 3}}}}, n},
	} {
		members := object{"topic": topic}
		maps.Copy(members, test.members)
		from := test.from
		if from == n {
			from = next
		}
		if last, ok := members["last"].(int); ok && last < n {
			from = next - last
		}
		if p := fmt.Sprint(test.members["from"]); p == fmt.Sprint(positions(n)) {
			from = n
		}
		f := c.do("subscribe", members, "subscribed")
		if got := f.Positions[topic].Offsets; len(got) != 1 || got[0] != int64(from) {
			t.Errorf("%v begins at %v, want %d", test.members, got, from)
		}
		fill(t, broker, topic, 0, next, next+1)
		next++
		c.expectValues(sequence(from, next)...)
	}
	// A site may have another place to begin.
	early := startSite(t, broker.Addr(), open+"start earliest")
	c = early.dialJSON("topics=" + topic)
	c.expectValues(sequence(0, next)...)
	c.do("subscribe", object{"topic": topic}, "subscribed")
	c.expectValues(sequence(0, next)...)
}

// TestManySubscriptions has a session subscribe, replace and end subscriptions to
// many topics.
func TestManySubscriptions(t *testing.T) {
	const topics = 20
	broker := kafkatest.Shared(t)
	all := newTopics(t, broker, topics)
	for _, topic := range all {
		fill(t, broker, topic, 0, 0, 10)
	}
	s := startSite(t, broker.Addr(), open+fmt.Sprintf("max_topics %d", topics))
	c := s.dialJSON("topics=" + all[0])
	c.next("subscribed")
	// A name that is there twice counts once, and so does one that is subscribed
	// to already.
	if f := c.do("subscribe", object{"topics": append(slices.Clone(all), all[3]), "from": "earliest"}, "subscribed"); len(f.Positions) != topics || len(f.Topics) != topics {
		t.Errorf("%s", f.raw)
	}
	got := make(map[string][]string)
	for _, f := range c.records(topics * 10) {
		got[f.Topic] = append(got[f.Topic], f.text())
	}
	for _, topic := range all {
		if !slices.Equal(got[topic], sequence(0, 10)) {
			t.Errorf("of %s came %v", topic, got[topic])
		}
	}
	c.fails("subscribe", object{"topic": "one-more"}, "too_many_topics")

	// All or none.
	c.fails("unsubscribe", object{"topics": []string{all[1], "another"}}, "not_subscribed")
	if f := c.do("unsubscribe", object{"topics": all[1:]}, "unsubscribed"); len(f.Positions) != topics-1 || f.Positions[all[5]].Offsets[0] != 10 {
		t.Errorf("%s", f.raw)
	}
	// Another client shows that the gateway has the records that must not come.
	other := s.dialJSON("")
	other.do("subscribe", object{"topics": all}, "subscribed")
	for i := topics - 1; i >= 0; i-- {
		fill(t, broker, all[i], 0, 10, 15)
	}
	other.records(topics * 5)
	c.expectValues(sequence(10, 15)...)

	// It goes on where it ended: the client's positions are those.
	c.do("subscribe", object{"topics": all[1:], "from": c.at}, "subscribed")
	clear(got)
	for _, f := range c.records((topics - 1) * 5) {
		got[f.Topic] = append(got[f.Topic], f.text())
	}
	for _, topic := range all[1:] {
		if !slices.Equal(got[topic], sequence(10, 15)) {
			t.Errorf("then of %s came %v", topic, got[topic])
		}
	}
	// A filter replaces none, and none a filter; other topics do not notice.
	c.do("subscribe", object{"topic": all[2], "from": "earliest", "filter": `record.key == "1"`}, "subscribed")
	c.expectValues("1", "3", "5", "7", "9", "11", "13")
	fill(t, broker, all[2], 0, 15, 18)
	c.expectValues("15", "17")
	c.do("subscribe", object{"topic": all[2], "from": object{all[2]: object{"offsets": object{"0": 13}}}}, "subscribed")
	c.expectValues(sequence(13, 18)...)
	c.fails("subscribe", object{"topic": all[2], "filter": "record.nothing"}, "bad_filter")
	fill(t, broker, all[2], 0, 18, 20)
	c.expectValues("18", "19") // the one before goes on
}

// TestUnsubscribeInTheStream ends and begins subscriptions again and again while
// records are written: what comes in the end is every record, once and in order.
func TestUnsubscribeInTheStream(t *testing.T) {
	const partitions, n, rounds = 3, 6000, 40
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, partitions, nil)
	s := startSite(t, broker.Addr(), open+unhurried+"consumer {\nbuffer 64KiB\nbuffer_total 1MiB\n}")
	for _, query := range []string{"", "batch=1"} {
		c := s.dialJSON(query)
		c.do("subscribe", object{"topic": topic}, "subscribed")
		writer := kafkaClient(t, broker.Addr())
		written := make(chan struct{})
		go func() {
			defer close(written)
			for i := 0; i < n; i += 30 {
				var batch []*kgo.Record
				for j := i; j < i+30; j++ {
					batch = append(batch, &kgo.Record{Topic: topic, Partition: int32(j % partitions), Value: fmt.Append(nil, j/partitions)})
				}
				_ = writer.ProduceSync(t.Context(), batch...).FirstErr()
			}
		}()
		var next [partitions]int
		total := 0
		take := func(f *frame) {
			if f.text() != fmt.Sprint(next[*f.Partition]) {
				t.Fatalf("want %d, got %s", next[*f.Partition], f.raw)
			}
			next[*f.Partition]++
			total++
		}
		for round := range rounds {
			for i := 0; i < n/rounds/2 && total < n; i++ {
				f := c.next("record")
				take(&f)
			}
			c.do("unsubscribe", object{"topic": topic}, "unsubscribed")
			// What came before that is in its place.
			for _, f := range c.pending {
				if f.Type == "record" {
					take(&f)
				}
			}
			c.pending = nil
			if round%10 == 0 {
				fresh := s.dialJSON(query)
				fresh.at = c.at
				c = fresh
			}
			c.do("subscribe", object{"topic": topic, "from": c.at}, "subscribed")
		}
		for total < n {
			f := c.next("record")
			take(&f)
		}
		<-written
		broker.DeleteTopic(t, topic)
		broker.CreateTopic(t, topic, partitions, nil)
	}
}

// TestMissingTopics: a topic that does not exist is waited for, from its first
// record on, or rejected.
func TestMissingTopics(t *testing.T) {
	broker := kafkatest.Shared(t)
	there := newTopics(t, broker, 1)[0]
	asked, later := kafkatest.Topic(t), kafkatest.Topic(t)
	s := startSite(t, broker.Addr(), open)
	c := s.dialJSON("topics=" + asked)
	if f := c.next("subscribed"); len(f.Positions) != 0 || !slices.Equal(f.Topics, []string{asked}) {
		t.Errorf("%s", f.raw)
	}
	if f := c.status("waiting"); f.Topic != asked {
		t.Errorf("%s", f.raw)
	}
	if f := c.do("subscribe", object{"topics": []string{there, later}}, "subscribed"); len(f.Positions) != 1 {
		t.Errorf("%s", f.raw)
	}
	if f := c.status("waiting"); f.Topic != later {
		t.Errorf("%s", f.raw)
	}
	for _, topic := range []string{asked, later} {
		broker.CreateTopic(t, topic, 2, nil)
		fill(t, broker, topic, 1, 0, 3)
		c.expectValues(sequence(0, 3)...)
		if at := c.at[topic].Offsets; !maps.Equal(at, map[int32]int64{0: 0, 1: 3}) {
			t.Errorf("the client is at %v", at)
		}
		if f := c.status("progress"); f.Positions[topic].Offsets[1] != 0 {
			t.Errorf("%s", f.raw)
		}
	}
	// New partitions are read from their first record, and told before that.
	broker.AddPartitions(t, later, 3)
	fill(t, broker, later, 2, 0, 5)
	c.expectValues(sequence(0, 5)...)
	if f := c.status("progress"); len(f.Positions[later].Offsets) != 1 || f.Positions[later].Offsets[2] != 0 {
		t.Errorf("%s", f.raw)
	}
	if left := c.unread(); left != "" {
		t.Errorf("nobody asked for %s", left)
	}

	strict := startSite(t, broker.Addr(), open+"missing_topics reject")
	c = strict.dialJSON("topics=" + there)
	c.next("subscribed")
	c.fails("subscribe", object{"topics": []string{later, "missing-topic"}}, "unknown_topic")
	c.fails("unsubscribe", object{"topic": later}, "not_subscribed")
	c.do("subscribe", object{"topic": later, "from": "earliest"}, "subscribed")
	c.expectValues(sequence(0, 3)[:0]...)
	c.records(8)
}

// TestMissingTopicsAreBounded: clients have no more than a number of topics that do not
// exist waited for. They are told to come back, and topics that exist do not suffer.
func TestMissingTopicsAreBounded(t *testing.T) {
	const bound = 10_000
	broker := kafkatest.Shared(t)
	there, prefix := newTopics(t, broker, 1)[0], kafkatest.Topic(t)
	s := startSite(t, broker.Addr(), open+"max_topics 20000")
	names := make([]string, bound)
	for i := range names {
		names[i] = prefix + strconv.Itoa(i)
	}
	greedy, honest := s.dialJSON(""), s.dialJSON("")
	greedy.do("subscribe", object{"topics": names}, "subscribed")
	if f := honest.fails("subscribe", object{"topics": []string{there, prefix}}, "unavailable"); !f.Retriable || !strings.Contains(f.Message, "do not exist") {
		t.Errorf("%s", f.raw)
	}
	if status, header := s.refused("topics="+prefix, nil); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("the upgrade is answered with %d, %v", status, header)
	}
	s.logged(entry{"level": "error", "status": http.StatusServiceUnavailable, "msg": "missing_topics"})
	honest.do("subscribe", object{"topics": []string{there, names[0]}, "from": "earliest"}, "subscribed")
	fill(t, broker, there, 0, 0, 3)
	honest.expectValues(sequence(0, 3)...)
	// What is no longer waited for leaves its place at once.
	greedy.do("unsubscribe", object{"topics": names[1:]}, "unsubscribed")
	for id := honest.ask("subscribe", object{"topic": prefix}); ; id = honest.ask("subscribe", object{"topic": prefix}) {
		f := honest.wait(func(f *frame) bool { return string(f.ID) == id })
		if f.Type == "subscribed" {
			break
		}
	}
}

// TestTopicsNotAllowed: what a site does not name, clients do not get.
func TestTopicsNotAllowed(t *testing.T) {
	broker := kafkatest.Shared(t)
	topics := newTopics(t, broker, 2)
	s := startSite(t, broker.Addr(), fmt.Sprintf("subscribe %s\npublish %s", topics[0], topics[1]))
	c := s.dialJSON("")
	c.fails("subscribe", object{"topics": topics}, "not_allowed")
	c.fails("unsubscribe", object{"topic": topics[0]}, "not_subscribed")
	c.do("subscribe", object{"topic": topics[0]}, "subscribed")
	if f := c.fails("publish", object{"topic": topics[0], "value": "x"}, "not_allowed"); f.Outcome != "failed" || f.Retriable {
		t.Errorf("%s", f.raw)
	}
	c.publish(object{"topic": topics[1], "value": "x"})
}

// TestOutwardNames: where transforms rename topics, clients see no other name than
// theirs, in any frame.
func TestOutwardNames(t *testing.T) {
	broker := kafkatest.Start(t) // topics of fixed names
	for _, name := range []string{"kafka.orders", "kafka.gone"} {
		broker.CreateTopic(t, name, 1, nil)
		fill(t, broker, name, 0, 0, 5)
	}
	broker.DeleteRecords(t, "kafka.gone", 0, 3)
	s := startSite(t, broker.Addr(), open+"transform out topic kafka.* *\ntransform in topic * kafka.*")
	c := s.dialJSON("topics=orders&from=earliest")
	c.next("subscribed")
	c.expectValues(sequence(0, 5)...)
	if f := c.publish(object{"topic": "orders", "value": "5"}); *f.Offset != 5 {
		t.Errorf("%s", f.raw)
	}
	c.expectValues("5")
	c.do("subscribe", object{"topics": []string{"later", "gone"}, "from": object{"gone": object{"offsets": object{"0": 1}}}}, "subscribed")
	c.status("waiting")
	if f := c.status("gap"); f.Topic != "gone" || f.From != 1 || f.To != 3 {
		t.Errorf("%s", f.raw)
	}
	c.expectValues("3", "4")
	broker.CreateTopic(t, "kafka.later", 1, nil)
	fill(t, broker, "kafka.later", 0, 0, 1)
	c.expectValues("0")
	c.do("unsubscribe", object{"topics": []string{"orders", "later", "gone"}}, "unsubscribed")
	if want := map[string]int64{"orders": 6, "later": 1, "gone": 5}; len(c.at) != len(want) || c.at["orders"].Offsets[0] != 6 || c.at["later"].Offsets[0] != 1 || c.at["gone"].Offsets[0] != 5 {
		t.Errorf("the client is at %v, want %v", c.at, want)
	}
}
