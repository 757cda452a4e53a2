package kafkaws_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// withRoute adds a route to a site's configuration.
func withRoute(config, route string) string {
	end := strings.LastIndex(config, "}")
	return config[:end] + route + "\n}\n"
}

func TestReloadKeepsSessions(t *testing.T) {
	const (
		sessions   = 100
		partitions = 4
	)
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, partitions, nil)
	s := startSite(t, broker.Addr(), open)
	config := siteConfig(s.addr, broker.Addr(), open)

	all := listenAll(s.dialFleet(sessions, "topics="+topic))
	writer := s.dial("").publish(topic, "published", 5*time.Millisecond)
	records := startFeed(t, broker.Addr(), topic, partitions, 10*time.Millisecond)
	mustHear(t, all, 100)
	moving := func() {
		t.Helper()
		mustHear(t, all, int(all[0].heard.Load())+100)
	}

	for i := range 3 {
		if err := s.reload(withRoute(config, fmt.Sprintf("respond /version %d", i))); err != nil {
			t.Fatal(err)
		}
		moving()
	}

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for what, bad := range map[string]string{
		"a handler that cannot be provisioned": withRoute(config, "basic_auth /secret {\nuser not-a-hash\n}"),
		"a listener that cannot be opened":     config + fmt.Sprintf("http://%s {\nrespond no\n}\n", taken.Addr()),
		// The sessions' own handler is another one then, and is loaded first.
		"a changed handler and one that cannot be provisioned": withRoute(siteConfig(s.addr, broker.Addr(), open+"max_topics 9"), "basic_auth /secret {\nuser not-a-hash\n}"),
	} {
		if s.reload(bad) == nil {
			t.Fatalf("%s was loaded", what)
		}
		moving()
	}

	// One of the sessions that were there before publishes still.
	if !writer.open() {
		t.Fatalf("the publisher was closed with %d", writer.code)
	}
	writer.finish()
	ends := records.end()
	ends["published"] = int(writer.sent.Load())
	mustHearAll(t, all, ends)
	if found := written(t, broker.ReadAll(t, topic)); fmt.Sprint(found) != fmt.Sprint(ends) {
		t.Errorf("kafka has    %v\nit should have %v", found, ends)
	}
}

func TestReloadEndsSessions(t *testing.T) {
	const sessions = 100
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	const drain = open + "drain_timeout 2s\n"
	s := startSite(t, broker.Addr(), drain)
	for _, step := range []struct{ name, config string }{
		{"changed", siteConfig(s.addr, broker.Addr(), drain+"max_topics 9")},
		{"on_reload drain", siteConfig(s.addr, broker.Addr(), drain+"on_reload drain")},
		{"the same with on_reload drain", siteConfig(s.addr, broker.Addr(), drain+"on_reload drain")},
		{"removed", global + "http://" + s.addr + " {\nrespond gone\n}\n"},
	} {
		all := listenAll(s.dialFleet(sessions, "topics="+topic))
		if err := s.reload(step.config); err != nil {
			t.Fatal(err)
		}
		reloaded := time.Now()
		mustEnd(t, all, 1012)
		var times []time.Time
		for _, l := range all {
			times = append(times, l.at)
		}
		slices.SortFunc(times, time.Time.Compare)
		t.Logf("%s: closed from %v to %v after the reload", step.name, times[0].Sub(reloaded), times[sessions-1].Sub(reloaded))
		// Of a hundred instants in two seconds, eighty are as good as never
		// within a fifth of them.
		if middle := times[sessions*9/10].Sub(times[sessions/10]); middle < 400*time.Millisecond {
			t.Errorf("%s: most sessions were closed within %v", step.name, middle)
		}
		if step.name == "removed" {
			break
		}
		// Whoever comes back is served.
		_ = s.dial("topics=" + topic).Close()
	}
}

// TestReloadWhileKafkaHangs changes a handler whose records Kafka has not
// answered for.
func TestReloadWhileKafkaHangs(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	const drain = open + "drain_timeout 2s\n"
	s := startSite(t, broker.Addr(), drain)
	subscribers, writers := s.unanswered(broker, topic)
	started := time.Now()
	if err := s.reload(siteConfig(s.addr, broker.Addr(), drain+"max_topics 9")); err != nil {
		t.Fatal(err)
	}
	took := time.Since(started)
	t.Logf("reloaded in %v", took)
	mustEnd(t, subscribers, 1012)
	mustEnd(t, writers, 4001)
}

// TestReloadLeaksNothing looks at what is left of handlers, sessions, producers
// and clusters.
func TestReloadLeaksNothing(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	addr := freeAddr(t)
	without := global + "http://" + addr + " {\nrespond empty\n}\n"
	with := siteConfig(addr, broker.Addr(), open+"drain_timeout 1s")
	s := &site{caddyProcess: startCaddy(t, without), addr: addr, path: brokerPath}
	load := func(config string) {
		t.Helper()
		if err := s.reload(config); err != nil {
			t.Fatal(err)
		}
	}
	// Something is used once and kept, by Caddy and by the runtime.
	load(without)
	base, baseFiles := goroutines(s, func(int) bool { return true }), s.files()

	// use has sessions that publish and hear.
	published := 0
	use := func() []*listener {
		t.Helper()
		all := listenAll(s.dialFleet(20, "topics="+topic))
		for _, l := range all {
			l.send(message(topic, "", numbered(fmt.Sprint(published), 0, "")))
			published++
		}
		mustHear(t, all, len(all))
		return all
	}
	load(with)
	use()
	serving, servingFiles := goroutines(s, func(int) bool { return true }), s.files()
	for range 3 {
		load(with)
	}
	settle(t, s, "three reloads of the same", serving, servingFiles)
	load(without)
	settle(t, s, "the handler is removed", base, baseFiles)

	// The same when each reload is of another handler.
	for i := range 3 {
		load(siteConfig(addr, broker.Addr(), open+fmt.Sprintf("drain_timeout 1s\nmax_topics %d", i+1)))
		use()
	}
	load(without)
	settle(t, s, "the changed handlers are removed", base, baseFiles)
	t.Logf("%d goroutines and %d files without a handler, %d and %d with 20 sessions", base, baseFiles, serving, servingFiles)
}

// settle waits until Caddy has no more goroutines and files than it had.
func settle(t testing.TB, s *site, after string, goroutines, files int) {
	t.Helper()
	settled := func() bool { return s.goroutines() <= goroutines && s.files() <= files }
	defer func() {
		if !settled() {
			t.Logf("%d goroutines and %d files, there were %d and %d\n%s",
				s.goroutines(), s.files(), goroutines, files, s.get("/debug/pprof/goroutine?debug=1"))
		}
	}()
	await(t, "what is not used is let go of after "+after, settled)
}
