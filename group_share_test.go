package kafkaws_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestGroupMembersShare has members with each subprotocol, two at one Caddy and one
// at another, come and go.
func TestGroupMembersShare(t *testing.T) {
	broker := kafkatest.Shared(t)
	near, far := startSite(t, broker.Addr(), openGroups), startSite(t, broker.Addr(), openGroups)
	for _, subprotocol := range []string{"kafka-text", "kafka-binary", "kafka-json"} {
		t.Run(subprotocol, func(t *testing.T) {
			near, far := near.with(t), far.with(t)
			k := newGroupKafka(t, broker, 6)
			k.writes(20)
			one := near.member("one", k.query("&from=earliest"), nil, subprotocol)
			one.hears(120)
			k.awaitCommits()
			two := near.member("two", k.query(""), nil, subprotocol)
			three := far.member("three", k.query(""), nil, subprotocol)
			all := []*groupMember{one, two, three}
			k.awaitMembers(3)

			// They are told nothing by the older subprotocols; so records are written
			// until each has got some that no other has.
			shared := func(members []*groupMember) {
				t.Helper()
				before := make([]int, len(members))
				for i, m := range members {
					before[i] = len(m.hears(0))
				}
				await(t, "that all get some", func() bool {
					k.writes(5)
					for i, m := range members {
						if len(m.hears(0)) == before[i] {
							return false
						}
					}
					return true
				})
			}
			shared(all)
			for _, m := range []*groupMember{two, three} {
				m.leaves()
			}
			left := time.Now()
			k.awaitMembers(1)
			// What is written now is one's alone.
			k.writes(10)
			one.until("the end of all partitions", func() bool {
				for p, next := range k.next {
					if one.last[int32(p)] != next-1 {
						return false
					}
				}
				return true
			})
			t.Logf("the last member had all partitions, and their records, within %v", time.Since(left))
			if took := time.Since(left); took > 8*time.Second {
				t.Errorf("it took %v for the others' partitions to come back", took)
			}
			k.awaitCommits()

			// Each record has come to somebody, each partition in order, and nothing
			// that was committed has come again.
			seen := map[spot]int{}
			for _, m := range all {
				for p := range k.partitions {
					part := of(p, m.hears(0))
					if !slices.IsSortedFunc(part, func(a, b spot) int { return int(a.offset - b.offset) }) {
						t.Errorf("%s: partition %d came in another order: %v", m.name, p, part)
					}
				}
				for _, at := range m.hears(0) {
					seen[at]++
				}
			}
			doubled := 0
			for p, next := range k.next {
				for _, at := range upTo(int32(p), 0, next) {
					switch n := seen[at]; {
					case n == 0:
						t.Errorf("%v came to nobody", at)
					case n > 1 && at.offset < 20:
						t.Errorf("%v was committed and came %d times", at, n)
					case n > 1:
						doubled++
					}
				}
			}
			t.Logf("%d records, of which %d came twice", len(seen), doubled)
			one.leaves()
			k.awaitMembers(0)
		})
	}
}

// TestGroupTellsPartitions has members of kafka-json come and go: each is told which
// partitions it has, and where they begin.
func TestGroupTellsPartitions(t *testing.T) {
	broker := kafkatest.Shared(t)
	near, far := startSite(t, broker.Addr(), openGroups), startSite(t, broker.Addr(), openGroups)
	k := newGroupKafka(t, broker, 4)
	k.writes(3)
	one := near.member("one", k.query("&from=earliest"), nil, "kafka-json")
	if welcome := one.hasFrame("welcome", ""); welcome.Group != k.group {
		t.Errorf("the welcome says group %q", welcome.Group)
	}
	if held := one.holds(4); !slices.Equal(held, []int32{0, 1, 2, 3}) {
		t.Errorf("holds %v", held)
	}
	one.hears(12)
	k.awaitCommits()
	for _, joins := range []struct {
		name string
		at   *site
	}{{"on the same node", near}, {"on another node", far}} {
		two := joins.at.member("two", k.query(""), nil, "kafka-json")
		moved := two.holds(2)
		kept := one.holds(2)
		for p := range k.partitions {
			if slices.Contains(moved, p) == slices.Contains(kept, p) {
				t.Errorf("%s: one holds %v, the other %v", joins.name, kept, moved)
			}
		}
		two.mu.Lock()
		for _, p := range moved {
			if two.began[p] != k.next[p] {
				t.Errorf("%s: partition %d began at %d, %d was committed", joins.name, p, two.began[p], k.next[p])
			}
		}
		two.mu.Unlock()
		gone := time.Now()
		two.leaves()
		one.holds(4)
		t.Logf("%s: the partitions came back within %v", joins.name, time.Since(gone))
		if took := time.Since(gone); took > 5*time.Second {
			t.Errorf("%s: the partitions came back after %v", joins.name, took)
		}
	}
	if n := len(one.hears(0)); n != 12 {
		t.Errorf("%d records came, there are 12", n)
	}
	if n, clients := k.members(); n != 1 || clients[0] != "caddy" {
		t.Errorf("Kafka's tools show the members %q", clients)
	}
}

// hasFrame waits for a frame of a type and a status.
func (m *groupMember) hasFrame(kind, status string) groupFrame {
	m.t.Helper()
	var found groupFrame
	m.until(kind+" "+status, func() bool {
		for _, f := range m.frames {
			if f.Type == kind && f.Status == status {
				found = f
				return true
			}
		}
		return false
	})
	return found
}

// TestGroupGoesOnBehindItsCommit: where a group has committed an offset it goes on,
// whatever a client asks for; where it has not, the client's choice counts.
func TestGroupGoesOnBehindItsCommit(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), openGroups)
	for _, subprotocol := range []string{"kafka-text", "kafka-json"} {
		t.Run(subprotocol, func(t *testing.T) {
			s := s.with(t)
			k := newGroupKafka(t, broker, 1)
			k.writes(10)
			for i, from := range []string{"&from=earliest", "&from=earliest", "&from=latest", "&last=100", "&from=-1h", ""} {
				begin := k.next[0]
				if i == 0 {
					begin = 0
				}
				k.writes(10) // while the group has no member
				want := upTo(0, begin, k.next[0])
				m := s.member(from, k.query(from), nil, subprotocol)
				m.hears(len(want))
				k.writes(1)
				want = upTo(0, begin, k.next[0])
				got := m.hears(len(want))
				if !slices.Equal(got, want) {
					t.Fatalf("%q: got %v, want %v", from, got, want)
				}
				k.awaitCommit(0, k.next[0])
				m.leaves()
				k.awaitMembers(0)
			}
		})
	}
	k := newGroupKafka(t, broker, 2)
	k.writes(10)
	positions := fmt.Sprintf(`{%q:{"offsets":{"0":7,"1":10}}}`, k.topic)
	for from, begin := range map[string][2]int64{
		"&from=earliest": {0, 0}, "&from=latest": {10, 10}, "": {10, 10}, "&last=3": {7, 7}, "&from=-1h": {0, 0},
		"&from=" + url.QueryEscape(positions): {7, 10},
	} {
		k.group = fmt.Sprintf("%s-%d", k.topic, len(from))
		m := s.member(from, k.query(from), nil, "kafka-json")
		m.holds(2)
		m.mu.Lock()
		if m.began[0] != begin[0] || m.began[1] != begin[1] {
			t.Errorf("%q begins at %v, want %v", from, m.began, begin)
		}
		m.mu.Unlock()
		m.leaves()
	}
}

// TestGroupCommitsWhatIsWritten has a client that reads nothing: what its socket did
// not take is not committed, and comes to the next member.
func TestGroupCommitsWhatIsWritten(t *testing.T) {
	const records, size = 400, 100 << 10
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), openGroups)
	k := newGroupKafka(t, broker, 1)
	padding := strings.Repeat("x", size)
	for n := range records {
		produce(t, k.writer, &kgo.Record{Topic: k.topic, Value: fmt.Appendf(nil, "0/%d/%s", n, padding)})
	}
	k.next[0] = records
	stalled := s.dial(k.query("&from=earliest"))
	var at int64
	await(t, "a commit", func() bool {
		at = k.committed()[0]
		return at > 0
	})
	// It grows until the kernel's buffers are full: until two looks of more than
	// the commit interval apart find the same.
	for last, since := at, time.Now(); time.Since(since) < 3*time.Second; {
		await(t, "an answer", func() bool { at = k.committed()[0]; return true })
		if at != last {
			last, since = at, time.Now()
		}
	}
	if at >= records/2 {
		t.Fatalf("%d of %d records are committed, and none were read", at, records)
	}
	t.Logf("%d records of %d KiB are committed of which none was read", at, size>>10)
	_ = stalled.NetConn().Close()
	k.awaitMembers(0)
	behind := k.committed()[0]
	if behind < at || behind >= records/2 {
		t.Errorf("%d records were committed, then %d", at, behind)
	}
	m := s.member("next", k.query("&from=earliest"), nil)
	if got := m.hears(int(records - behind)); !slices.Equal(got, upTo(0, behind, records)) {
		t.Errorf("after %d got %v", behind, got)
	}
}

// TestGroupWithFilterAndTransforms has members get records that were filtered, in
// arrays, and under another name; what they are not shown is committed all the same.
func TestGroupWithFilterAndTransforms(t *testing.T) {
	broker := kafkatest.Shared(t)
	k := newGroupKafka(t, broker, 1)
	topic := k.topic
	k.topic = "internal-" + topic
	s := startSite(t, broker.Addr(), openGroups+"transform out filter `record.offset % 2 == 0`\ntransform out topic "+k.topic+" "+topic+"\n")
	broker.CreateTopic(t, k.topic, 1, nil)
	k.writes(120)
	query := "topics=" + topic + "&group.id=" + k.group + "&from=earliest&filter=" + url.QueryEscape("record.offset % 3 == 0")
	want := func(to int64) []spot {
		return slices.DeleteFunc(upTo(0, 0, to), func(at spot) bool { return at.offset%6 != 0 })
	}
	m := s.member("auto", query+"&batch=1", nil, "kafka-json")
	if got := m.hears(20); !slices.Equal(got, want(120)) {
		t.Errorf("got %v", got)
	}
	k.awaitCommit(0, 120)
	m.mu.Lock()
	if m.raw["0/0"][0] != '[' || m.messages > 15 {
		t.Errorf("20 records came in %d messages: %s", m.messages, m.raw["0/0"])
	}
	m.mu.Unlock()
	m.leaves()

	// With acknowledgements, what is not shown behind the last one that was
	// acknowledged counts as done, and what is before one that was not does not.
	k.group += "-acks"
	query = strings.Replace(query, "group.id="+topic, "group.id="+k.group, 1)
	m = s.member("client", query+"&batch=1&ack=client", nil, "kafka-json")
	if held := m.holds(1); held[0] != 0 {
		t.Errorf("holds %v", held)
	}
	m.hears(20)
	if f := m.ack(1, 0, 61); f.Type != "acked" || f.Positions[topic].Offsets[0] != 61 {
		t.Errorf("got %+v", f)
	}
	k.awaitCommit(0, 61)
	if f := m.ask(5, `{"type":"ack","positions":{%q:{"offsets":{"0":115}},%q:{"offsets":{"0":67}}}}`, k.topic, topic); f.Code != "not_assigned" {
		t.Errorf("by both of its names: %+v", f)
	}
	k.awaitCommit(0, 67)
	if f := m.ack(2, 0, 115); f.Type != "acked" {
		t.Errorf("got %+v", f)
	}
	k.awaitCommit(0, 120)
	if f := m.ask(3, `{"type":"ack","positions":{%q:{"offsets":{"0":120}}}}`, k.topic); f.Code != "not_assigned" {
		t.Errorf("by its name in Kafka: %+v", f)
	}
	k.writes(1)
	m.hears(21)
	if f := m.ask(4, `{"type":"nack","topic":%q,"partition":0,"offset":120}`, topic); f.Type != "acked" {
		t.Errorf("got %+v", f)
	}
	if got := m.hears(22); !slices.Equal(got[20:], []spot{{0, 120}, {0, 120}}) {
		t.Errorf("got %v", got[20:])
	}
}
