package kafkaws_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestGroupAcks has a client acknowledge records itself.
func TestGroupAcks(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), openGroups+"max_unacked 10\n")
	k := newGroupKafka(t, broker, 1)
	k.writes(100)
	m := s.member("one", k.query("&from=earliest&ack=client"), nil, "kafka-json")
	m.holds(1)
	exactly := func(to int64) {
		t.Helper()
		m.hears(int(to))
		// Whatever comes is before the pong, or not yet asked of Kafka.
		m.roundTrip(1000 + int(to))
		if got := m.hears(0); !slices.Equal(got, upTo(0, 0, to)) {
			t.Fatalf("got %v, want %d records", got, to)
		}
	}
	exactly(10)
	if at := k.committed()[0]; at != 0 {
		t.Errorf("%d is committed", at)
	}
	if f := m.ack(1, 0, 4); f.Type != "acked" || f.Positions[k.topic].Offsets[0] != 4 {
		t.Errorf("got %+v", f)
	}
	if at := k.committed()[0]; at != 4 {
		t.Errorf("acknowledged, and %d is committed", at)
	}
	exactly(14)
	// One that was acknowledged before changes nothing, one that did not come
	// cannot be.
	if f := m.ack(2, 0, 2); f.Type != "acked" {
		t.Errorf("got %+v", f)
	}
	if f := m.ack(3, 0, 15); f.Code != "not_assigned" {
		t.Errorf("got %+v", f)
	}
	for id, spot := range []string{`"partition":0,"offset":14`, `"partition":0,"offset":3`, `"partition":1,"offset":0`} {
		if f := m.ask(10+id, `{"type":"nack","topic":%q,%s}`, k.topic, spot); f.Code != "not_assigned" {
			t.Errorf("nack %s: got %+v", spot, f)
		}
	}
	if at := k.committed()[0]; at != 4 {
		t.Errorf("%d is committed", at)
	}
	// Several acknowledgements at once are each answered.
	m.send(fmt.Sprintf(`[{"type":"ack","id":21,"positions":{%[1]q:{"offsets":{"0":7}}}},{"type":"ack","id":22,"positions":{%[1]q:{"offsets":{"0":99}}}},`+
		`{"type":"ack","id":23,"positions":{%[1]q:{"offsets":{"0":14}}}}]`, k.topic))
	for id, code := range map[int]string{21: "", 22: "not_assigned", 23: ""} {
		if f := m.answer(id); f.Code != code {
			t.Errorf("%d: got %+v", id, f)
		}
	}
	exactly(24)
	if at := k.committed()[0]; at != 14 {
		t.Errorf("%d is committed", at)
	}
	// What a member of a group cannot do.
	if f := m.ask(31, `{"type":"subscribe","topic":%q}`, k.topic); f.Code != "bad_request" {
		t.Errorf("got %+v", f)
	}
	if f := m.ask(32, `{"type":"unsubscribe","topic":%q}`, k.topic); f.Code != "bad_request" {
		t.Errorf("got %+v", f)
	}
	m.leaves()
	k.awaitMembers(0)
	// What was not acknowledged comes again.
	m = s.member("two", k.query("&ack=client"), nil, "kafka-json")
	if got := m.hears(10); !slices.Equal(got, upTo(0, 14, 24)) {
		t.Errorf("got %v", got)
	}
	// An acknowledgement counts that is sent with the last breath.
	m.send(fmt.Sprintf(`{"type":"ack","positions":{%q:{"offsets":{"0":20}}}}`, k.topic))
	m.leaves()
	k.awaitMembers(0)
	if at := k.committed()[0]; at != 20 {
		t.Errorf("%d is committed", at)
	}

	for query, member := range map[string]*groupMember{
		"without ack=client": s.member("three", k.query(""), nil, "kafka-json"),
		"without a group":    s.member("four", "topics="+k.topic+"&ack=client", nil, "kafka-json"),
	} {
		if f := member.ack(1, 0, 21); f.Code != "no_group" {
			t.Errorf("%s: got %+v", query, f)
		}
		if f := member.ask(2, `{"type":"nack","topic":%q,"partition":0,"offset":20}`, k.topic); f.Code != "no_group" {
			t.Errorf("%s: got %+v", query, f)
		}
	}
}

// TestGroupNacks has a client want records again: they come, and those behind them
// in their partition, after a delay; the other partitions go on meanwhile.
func TestGroupNacks(t *testing.T) {
	const delay = 1500 * time.Millisecond
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), openGroups)
	k := newGroupKafka(t, broker, 2)
	k.writes(10)
	m := s.member("one", k.query("&from=earliest&ack=client"), nil, "kafka-json")
	m.hears(20)
	if f := m.ack(1, 0, 3); f.Type != "acked" {
		t.Fatalf("got %+v", f)
	}
	asked := time.Now()
	if f := m.ask(2, `{"type":"nack","topic":%q,"partition":0,"offset":5,"delay_ms":%d}`, k.topic, delay.Milliseconds()); f.Type != "acked" {
		t.Fatalf("got %+v", f)
	}
	k.writes(5) // more of both
	m.until("partition 1", func() bool { return m.last[1] == 14 })
	if time.Since(asked) < delay { // else the machine is too busy to tell
		if got := of(0, m.hears(0)); len(got) != 10 {
			t.Errorf("of partition 0 came %v within %v", got, time.Since(asked))
		}
		// What is to come again cannot be acknowledged.
		if f := m.ack(3, 0, 8); f.Code != "not_assigned" && time.Since(asked) < delay {
			t.Errorf("got %+v", f)
		}
	}
	m.hears(35)
	if took := time.Since(asked); took < delay {
		t.Errorf("they came again after %v", took)
	}
	if got := of(0, m.hears(0)); !slices.Equal(got, slices.Concat(upTo(0, 0, 10), upTo(0, 5, 15))) {
		t.Errorf("of partition 0 came %v", got)
	}
	if got := of(1, m.hears(0)); !slices.Equal(got, upTo(1, 0, 15)) {
		t.Errorf("of partition 1 came %v", got)
	}
	if at := k.committed()[0]; at != 3 {
		t.Errorf("%d is committed", at)
	}
	// Again and again, at once.
	for n := range 5 {
		if f := m.ask(10+n, `{"type":"nack","topic":%q,"partition":1,"offset":14}`, k.topic); f.Type != "acked" {
			t.Fatalf("got %+v", f)
		}
		m.hears(36 + n)
	}
	for p := range int32(2) {
		if f := m.ack(20+int(p), p, 15); f.Type != "acked" {
			t.Errorf("got %+v", f)
		}
	}
	k.awaitCommits()
}

// TestGroupUnackedComeToTheNextOwner has partitions go to another member, of another
// node: what was acknowledged does not come again there, what was not does.
func TestGroupUnackedComeToTheNextOwner(t *testing.T) {
	broker := kafkatest.Shared(t)
	near, far := startSite(t, broker.Addr(), openGroups), startSite(t, broker.Addr(), openGroups)
	k := newGroupKafka(t, broker, 4)
	k.writes(10)
	query := k.query("&from=earliest&ack=client")
	one := near.member("one", query, nil, "kafka-json")
	one.hears(40)
	for p := range k.partitions {
		one.ack(int(p+1), p, 6)
	}
	two := far.member("two", query, nil, "kafka-json")
	moved, kept := two.holds(2), one.holds(2)
	two.hears(8)
	for _, p := range moved {
		if got := of(p, two.hears(0)); !slices.Equal(got, upTo(p, 6, 10)) {
			t.Errorf("of partition %d came %v", p, got)
		}
	}
	// Of what it has lost, one can acknowledge nothing; of the rest it can, in the
	// same request.
	lost := one.ask(11, `{"type":"ack","positions":{%q:{"offsets":{"%d":7,"%d":7}}}}`, k.topic, moved[0], kept[0])
	if lost.Code != "not_assigned" {
		t.Errorf("got %+v", lost)
	}
	if at := k.committed(); at[moved[0]] != 6 || at[kept[0]] != 7 {
		t.Errorf("%v is committed, %d had moved, %d not", at, moved[0], kept[0])
	}
	if f := one.ask(12, `{"type":"nack","topic":%q,"partition":%d,"offset":7}`, k.topic, moved[0]); f.Code != "not_assigned" {
		t.Errorf("got %+v", f)
	}
	// What was kept can be acknowledged as if nothing had been.
	for i, p := range kept {
		if f := one.ack(20+i, p, 10); f.Type != "acked" {
			t.Errorf("got %+v", f)
		}
	}
	if n := len(one.hears(0)); n != 40 {
		t.Errorf("%d records came to the first, want 40", n)
	}
	// A session that is cut off gives back what it has not acknowledged.
	two.ack(1, moved[0], 8)
	_ = two.NetConn().Close()
	one.holds(4)
	one.hears(40 + 2 + 4)
	if got := of(moved[0], one.hears(0)[40:]); !slices.Equal(got, upTo(moved[0], 8, 10)) {
		t.Errorf("of partition %d came %v", moved[0], got)
	}
	if got := of(moved[1], one.hears(0)[40:]); !slices.Equal(got, upTo(moved[1], 6, 10)) {
		t.Errorf("of partition %d came %v", moved[1], got)
	}
}

// TestGroupFullWindow has a partition be taken from a client that has acknowledged
// nothing of all that it may have: it is told, and gets the rest of what it
// keeps.
func TestGroupFullWindow(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), openGroups+"max_unacked 10\n")
	k := newGroupKafka(t, broker, 2)
	k.writes(40)
	query := k.query("&from=earliest&ack=client")
	one := s.member("one", query, nil, "kafka-json")
	one.holds(2)
	one.hears(10)
	two := s.member("two", query, nil, "kafka-json")
	two.holds(1)
	kept := one.holds(1)[0]
	two.hears(10)
	// What has come of the partition that is gone does not count any more.
	one.until("the window to be full of what is kept", func() bool { return one.last[kept] == 9 })
	if f := one.ack(1, 1-kept, 1); f.Code != "not_assigned" {
		t.Errorf("got %+v", f)
	}
	for next := int64(10); next < 40; next += 10 {
		if f := one.ack(int(next), kept, next); f.Type != "acked" {
			t.Fatalf("got %+v", f)
		}
		one.until("as many again", func() bool { return one.last[kept] == next+9 })
	}
	// It hears of a partition, too, that it cannot be given anything of.
	two.leaves()
	one.holds(2)
}

// TestGroupMemberKilled kills a whole Caddy with kill -9: what its clients have not
// acknowledged comes again at another, what they have does not.
func TestGroupMemberKilled(t *testing.T) {
	broker := kafkatest.Shared(t)
	near, far := startSite(t, broker.Addr(), openGroups), startSite(t, broker.Addr(), openGroups)
	k := newGroupKafka(t, broker, 6)
	k.writes(10)
	query := k.query("&from=earliest&ack=client")
	rest := near.member("rest", query, nil, "kafka-json")
	rest.holds(6)
	victims := []*groupMember{far.member("v1", query, nil, "kafka-json"), far.member("v2", query, nil, "kafka-json")}
	rest.holds(2)
	acked := map[int32]int64{}
	for _, v := range victims {
		for i, p := range v.holds(2) {
			v.until("its records", func() bool { return v.last[p] == 9 })
			// Nothing, or half.
			if acked[p] = int64(i) * 5; i > 0 {
				if f := v.ack(i, p, acked[p]); f.Type != "acked" {
					t.Fatalf("got %+v", f)
				}
			}
		}
	}
	before := len(rest.hears(0))
	if err := far.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-far.exited
	killed := time.Now()
	rest.holds(6)
	t.Logf("the partitions came to the other process after %v", time.Since(killed))
	rest.hears(before + 30)
	t.Logf("and all unacknowledged records after %v", time.Since(killed))
	for p, from := range acked {
		if got := of(p, rest.hears(0)[before:]); !slices.Equal(got, upTo(p, from, 10)) {
			t.Errorf("of partition %d came %v, %d were acknowledged", p, got, from)
		}
	}
	for p, next := range k.next {
		if f := rest.ack(100+p, int32(p), next); f.Type != "acked" {
			t.Errorf("got %+v", f)
		}
	}
	if n := len(rest.hears(0)); n != before+30 {
		t.Errorf("%d more records came, want 30", n-before)
	}
}
