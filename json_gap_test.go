package kafkaws_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// unhurried has the gateway not give up clients that read nothing for a while.
const unhurried = "write_timeout 10m\nping_interval 10m\n"

// checkGap compares a gap.
func checkGap(t testing.TB, f frame, topic string, from, to int64, reason string) {
	t.Helper()
	if f.Topic != topic || *f.Partition != 0 || f.From != from || f.To != to || f.Reason != reason {
		t.Errorf("got %s, want from %d to %d, %s", f.raw, from, to, reason)
	}
}

// TestGapsAreTold has clients come back with positions whose records Kafka no
// longer has, in the request and in a subscribe.
func TestGapsAreTold(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	fill(t, broker, topic, 0, 0, 10)
	broker.DeleteRecords(t, topic, 0, 6)
	for onGap, want := range map[string][2]int64{ // where to go on
		"":                  {6, 6},
		"on_gap earliest\n": {6, 6},
		"on_gap latest\n":   {10, 10},
		"on_gap error\n":    {-1, -1},
	} {
		s := startSite(t, broker.Addr(), open+onGap)
		for i, lost := range []struct {
			from   int64
			reason string
		}{{3, "deleted"}, {50, "truncated"}} {
			at := map[string]place{topic: {Offsets: map[int32]int64{0: lost.from}}}
			if want[i] < 0 {
				c := s.dialJSON("")
				if f := c.fails("subscribe", object{"topic": topic, "from": at}, "offset_gone"); f.Retriable {
					t.Errorf("%s", f.raw)
				}
				c.fails("unsubscribe", object{"topic": topic}, "not_subscribed")
				c = s.dialJSON("topics=" + topic + "&" + fromPositions(at))
				if f := c.next("error"); f.Code != "offset_gone" {
					t.Errorf("%s", f.raw)
				}
				c.do("subscribe", object{"topic": topic, "from": "earliest"}, "subscribed")
				c.expectValues(sequence(6, 10)...)
				continue
			}
			inRequest := s.dialJSON("topics=" + topic + "&" + fromPositions(at))
			later := s.dialJSON("")
			later.ask("subscribe", object{"topic": topic, "from": at})
			for _, c := range []*jsonClient{inRequest, later} {
				// Where it really begins is in the positions already.
				if f := c.next("subscribed"); f.Positions[topic].Offsets[0] != want[i] {
					t.Errorf("%q: %s", onGap, f.raw)
				}
				checkGap(t, c.status("gap"), topic, lost.from, want[i], lost.reason)
				c.expectValues(sequence(int(want[i]), 10)...)
			}
		}
	}
}

// TestGapWhileCatchingUp deletes records that a client is just about to get.
func TestGapWhileCatchingUp(t *testing.T) {
	const n, gone = 6000, 5990
	broker := kafkatest.Shared(t)
	writer := kafkaClient(t, broker.Addr(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	padding := strings.Repeat("x", 8<<10)
	for _, test := range []struct {
		onGap, code string
		to          int64
	}{{"", "", gone}, {"on_gap latest\n", "", n}, {"on_gap error\n", "offset_gone", 0}} {
		topic := newTopics(t, broker, 1)[0]
		var all []*kgo.Record
		for i := range n {
			all = append(all, &kgo.Record{Topic: topic, Value: []byte(numbered("0", i, padding))})
		}
		produce(t, writer, all...)
		s := startSite(t, broker.Addr(), open+unhurried+"consumer {\nbuffer 256KiB\nbuffer_total 1MiB\n}\n"+test.onGap)
		c := s.dialJSON("topics=" + topic + "&from=earliest")
		c.expectValues(numbered("0", 0, padding)) // the socket holds the rest up
		broker.DeleteRecords(t, topic, 0, gone)
		next := int64(1)
		told := c.wait(func(f *frame) bool {
			if f.Type == "record" {
				if *f.Offset != next {
					t.Fatalf("offset %d, want %d", *f.Offset, next)
				}
				next++
				return false
			}
			return f.Type == "error" || f.Status == "gap"
		})
		c.pending = nil
		if next == gone {
			t.Fatal("the client had everything before it was deleted: this test shows nothing")
		}
		if test.code != "" {
			if told.Code != test.code || told.Topic != topic || told.ID != nil {
				t.Errorf("%s", told.raw)
			}
			c.fails("unsubscribe", object{"topic": topic}, "not_subscribed")
			continue
		}
		checkGap(t, told, topic, next, test.to, "deleted")
		broker.ProduceTo(t, topic, 0, &kgo.Record{Value: []byte(numbered("0", n, ""))})
		for i := test.to; i <= n; i++ {
			if f := c.next("record"); *f.Offset != i {
				t.Fatalf("offset %d, want %d", *f.Offset, i)
			}
		}
	}
}

// TestTopicMadeAgain: a topic that is deleted and made again is another one, for
// whoever follows it and for whoever comes back with its positions.
func TestTopicMadeAgain(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	fill(t, broker, topic, 0, 0, 10)
	s := startSite(t, broker.Addr(), open)
	c, gone := s.dialJSON("from=earliest&topics="+topic), s.dialJSON("from=earliest&topics="+topic)
	c.expectValues(sequence(0, 10)...)
	gone.expectValues(sequence(0, 10)...)
	before := gone.at
	_ = gone.Close()
	broker.DeleteTopic(t, topic)
	broker.CreateTopic(t, topic, 1, nil)
	fill(t, broker, topic, 0, 0, 20)
	c.expectValues(sequence(0, 20)...)
	checkGap(t, c.status("gap"), topic, 10, 0, "recreated")

	back := s.dialJSON("topics=" + topic + "&" + fromPositions(before))
	checkGap(t, back.status("gap"), topic, 10, 0, "recreated")
	back.expectValues(sequence(0, 20)...)
	if id := back.at[topic].TopicID; id == before[topic].TopicID || len(id) != 22 {
		t.Errorf("the topic's id was %s and is %s", before[topic].TopicID, id)
	}
	// Who does not tell the id cannot be told.
	blind := s.dialJSON("topics=" + topic + "&" + fromPositions(map[string]place{topic: {Offsets: before[topic].Offsets}}))
	blind.expectValues(sequence(10, 20)...)
	if left := blind.unread(); strings.Contains(left, "gap") {
		t.Errorf("a gap was told: %s", left)
	}
	// The one that followed has the id of the new topic to come back with.
	again := s.dialJSON("topics=" + topic + "&" + fromPositions(c.at))
	fill(t, broker, topic, 0, 20, 21)
	again.expectValues("20")
	if left := again.unread(); strings.Contains(left, "gap") {
		t.Errorf("a gap was told: %s", left)
	}
}

// TestDeletedTopic: who comes back to a topic that was deleted, at a node that reads it
// still, is let in, is told what it has lost, and gets what is written when the topic
// is made again.
func TestDeletedTopic(t *testing.T) {
	broker := kafkatest.Shared(t)
	topics := newTopics(t, broker, 2)
	topic, other := topics[0], topics[1]
	fill(t, broker, topic, 0, 0, 10)
	s := startSite(t, broker.Addr(), open)
	c, gone := s.dialJSON("from=earliest&topics="+topic), s.dialJSON("from=earliest&topics="+topic)
	c.expectValues(sequence(0, 10)...)
	gone.expectValues(sequence(0, 10)...)
	before := gone.at
	_ = gone.Close()
	fill(t, broker, topic, 0, 10, 15)
	c.expectValues(sequence(10, 15)...)
	broker.DeleteTopic(t, topic)
	var back *jsonClient
	await(t, "the node to let the client in", func() bool {
		ws, _, err := s.tryDial("topics="+topic+","+other+"&"+fromPositions(before), nil, "kafka-json")
		if err != nil {
			return false
		}
		_ = ws.Close()
		return true
	})
	back = s.dialJSON("topics=" + topic + "," + other + "&" + fromPositions(before))
	checkGap(t, back.status("gap"), topic, 10, 15, "deleted")
	fill(t, broker, other, 0, 0, 1)
	back.expectValues("0")
	broker.CreateTopic(t, topic, 1, nil)
	fill(t, broker, topic, 0, 0, 2)
	checkGap(t, back.status("gap"), topic, 15, 0, "recreated")
	back.expectValues(sequence(0, 2)...)
}

// TestProgress: a client that is sent no record moves on all the same.
func TestProgress(t *testing.T) {
	const n = 25_000
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	s := startSite(t, broker.Addr(), open+unhurried)
	none := "&filter=" + url.QueryEscape(`record.key == "nobody"`)
	live := s.dialJSON("topics=" + topic + none)
	live.next("subscribed")
	writer := kafkaClient(t, broker.Addr(), kgo.TransactionalID(topic))
	write := func(commit kgo.TransactionEndTry) {
		t.Helper()
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < n; i += 1000 {
			var batch []*kgo.Record
			for range 1000 {
				batch = append(batch, &kgo.Record{Topic: topic, Value: []byte("x")})
			}
			produce(t, writer, batch...)
		}
		if err := writer.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	write(kgo.TryCommit)
	write(kgo.TryAbort)
	late := s.dialJSON("from=earliest&topics=" + topic + none)
	batched := s.dialJSON("batch=1&from=earliest&topics=" + topic + none)
	unfiltered := s.dialJSON("from=earliest&topics=" + topic)
	unfiltered.records(n)
	for name, c := range map[string]*jsonClient{"live": live, "late": late, "late, in batches": batched, "unfiltered": unfiltered} {
		told := []int64{c.at[topic].Offsets[0]}
		for c.at[topic].Offsets[0] < n-10_000 {
			c.status("progress")
			told = append(told, c.at[topic].Offsets[0])
		}
		if !slices.IsSorted(told) {
			t.Errorf("%s: progress to %v", name, told)
		}
		if name != "live" {
			c.status("caught_up")
		}
		// Both transactions have a mark at their end.
		if f := c.do("unsubscribe", object{"topic": topic}, "unsubscribed"); f.Positions[topic].Offsets[0] != 2*n+2 {
			t.Errorf("%s: %s", name, f.raw)
		}
		c.do("subscribe", object{"topic": topic, "from": c.at}, "subscribed")
	}
	broker.ProduceTo(t, topic, 0, &kgo.Record{Value: []byte("end")})
	for _, c := range []*jsonClient{live, late, batched, unfiltered} {
		c.expectValues("end")
	}
}

// TestProgressWithPings: a client is told in time of offsets that hold no record for
// it, where nothing else comes.
func TestProgressWithPings(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	c := startSite(t, broker.Addr(), open+"ping_interval 1s\n").dialJSON("topics=" + topic)
	c.next("subscribed")
	writer := kafkaClient(t, broker.Addr(), kgo.TransactionalID(topic))
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, writer, &kgo.Record{Topic: topic, Value: []byte("x")})
		if err := writer.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	c.records(1)
	// A record, a mark, a record that was aborted, and another mark.
	for c.at[topic].Offsets[0] < 4 {
		c.status("progress")
	}
}

// TestSlowClientsAreTold has a client that reads nothing for a while miss what a
// site drops for it, and hear of that.
func TestSlowClientsAreTold(t *testing.T) {
	const n = 6000
	broker := kafkatest.Shared(t)
	topic := newTopics(t, broker, 1)[0]
	s := startSite(t, broker.Addr(), open+unhurried+"slow_client drop_oldest\nconsumer {\nbuffer 256KiB\nbuffer_total 1MiB\n}")
	slow, quick := s.dialJSON("topics="+topic), s.dialJSON("topics="+topic)
	writer := kafkaClient(t, broker.Addr())
	padding := strings.Repeat("x", 8<<10)
	for i := 0; i < n; i += 100 {
		var batch []*kgo.Record
		for j := i; j < i+100; j++ {
			batch = append(batch, &kgo.Record{Topic: topic, Value: []byte(numbered("0", j, padding))})
		}
		produce(t, writer, batch...)
		for quick.at[topic].Offsets[0] < int64(i+100) {
			quick.receive()
		}
		quick.pending = nil
	}
	next, gaps := int64(0), 0
	for next < n {
		slow.receive()
		for _, f := range slow.pending {
			switch {
			case f.Type == "record" && *f.Offset == next:
				next++
			case f.Status == "gap" && f.From == next && f.To > next && f.Reason == "slow":
				next = f.To
				gaps++
			case f.Type == "record", f.Status == "gap":
				t.Fatalf("at %d came %.300s", next, f.raw)
			}
		}
		slow.pending = nil
	}
	if gaps == 0 {
		t.Error("it missed nothing: this test shows nothing")
	}
}

// TestRequestsWithoutWaiting: what a request does depends on those before it alone,
// however far these have come when it is read.
func TestRequestsWithoutWaiting(t *testing.T) {
	broker := kafkatest.Shared(t)
	topics := newTopics(t, broker, 2)
	topic := topics[0]
	fill(t, broker, topic, 0, 0, 10)
	broker.DeleteRecords(t, topic, 0, 6)
	s := startSite(t, broker.Addr(), open+"on_gap error\nmax_topics 1\n")
	gone := object{"topic": topic, "from": object{topic: object{"offsets": object{"0": 3}}}}
	there := object{"topic": topic, "from": "earliest"}
	c := s.dialJSON("")
	for range 20 {
		requests := []struct {
			kind    string
			members object
			answer  string
		}{
			{"subscribe", gone, "error"},
			{"subscribe", there, "subscribed"},
			{"subscribe", object{"topic": topics[1]}, "error"}, // too many
			{"unsubscribe", object{"topic": topic}, "unsubscribed"},
			{"unsubscribe", object{"topic": topic}, "error"},
			{"subscribe", gone, "error"},
			{"subscribe", there, "subscribed"},
			{"subscribe", gone, "error"}, // the one before goes on
		}
		var ids []string
		for _, r := range requests {
			ids = append(ids, c.ask(r.kind, r.members))
		}
		for i, r := range requests {
			c.answer(ids[i], r.answer)
		}
		// Those of the first subscription may have come before it ended.
		c.do("unsubscribe", object{"topic": topic}, "unsubscribed")
		c.pending = nil
		c.do("subscribe", object{"topic": topics[1]}, "subscribed") // there is room
		c.do("unsubscribe", object{"topic": topics[1]}, "unsubscribed")
		c.fails("subscribe", gone, "offset_gone")
		c.fails("unsubscribe", object{"topic": topic}, "not_subscribed")
	}
	c.do("subscribe", there, "subscribed")
	c.expectValues(sequence(6, 10)...)
}
