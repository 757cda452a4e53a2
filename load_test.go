package kafkaws_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// startKinds starts one Caddy with a site for each way that records take to a
// socket.
func startKinds(t testing.TB, brokers, directives string) map[string]*site {
	t.Helper()
	kinds := map[string]*site{"plain": {}, "tls": {tls: &tls.Config{InsecureSkipVerify: true}}, "compressed": {deflate: true}}
	config := "{\nadmin ADMIN\nskip_install_trust\nauto_https disable_redirects\n}\n"
	for _, s := range kinds {
		s.addr, s.path = freeAddr(t), brokerPath
		scheme, extra, handler := "http", "", directives
		if s.tls != nil {
			scheme, extra = "https", "tls internal"
		}
		if s.deflate {
			handler += "\ncompression"
		}
		config += fmt.Sprintf("%s://%s {\n%s\n%s}\n", scheme, s.addr, extra, handleBlock(brokerPath, brokers, handler))
	}
	process := startCaddy(t, config)
	for kind, s := range kinds {
		s.caddyProcess = process
		// Certificates are made after the start.
		await(t, kind+" answers", func() bool {
			c, _, err := s.tryDial("", nil)
			return err == nil && c.Close() == nil
		})
	}
	return kinds
}

func TestNothingIsLostUnderLoad(t *testing.T) {
	const partitions = 4
	broker := kafkatest.Shared(t)
	// The clients' machine is the server's, and may be too busy for a pong.
	kinds := startKinds(t, broker.Addr(), open+"ping_interval 10m\nwrite_timeout 10m")
	for _, test := range []struct {
		kind                 string
		subscribers, records int
	}{
		{"plain", 200, 5000},
		{"tls", 50, 5000},
		{"compressed", 20, 2000},
	} {
		t.Run(test.kind, func(t *testing.T) {
			s := kinds[test.kind].with(t)
			topic := kafkatest.Topic(t)
			broker.CreateTopic(t, topic, partitions, nil)
			all := listenAll(s.dialFleet(test.subscribers, "topics="+topic))

			var batch []*kgo.Record
			ends := streams{}
			padding := strings.Repeat("x", 200)
			for n := range test.records {
				partition := n % partitions
				stream := fmt.Sprint(partition)
				batch = append(batch, &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte(numbered(stream, ends[stream], padding))})
				ends[stream]++
			}
			started := time.Now()
			produce(t, kafkaClient(t, broker.Addr()), batch...)
			mustHearAll(t, all, ends)
			frames, took := test.subscribers*test.records, time.Since(started)
			t.Logf("%d frames in %v: %.0f a second", frames, took, float64(frames)/took.Seconds())
			if held := s.metric("caddy_kafka_websocket_buffered_bytes"); held == "" || held == "0" {
				t.Errorf("%q bytes are held after records went through", held)
			}
		})
	}
}

// watchedKafka is a Kafka in the test's process that counts what is asked of it.
type watchedKafka struct {
	*kfake.Cluster
	connections atomic.Int64 // ever accepted
	requests    [256]atomic.Int64
}

func watchKafka(t testing.TB, opts ...kfake.Opt) *watchedKafka {
	t.Helper()
	w := new(watchedKafka)
	cluster, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return &countingListener{l, &w.connections}, err
	}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	w.Cluster = cluster
	cluster.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		w.requests[r.Key()].Add(1)
		return nil, nil, false
	})
	return w
}

type countingListener struct {
	net.Listener
	accepted *atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

// counts returns how often each kind of request came.
func (w *watchedKafka) counts() map[string]int64 {
	counts := make(map[string]int64)
	for key := range w.requests {
		if n := w.requests[key].Load(); n > 0 {
			counts[kmsg.NameForKey(int16(key))] = n
		}
	}
	return counts
}

func TestThousandSessionsCostKafkaWhatOneDoes(t *testing.T) {
	const (
		more    = 1000
		records = 20
		topic   = "shared"
		// What may come in any case: a fetch that found nothing is asked again
		// after half a second, and the topic's metadata after half a minute.
		fetchEvery    = 500 * time.Millisecond
		metadataEvery = 30 * time.Second
	)
	kafka := watchKafka(t, kfake.SeedTopics(4, topic))
	brokers := kafka.ListenAddrs()[0]
	s := startSite(t, brokers, open)
	writer := kafkaClient(t, brokers)
	first := s.dial("topics=" + topic).listen()
	sent := 0
	write := func(all []*listener) {
		t.Helper()
		produce(t, writer, &kgo.Record{Topic: topic, Partition: 0, Value: []byte(numbered("0", sent, ""))})
		sent++
		mustHear(t, all, sent)
	}
	write([]*listener{first}) // all connections are made by now

	// cost does something and checks what it cost Kafka, given how many records
	// were written.
	cost := func(what string, records int64, do func()) {
		t.Helper()
		connections, before, started := kafka.connections.Load(), kafka.counts(), time.Now()
		do()
		took := time.Since(started)
		if n := kafka.connections.Load() - connections; n > 0 {
			t.Errorf("%s: %d more connections", what, n)
		}
		for name, n := range kafka.counts() {
			n -= before[name]
			allowed := map[string]int64{
				"Fetch":    records + int64(took/fetchEvery) + 2,
				"Metadata": int64(took/metadataEvery) + 1,
				"Produce":  records, // the test's own
			}[name]
			if n > allowed {
				t.Errorf("%s: %d %s requests in %v, allowed are %d", what, n, name, took, allowed)
			}
			if n > 0 {
				t.Logf("%s: %d %s requests in %v", what, n, name, took)
			}
		}
	}
	cost("one session", records, func() {
		for range records {
			write([]*listener{first})
		}
	})
	// Those that come later hear the stream from here on.
	idle := goroutines(s, func(n int) bool { return true })
	var all []*listener
	cost("connecting a thousand", 0, func() {
		for _, c := range s.dialFleet(more, "topics="+topic) {
			l := c.listen()
			l.mu.Lock()
			l.next["0"] = sent
			l.mu.Unlock()
			l.heard.Store(int64(sent))
			all = append(all, l)
		}
	})
	// Those that only looked things up for the first session may end meanwhile.
	few := func(n int) bool { return n <= idle+more }
	goroutines(s, few)
	all = append(all, first)
	cost("a thousand sessions", records, func() {
		for range records {
			write(all)
		}
	})
	goroutines(s, few)
}

// goroutines waits until the number of Caddy's goroutines has been the same for a
// while, and is as wanted, and returns it.
func goroutines(s *site, wanted func(int) bool) int {
	s.t.Helper()
	last, same := 0, 0
	waitFor(s.t, "the number of goroutines settles", func() bool {
		n := s.goroutines()
		if n != last {
			last, same = n, 0
		}
		same++
		return same >= 5 && wanted(n)
	})
	return last
}

func TestClientsThatReadNothing(t *testing.T) {
	broker := kafkatest.Shared(t)
	kinds := startKinds(t, broker.Addr(), open+"slow_client disconnect\nconsumer {\nbuffer 4MiB\n}")
	// TLS has buffers of its own.
	for kind, each := range map[string]int{"plain": 40 << 10, "tls": 80 << 10} {
		t.Run(kind, func(t *testing.T) { testClientsThatReadNothing(t, kinds[kind].with(t), broker, 4<<20, each) })
	}
}

// testClientsThatReadNothing has a tail that holds buffer bytes; each client that
// reads nothing may take limit bytes.
func testClientsThatReadNothing(t *testing.T, s *site, broker *kafkatest.Broker, buffer, limit int) {
	const (
		readers = 100
		stalled = 50
		chunk   = 64 << 10 // of records; all readers have read one before the next is written
	)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, 1, nil)
	fallen := s.endings()[4000]
	all := listenAll(s.dialFleet(readers, "topics="+topic))
	for _, c := range s.dialFleet(stalled, "topics="+topic) {
		// Little fits into what the systems hold between the two.
		conn := c.NetConn()
		if over, ok := conn.(*tls.Conn); ok {
			conn = over.NetConn()
		}
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
	}
	writer := kafkaClient(t, broker.Addr())
	padding := strings.Repeat("x", 4<<10)
	sent, bytes := 0, 0
	writeUpTo := func(limit int) {
		t.Helper()
		for bytes < limit {
			var records []*kgo.Record
			for range chunk / len(padding) {
				records = append(records, &kgo.Record{Topic: topic, Partition: 0, Value: []byte(numbered("0", sent, padding))})
				sent++
			}
			bytes += chunk
			produce(t, writer, records...)
			mustHear(t, all, sent)
		}
	}
	// What the tail holds for all of them is no concern here: it has a bound.
	writeUpTo(chunk)
	idle := s.memory() - bytes
	writeUpTo(buffer / 4)
	short := (s.memory() - bytes - idle) / stalled
	writeUpTo(buffer * 3 / 4)
	long := (s.memory() - bytes - idle) / stalled
	if n := s.endings()[4000] - fallen; n > 0 {
		t.Fatalf("%d sessions fell off too soon", n)
	}
	t.Logf("a stalled session: %d bytes after %d bytes of records, %d after %d", short, buffer/4, long, buffer*3/4)
	// 16 KiB of frames, a goroutine and its deadline; and a share of the segment
	// that the tail has begun to fill.
	if short > limit || long > limit {
		t.Errorf("a stalled session holds %d bytes, then %d, want at most %d", short, long, limit)
	}
	writeUpTo(2 * buffer)
	await(t, "the log shows the sessions that fell off", func() bool { return s.endings()[4000]-fallen == stalled })
	// The others have not noticed.
	writeUpTo(2*buffer + chunk)
}
