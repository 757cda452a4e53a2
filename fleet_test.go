package kafkaws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What the tests of endurance have in common: many clients, and records in
// numbered streams. A record's value is "<stream>/<number>/<padding>", with
// numbers from 0 in each stream, so that whoever hears the records can tell
// whether one is missing, doubled or out of order.

// dialFleet connects n clients, a few at a time.
func (s *site) dialFleet(n int, query string) []*client {
	s.t.Helper()
	clients := make([]*client, n)
	errs := make([]error, n)
	var dialers sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		dialers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				clients[i], _, errs[i] = s.tryDial(query, nil)
			}
		})
	}
	dialers.Wait()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatalf("dialling %d clients: %v", n, err)
	}
	return clients
}

// numbered makes the value of a stream's record.
func numbered(stream string, n int, padding string) string {
	return stream + "/" + strconv.Itoa(n) + "/" + padding
}

// streams holds the number that comes next in each stream.
type streams map[string]int

// take checks that a value is the next of its stream.
func (s streams) take(value []byte) error {
	stream, rest, _ := bytes.Cut(value, []byte("/"))
	number, _, _ := bytes.Cut(rest, []byte("/"))
	n, err := strconv.Atoi(string(number))
	if err != nil {
		return fmt.Errorf("no numbered record: %.100q", value)
	}
	if want := s[string(stream)]; n != want {
		return fmt.Errorf("stream %s: got record %d, want %d", stream, n, want)
	}
	s[string(stream)]++
	return nil
}

// listener is a client whose records are checked as they come.
type listener struct {
	*client
	heard atomic.Int64  // records
	ended chan struct{} // closed when reading has ended
	pongs chan struct{}

	// Set before ended is closed: when and how reading ended, with the code of a
	// Close frame or 0, and what was wrong with a record.
	at    time.Time
	code  int
	err   error
	wrong error

	mu   sync.Mutex
	next streams
}

// listen reads all that comes until the connection ends.
func (c *client) listen() *listener {
	l := &listener{client: c, ended: make(chan struct{}), pongs: make(chan struct{}, 1), next: streams{}}
	_ = c.SetReadDeadline(time.Time{})
	// The library's own handler gives up after a second, which a busy machine
	// may take.
	c.SetPingHandler(func(payload string) error {
		_ = c.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(patience))
		return nil
	})
	c.SetPongHandler(func(string) error {
		l.pongs <- struct{}{}
		return nil
	})
	go func() {
		defer close(l.ended)
		var message bytes.Buffer
		for {
			_, r, err := c.NextReader()
			if err == nil {
				message.Reset()
				_, err = message.ReadFrom(r)
			}
			if err != nil {
				l.at, l.err = time.Now(), err
				var ce *websocket.CloseError
				if errors.As(err, &ce) {
					l.code = ce.Code
				}
				return
			}
			_, value, _ := bytes.Cut(message.Bytes(), []byte(`"message":"`))
			l.mu.Lock()
			err = l.next.take(value)
			l.mu.Unlock()
			if err != nil {
				l.at, l.wrong = time.Now(), err
				return
			}
			l.heard.Add(1)
		}
	}()
	return l
}

// roundTrip sends a ping and waits for its pong: the server has read all that was
// sent before.
func (l *listener) roundTrip() {
	l.t.Helper()
	if err := l.WriteMessage(websocket.PingMessage, nil); err != nil {
		l.t.Fatal(err)
	}
	select {
	case <-l.pongs:
	case <-l.ended:
		l.t.Fatalf("closed with %d before the pong", l.code)
	case <-time.After(patience):
		l.t.Fatal("no pong")
	}
}

// hasHeard returns how many records of a stream came.
func (l *listener) hasHeard(stream string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next[stream]
}

func listenAll(clients []*client) []*listener {
	all := make([]*listener, len(clients))
	for i, c := range clients {
		all[i] = c.listen()
	}
	return all
}

// open reports whether the listener still listens; a record that was wrong ends
// the test.
func (l *listener) open() bool {
	l.t.Helper()
	select {
	case <-l.ended:
		if l.wrong != nil {
			l.t.Fatal(l.wrong)
		}
		return false
	default:
		return true
	}
}

// mustHear waits until all listeners have heard n records, or more.
func mustHear(t testing.TB, all []*listener, n int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d listeners hear %d records", len(all), n), func() bool {
		for _, l := range all {
			if !l.open() {
				t.Fatalf("a session ended after %d records: %v", l.heard.Load(), l.err)
			}
			if l.heard.Load() < int64(n) {
				return false
			}
		}
		return true
	})
}

// mustHearAll waits until all listeners have heard the streams to their end.
func mustHearAll(t testing.TB, all []*listener, ends streams) {
	t.Helper()
	total := 0
	for _, n := range ends {
		total += n
	}
	mustHear(t, all, total)
	for _, l := range all {
		for stream, n := range ends {
			if got := l.hasHeard(stream); got != n {
				t.Fatalf("heard %d records of stream %s, %d were written", got, stream, n)
			}
		}
	}
}

// mustEnd waits until all listeners' connections have ended with a code.
func mustEnd(t testing.TB, all []*listener, code int) {
	t.Helper()
	timeout := time.After(2 * patience)
	for _, l := range all {
		select {
		case <-l.ended:
		case <-timeout:
			t.Fatal("sessions are still open")
		}
		if l.wrong != nil {
			t.Fatal(l.wrong)
		}
		if l.code != code {
			t.Fatalf("a session was closed with %d, want %d", l.code, code)
		}
	}
}

// waitFor is await with more patience, for what takes long on a busy machine.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: did not happen", what)
		case <-tick.C:
		}
	}
}

// feed is a producer of its own that writes one record to each partition of a
// topic, over and over: the streams are named after the partitions.
type feed struct {
	t    testing.TB
	stop context.CancelFunc
	done chan struct{}
	ends streams
	err  error
}

func startFeed(t testing.TB, brokers, topic string, partitions int, every time.Duration) *feed {
	t.Helper()
	cl := kafkaClient(t, brokers)
	ctx, cancel := context.WithCancel(context.Background())
	f := &feed{t: t, stop: cancel, done: make(chan struct{}), ends: streams{}}
	t.Cleanup(func() { cancel(); <-f.done })
	go func() {
		defer close(f.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var records []*kgo.Record
			for p := range partitions {
				stream := strconv.Itoa(p)
				records = append(records, &kgo.Record{Topic: topic, Partition: int32(p), Value: []byte(numbered(stream, n, ""))})
				f.ends[stream]++
			}
			if f.err = cl.ProduceSync(context.Background(), records...).FirstErr(); f.err != nil {
				return
			}
		}
	}()
	return f
}

// end stops writing and returns how many records each stream has.
func (f *feed) end() streams {
	f.t.Helper()
	f.stop()
	<-f.done
	if f.err != nil {
		f.t.Fatalf("feeding: %v", f.err)
	}
	return f.ends
}

// kafkaClient returns a client of Kafka that writes to the partitions that
// records name.
func kafkaClient(t testing.TB, brokers string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DisableClientMetrics(), // requests are counted
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// produce writes records and waits until they are.
func produce(t testing.TB, cl *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("producing: %v", err)
	}
}

// publisher is a client that publishes a numbered stream.
type publisher struct {
	*listener
	stream string
	stop   chan struct{}
	done   chan struct{}
	sent   atomic.Int64 // messages that were given to the socket
}

// publish publishes a stream, all of it to one partition, until finish or until
// the connection breaks.
func (c *client) publish(topic, stream string, every time.Duration) *publisher {
	p := &publisher{listener: c.listen(), stream: stream, stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
			if c.WriteMessage(websocket.TextMessage, []byte(message(topic, stream, numbered(stream, n, "")))) != nil {
				return
			}
			p.sent.Add(1)
		}
	}()
	return p
}

// finish ends the stream and closes the session cleanly.
func (p *publisher) finish() {
	close(p.stop)
	<-p.done
	_ = p.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience))
}

// message is what a client sends to publish a record.
func message(topic, key, value string) string {
	return mustJSON(struct {
		Topic   string `json:"topic"`
		Key     string `json:"key,omitempty"`
		Message string `json:"message"`
	}{topic, key, value})
}

// written checks records as Kafka has them and returns how many each stream has.
func written(t testing.TB, records []*kgo.Record) streams {
	t.Helper()
	found := streams{}
	for _, r := range records {
		if err := found.take(r.Value); err != nil {
			t.Fatalf("in kafka: %v", err)
		}
	}
	return found
}

// endings counts the sessions' ends in the log by code.
func (c *caddyProcess) endings() map[int]int {
	counts := make(map[int]int)
	for line := range strings.Lines(c.Log()) {
		var entry struct {
			Message string `json:"msg"`
			Code    int    `json:"code"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "session ended" {
			counts[entry.Code]++
		}
	}
	return counts
}

// sessions returns how many sessions Caddy's metrics show.
func (c *caddyProcess) sessions() string { return c.metric("caddy_kafka_websocket_sessions") }

var heapFigures = regexp.MustCompile(`(?m)^# (HeapAlloc|Stack) = (\d+)`)

// memory returns the bytes that are in use on Caddy's heap, after a collection,
// and on its stacks.
func (c *caddyProcess) memory() int {
	c.t.Helper()
	total, figures := 0, heapFigures.FindAllStringSubmatch(c.get("/debug/pprof/heap?gc=1&debug=1"), -1)
	if len(figures) != 2 {
		c.t.Fatalf("the heap profile has these figures: %q", figures)
	}
	for _, figure := range figures {
		n, err := strconv.Atoi(figure[2])
		if err != nil {
			c.t.Fatal(err)
		}
		total += n
	}
	return total
}

// resident returns the memory that the system has given to Caddy.
func (c *caddyProcess) resident() int {
	c.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		c.t.Skipf("no /proc: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	c.t.Fatal("no VmRSS")
	return 0
}
