package kafkaws_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// endless is a server whose response never ends.
func endless(t testing.TB) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(w, "first line")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	return server
}

// TestExit stops a Caddy with nothing else to do.
func TestExit(t *testing.T) {
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	s := startSite(t, broker.Addr(), open)
	all := listenAll(s.dialFleet(100, "topics="+topic))
	writer := s.dial("").publish(topic, "published", time.Millisecond)
	mustHear(t, all, 100)

	stopped := time.Now()
	s.terminate()
	mustEnd(t, append(all, writer.listener), 1001)
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Fatal("caddy did not stop")
	}
	took := time.Since(stopped)
	t.Logf("caddy stopped after %v", took)
	// It has nothing to wait for but a hundred sessions at its own pace.
	if took > 8*time.Second {
		t.Errorf("caddy took %v to stop", took)
	}
	writer.finish()
	found := written(t, broker.ReadAll(t, topic))["published"]
	if found == 0 || found > int(writer.sent.Load()) {
		t.Errorf("%d records are in kafka, %d were sent", found, writer.sent.Load())
	}
	for _, l := range all {
		if n := l.hasHeard("published"); n > found {
			t.Errorf("a client heard %d records, %d are in kafka", n, found)
		}
	}
}

// TestExitBesideAnEndlessResponse stops a Caddy that has, as is its default, all
// the time in the world for another handler's response, so that its own
// shutdown comes to no end; while Kafka hangs.
func TestExitBesideAnEndlessResponse(t *testing.T) {
	const (
		burst = 200 // fewer than max_in_flight
		drain = 10 * time.Second
	)
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	s := startSite(t, broker.Addr(), open)
	other := endless(t)
	if err := s.reload(withRoute(siteConfig(s.addr, broker.Addr(), open), "reverse_proxy /endless "+other.URL+" {\nflush_interval -1\n}")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + s.addr + "/endless")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	subscribers := listenAll(s.dialFleet(100, "topics="+topic))
	writers := s.dialFleet(5, "")
	// The producer is up, so that the burst below is its business alone.
	writers[0].send(message(topic, "", numbered("warm", 0, "")))
	mustHear(t, subscribers, 1)

	resume := hang(t, broker)
	for i, c := range listenAll(writers) {
		for n := range burst {
			c.send(message(topic, "", numbered(fmt.Sprint(i), n, "")))
		}
		c.roundTrip()
	}
	stopping := time.Now()
	s.terminate()
	mustEnd(t, subscribers, 1001)
	if took := time.Since(stopping); took > drain {
		t.Errorf("subscribers were told after %v", took)
	}
	resume()
	promised := streams{"warm": 1}
	for i := range writers {
		promised[fmt.Sprint(i)] = burst
	}
	waitFor(t, "what was read of clients is in kafka", func() bool {
		return fmt.Sprint(written(t, broker.ReadAll(t, topic))) == fmt.Sprint(promised)
	})
	waitFor(t, "the sessions are gone", func() bool { return s.endings()[1001] == len(subscribers)+len(writers) })
	took := time.Since(stopping)
	t.Logf("the sessions were gone after %v", took)
	if took > drain+patience/3 {
		t.Errorf("the sessions were gone after %v", took)
	}
	if !s.running() {
		t.Error("caddy did not wait for the endless response: this test shows nothing")
	}
	_ = resp.Body.Close()
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Error("caddy did not stop after the last response had ended")
	}
}

// TestExitWhileKafkaHangs stops a Caddy whose records Kafka does not answer for,
// and one of whose clients reads nothing.
func TestExitWhileKafkaHangs(t *testing.T) {
	const drain = 3 * time.Second
	broker := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	s := startSite(t, broker.Addr(), open+"drain_timeout 3s")
	subscribers, writers := s.unanswered(broker, topic)
	stopping := time.Now()
	s.terminate()
	mustEnd(t, subscribers, 1001)
	// What became of their records is not known.
	mustEnd(t, writers, 4001)
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Fatal("caddy did not stop")
	}
	took := time.Since(stopping)
	t.Logf("caddy stopped after %v", took)
	if took > drain+patience/3 {
		t.Errorf("caddy took %v to stop", took)
	}
}

// hang stops a broker from answering until the test ends, or what it returns is
// called.
func hang(t testing.TB, broker *kafkatest.Broker) (resume func()) {
	t.Helper()
	broker.Pause(t)
	var once sync.Once
	resume = func() { once.Do(func() { broker.Resume(t) }) }
	t.Cleanup(resume)
	return resume
}

// TestExitRefusesUpgrades has Caddy listen on while it stops, as it does behind
// a load balancer.
func TestExitRefusesUpgrades(t *testing.T) {
	broker := kafkatest.Shared(t)
	addr := freeAddr(t)
	config := "{\n\tadmin ADMIN\n\tauto_https off\n\tshutdown_delay 5s\n}\n" + siteConfig(addr, broker.Addr(), open)[len(global):]
	s := &site{caddyProcess: startCaddy(t, config), addr: addr, path: brokerPath}
	before := s.dial("").listen()
	s.terminate()
	mustEnd(t, []*listener{before}, 1001)
	status, header := s.refused("", nil)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("refused with %d and Retry-After %q, want 503", status, header.Get("Retry-After"))
	}
}

// TestExitDuringADrain stops a Caddy whose sessions still have time from a reload:
// each is told, and the process does not wait for that time.
func TestExitDuringADrain(t *testing.T) {
	broker := kafkatest.Shared(t)
	s := startSite(t, broker.Addr(), open+"drain_timeout 60s\n")
	clients := make([]*client, 50)
	for i := range clients {
		clients[i] = s.dial("")
	}
	if err := s.reload(siteConfig(s.addr, broker.Addr(), open+"drain_timeout 60s\nmax_topics 5\n")); err != nil {
		t.Fatal(err)
	}
	s.terminate()
	told := map[int]int{}
	for _, c := range clients {
		code, _ := c.closed()
		told[code]++
	}
	if told[1001] == 0 || told[1001]+told[1012] != len(clients) {
		t.Errorf("sessions ended with %v", told)
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Error("caddy did not stop")
	}
}

// unanswered has clients publish to a Kafka that then hangs: each writer has one
// record that Kafka has, and one that it does not answer for.
func (s *site) unanswered(broker *kafkatest.Broker, topic string) (subscribers, writers []*listener) {
	s.t.Helper()
	subscribers = listenAll(s.dialFleet(20, "topics="+topic))
	for i, c := range s.dialFleet(20, "") {
		c.send(message(topic, "", numbered(fmt.Sprint(i), 0, "")))
		writers = append(writers, c.listen())
	}
	mustHear(s.t, subscribers, len(writers))
	hang(s.t, broker)
	for i, w := range writers {
		w.send(message(topic, "", numbered(fmt.Sprint(i), 1, "")))
		w.roundTrip()
	}
	return subscribers, writers
}
