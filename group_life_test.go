package kafkaws_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestGroupRefusals asks for groups that are not allowed, or make no sense.
func TestGroupRefusals(t *testing.T) {
	broker := kafkatest.Shared(t)
	addr := freeAddr(t)
	s := &site{addr: addr, path: brokerPath}
	s.caddyProcess = startCaddy(t, global+fmt.Sprintf("http://%s {\n", addr)+accounts("alice", "bob", "*")+
		handleBlock(brokerPath, broker.Addr(), open+"groups shared {http.auth.user.id}.* __internal\nmax_group_sessions 2\n")+
		handleBlock("/closed/", broker.Addr(), open)+"}\n")
	k := newGroupKafka(t, broker, 1)
	for _, c := range []struct {
		path, user, query string
		status            int
		says, hint        string
	}{
		{brokerPath, "alice", "topics=x&group.id=other", 403, `consumer group "other" is not allowed`, "groups"},
		{brokerPath, "alice", "topics=x&group.id=bob.jobs", 403, `"bob.jobs" is not allowed`, "groups"},
		{brokerPath, "*", "topics=x&group.id=bob.jobs", 403, `"bob.jobs" is not allowed`, "groups"},
		{brokerPath, "alice", "topics=x&group.id=__other", 403, `"__other" is not allowed`, "groups"},
		{"/closed/", "alice", "topics=x&group.id=shared", 403, `"shared" is not allowed`, "groups"},
		{brokerPath, "alice", "group.id=shared", 400, `consumer group "shared" needs topics`, ""},
		{brokerPath, "alice", "topics=x&group.id=a/b", 400, "illegal consumer group id", ""},
		{brokerPath, "alice", "topics=x&group.id=" + strings.Repeat("x", 250), 400, "illegal consumer group id", ""},
	} {
		status, _ := s.at(c.path).refused(c.query, credentials(c.user))
		if status != c.status {
			t.Errorf("%s, %s: got %d, want %d", c.user, c.query, status, c.status)
		}
		warning := s.logged(entry{"level": "warn", "msg": "request refused", "status": c.status, "error": c.says})
		if hint := fmt.Sprint(warning["hint"]); (c.hint != "") != strings.Contains(hint, "`"+c.hint) {
			t.Errorf("%s: the hint is %q, which should name %q", c.query, hint, c.hint)
		}
	}
	header := credentials("alice")
	header.Set("Sec-WebSocket-Protocol", "kafka-json")
	if status, _ := s.refused("topics=x&group.id=shared&ack=manual", header); status != 400 {
		t.Errorf("an unknown kind of acknowledgements: got %d", status)
	}

	// Those that are allowed, as many as are.
	var members []*groupMember
	for user, group := range map[string]string{"alice": "alice.jobs", "bob": "shared"} {
		query := "topics=" + k.topic + "&group.id=" + group
		members = append(members, s.member(user, query, credentials(user), "kafka-json"))
		if welcome := members[len(members)-1].hasFrame("welcome", ""); welcome.Group != group {
			t.Errorf("%s: the welcome says group %q", user, welcome.Group)
		}
	}
	status, answer := s.refused(k.query("")[:len("topics="+k.topic)]+"&group.id=shared", credentials("alice"))
	if status != http.StatusServiceUnavailable || answer.Get("Retry-After") == "" {
		t.Errorf("one more than max_group_sessions: got %d, Retry-After %q", status, answer.Get("Retry-After"))
	}
	s.logged(entry{"level": "error", "logger": "http.log.error", "msg": "max_group_sessions"})
	// Others are not counted, and one that ends makes room.
	if c, _, err := s.tryDial("topics="+k.topic, credentials("alice")); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}
	members[0].leaves()
	await(t, "room for another member", func() bool {
		c, _, err := s.tryDial("topics="+k.topic+"&group.id=shared", credentials("alice"))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// TestGroupsLeaveAtOnce has members end because Caddy's configuration changed, or
// because it stops, or with a client that does not take leave: Kafka knows of none
// of them soon, with nobody waiting for a session timeout.
func TestGroupsLeaveAtOnce(t *testing.T) {
	broker := kafkatest.Shared(t)
	const directives = openGroups + "drain_timeout 1s\n"
	s := startSite(t, broker.Addr(), directives)
	k := newGroupKafka(t, broker, 4)
	join := func() (all []*groupMember) {
		t.Helper()
		for i, subprotocol := range []string{"kafka-text", "kafka-binary", "kafka-json", "kafka-json"} {
			all = append(all, s.member(fmt.Sprint(i), k.query("&from=earliest"), nil, subprotocol))
		}
		k.awaitMembers(len(all))
		k.writes(10)
		k.awaitCommits()
		return all
	}
	soon := func(what string, after time.Time) {
		t.Helper()
		k.awaitMembers(0)
		took := time.Since(after)
		t.Logf("%s: the group was empty after %v", what, took)
		if took > 6*time.Second {
			t.Errorf("%s: the group was empty only after %v", what, took)
		}
	}

	all := join()
	begun := time.Now()
	if err := s.reload(withRoute(siteConfig(s.addr, broker.Addr(), directives), "respond /version 2")); err != nil {
		t.Fatal(err)
	}
	if n, _ := k.members(); n != len(all) {
		t.Errorf("%d members are left after a reload of other things", n)
	}
	begun = time.Now()
	if err := s.reload(siteConfig(s.addr, broker.Addr(), directives+"max_topics 9\n")); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if code := m.ends(); code != 1012 {
			t.Errorf("%s: closed with %d", m.name, code)
		}
	}
	soon("a changed handler", begun)

	all = join()
	begun = time.Now()
	for _, m := range all {
		_ = m.NetConn().Close()
	}
	soon("connections that broke", begun)

	// One of the clients does not answer the Close frame.
	deaf := s.dial(k.query(""))
	k.awaitMembers(1)
	all = all[:0]
	for i := range 3 {
		all = append(all, s.member(fmt.Sprint(i), k.query(""), nil))
	}
	k.awaitMembers(4)
	begun = time.Now()
	s.terminate()
	for _, m := range all {
		if code := m.ends(); code != 1001 {
			t.Errorf("%s: closed with %d", m.name, code)
		}
	}
	soon("SIGTERM", begun)
	_ = deaf.Close()
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Error("caddy did not stop")
	}
	t.Logf("caddy stopped after %v", time.Since(begun))
	if got := k.committed(); !slices.Equal([]int64{got[0], got[1], got[2], got[3]}, k.next) {
		t.Errorf("%v is committed, %v was written", got, k.next)
	}
}

// TestGroupsLeakNothing looks at what is left of members.
func TestGroupsLeakNothing(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), openGroups)
	k := newGroupKafka(t, broker, 2)
	use := func(n int) {
		t.Helper()
		var all []*groupMember
		for i := range n {
			all = append(all, s.member(fmt.Sprint(i), k.query("&from=earliest&ack=client"), nil, "kafka-json"))
		}
		k.writes(5)
		await(t, "10 records", func() bool {
			got := 0
			for _, m := range all {
				got += len(m.hears(0))
			}
			return got >= 10
		})
		for i, m := range all {
			if i%2 == 0 {
				m.leaves()
			} else {
				_ = m.NetConn().Close()
			}
		}
		k.awaitMembers(0)
	}
	all := func() int { return s.goroutines() }
	use(2) // something is used once and kept
	base, files := 0, 0
	await(t, "quiet", func() bool {
		before, beforeFiles := base, files
		base, files = all(), s.files()
		return base == before && files == beforeFiles
	})
	stays := s.member("stays", k.query(""), nil, "kafka-json")
	stays.holds(2)
	t.Logf("a member is %d goroutines and %d files", all()-base, s.files()-files)
	stays.leaves()
	k.awaitMembers(0)
	for range 3 {
		use(4)
	}
	settle(t, s, "members that came and went", base, files)
}

// TestGroupGap deletes records before the group has got them: kafka-json is told and
// goes on, a client of another subprotocol is closed once, and the next goes on.
func TestGroupGap(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), openGroups)
	strict := s.at("/strict/")
	if err := s.reload(withRoute(siteConfig(s.addr, broker.Addr(), openGroups),
		handleBlock("/strict/", broker.Addr(), openGroups+"on_gap error\n")+
			handleBlock("/earliest/", broker.Addr(), openGroups+"on_gap earliest\n"))); err != nil {
		t.Fatal(err)
	}
	// gapped has a group with a commit at 5 of a topic that begins at 12 and ends
	// at 20.
	gapped := func() *groupKafka {
		t.Helper()
		k := newGroupKafka(t, broker, 1)
		k.writes(5)
		m := s.member("first", k.query("&from=earliest"), nil)
		m.hears(5)
		k.awaitCommit(0, 5)
		m.leaves()
		k.awaitMembers(0)
		k.writes(15)
		broker.DeleteRecords(t, k.topic, 0, 12)
		return k
	}
	k := gapped()
	m := s.member("json", k.query("&ack=client"), nil, "kafka-json")
	gap := m.hasFrame("status", "gap")
	if gap.Topic != k.topic || gap.Partition != 0 || gap.From != 5 || gap.To != 12 || gap.Reason != "deleted" {
		t.Errorf("got %+v", gap)
	}
	if got := m.hears(8); !slices.Equal(got, upTo(0, 12, 20)) {
		t.Errorf("got %v", got)
	}
	k.awaitCommit(0, 12) // whoever comes next is not told again

	k = gapped()
	for _, subprotocol := range []string{"kafka-text", "kafka-binary"} {
		k := gapped()
		if code := s.member("old", k.query(""), nil, subprotocol).ends(); code != 4000 {
			t.Errorf("%s: closed with %d", subprotocol, code)
		}
		k.awaitMembers(0)
		m := s.member("next", k.query(""), nil, subprotocol)
		if got := m.hears(8); !slices.Equal(got, upTo(0, 12, 20)) {
			t.Errorf("%s: got %v", subprotocol, got)
		}
		k.awaitCommit(0, 20)
	}
	m = s.at("/earliest/").member("told by the site", k.query(""), nil)
	if got := m.hears(8); !slices.Equal(got, upTo(0, 12, 20)) {
		t.Errorf("got %v", got)
	}
	k.awaitCommit(0, 20)

	// With `on_gap error` nobody goes on before somebody has moved the group.
	k = gapped()
	for _, subprotocol := range []string{"kafka-json", "kafka-text", "kafka-json"} {
		if code := strict.member("strict", k.query(""), nil, subprotocol).ends(); code != 4000 {
			t.Errorf("%s: closed with %d", subprotocol, code)
		}
		k.awaitMembers(0)
	}
	if at := k.committed()[0]; at != 5 {
		t.Errorf("%d is committed", at)
	}
}
