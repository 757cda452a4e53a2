package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something that must happen.
const patience = time.Minute

// fakeSource is a Kafka whose topics are fed by the test.
type fakeSource struct {
	mu      sync.Mutex
	sinks   map[string]record.Sink
	stopped chan string
	// silent topics never start, as when no broker answers.
	silent map[string]bool
	// missing, if set, tells which topics do not exist.
	missing func(topic string) bool
	// stored is what Fetch finds of a topic that was there before, by
	// partition, and fed what was delivered of each.
	stored  map[int32][]string
	fed     map[string]map[int32][]record.Record
	fetched []record.Batch // all that Fetch has returned
	// partitions is how many a topic has, 1 where it is 0.
	partitions int32
	resume     chan string
	// unreachable is what Unreachable returns, and gone tells that the brokers
	// know no topic any more.
	unreachable time.Time
	gone        bool
}

func newFakeSource() *fakeSource {
	return &fakeSource{
		sinks: map[string]record.Sink{}, fed: map[string]map[int32][]record.Record{}, silent: map[string]bool{},
		stopped: make(chan string, 2000), resume: make(chan string, 100),
	}
}

func (f *fakeSource) Read(topic string, sink record.Sink) record.Reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sinks[topic] != nil {
		panic("topic read twice: " + topic)
	}
	f.sinks[topic] = sink
	switch {
	case f.missing != nil && f.missing(topic):
		sink.Missing()
	case !f.silent[topic]:
		next := map[int32]int64{0: 0}
		for p := range f.partitions {
			next[p] = 0
		}
		for p, values := range f.stored {
			next[p] = int64(len(values))
		}
		sink.Started(record.Started{Next: next})
	}
	return &fakeReading{f, topic}
}

// Offsets knows the first offsets, and those behind the last that was delivered.
func (f *fakeSource) Offsets(_ context.Context, topic string, at record.Point) (map[int32]int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	offsets := map[int32]int64{}
	for p := range f.stored {
		offsets[p] = 0
	}
	for p, records := range f.fed[topic] {
		offsets[p] = 0
		if n := len(records); n > 0 && at == record.PointLatest {
			offsets[p] = records[n-1].Offset + 1
		}
	}
	return offsets, nil
}

// Fetch returns up to three of the stored records, or of those that were fed.
func (f *fakeSource) Fetch(_ context.Context, topic string, p int32, offset int64) (record.Batch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := record.Batch{Partition: p, Next: offset}
	defer func() { f.fetched = append(f.fetched, b) }()
	if int(offset) >= len(f.stored[p]) {
		for _, r := range f.fed[topic][p] {
			if r.Offset >= offset && len(b.Records) < 3 {
				b.Records = append(b.Records, r)
				b.Next = r.Offset + 1
			}
		}
		return b, nil
	}
	for _, v := range f.stored[p][offset:min(int(offset)+3, len(f.stored[p]))] {
		b.Records = append(b.Records, record.Record{Topic: topic, Partition: p, Offset: b.Next, Value: []byte(v)})
		b.Next++
	}
	return b, nil
}

func (f *fakeSource) Describe(context.Context, string, time.Duration) (record.Topic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return record.Topic{}, record.ErrUnknownTopic
	}
	return record.Topic{}, nil
}

func (f *fakeSource) Verify(_ context.Context, _ string, _ int32, offset int64, _ int32) (int64, error) {
	return offset, nil
}

func (f *fakeSource) Unreachable() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unreachable
}

func (f *fakeSource) Exists(context.Context, string) error { return nil }

func (f *fakeSource) sink(topic string) record.Sink {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sinks[topic]
}

// feed delivers values as records of a partition, from an offset on.
func (f *fakeSource) feed(topic string, partition int32, first int64, values ...string) {
	b := record.Batch{Partition: partition, Next: first + int64(len(values))}
	for i, v := range values {
		b.Records = append(b.Records, record.Record{Topic: topic, Partition: partition, Offset: first + int64(i), Value: []byte(v)})
	}
	f.deliver(topic, b)
}

// deliver delivers a batch, which Fetch finds from then on.
func (f *fakeSource) deliver(topic string, b record.Batch) {
	f.mu.Lock()
	if f.fed[topic] == nil {
		f.fed[topic] = map[int32][]record.Record{}
	}
	f.fed[topic][b.Partition] = append(f.fed[topic][b.Partition], b.Records...)
	f.mu.Unlock()
	f.sink(topic).Deliver(b)
}

type fakeReading struct {
	source *fakeSource
	topic  string
}

func (r *fakeReading) Resume() { r.source.resume <- r.topic }

func (r *fakeReading) Stop() {
	r.source.mu.Lock()
	delete(r.source.sinks, r.topic)
	r.source.mu.Unlock()
	r.source.stopped <- r.topic
}

// fakeProducer answers as its test says.
type fakeProducer struct {
	publish func(r *record.Record, done func(record.Outcome)) error
}

func (p *fakeProducer) Publish(_ context.Context, r *record.Record, done func(record.Outcome)) error {
	return p.publish(r, done)
}

// rawCodec sends values as they are, and publishes messages "topic value".
type rawCodec struct{ binary bool }

func (c rawCodec) Binary() bool { return c.binary }

func (c rawCodec) Append(dst []byte, r *record.Record) ([]byte, error) {
	if string(r.Value) == "unencodable" {
		return nil, fmt.Errorf("refusing")
	}
	return append(dst, r.Value...), nil
}

func (c rawCodec) Decode(r *record.Record, _ bool, message []byte) (bool, error) {
	if len(message) == 0 {
		return false, nil
	}
	topic, value, ok := bytes.Cut(message, []byte(" "))
	if !ok {
		return false, fmt.Errorf("no topic")
	}
	*r = record.Record{Topic: string(topic), Partition: record.AnyPartition, Value: value}
	return true, nil
}

// rig is a gateway on a TCP port.
type rig struct {
	t        *testing.T
	source   *fakeSource
	producer *fakeProducer
	hub      *Hub
	pool     *Pool
	server   *httptest.Server
	ended    chan int
	encoding *Encoding
	// encodings are others, which clients ask for by name.
	encodings map[string]*Encoding
	// chain is what clients' records pass.
	chain   *Chain
	deflate Deflate
	// talk, if set, is what clients talk with.
	talk Talk
	// group, if set, is what clients are members of.
	group *Group
}

func newRig(t *testing.T, configure func(*HubConfig, *PoolConfig)) *rig {
	r := &rig{
		t: t, source: newFakeSource(), ended: make(chan int, 10000),
		producer: &fakeProducer{func(_ *record.Record, done func(record.Outcome)) error {
			go done(record.Outcome{})
			return nil
		}},
		encoding: &Encoding{ID: "raw", Codec: rawCodec{}},
	}
	hubCfg := HubConfig{Source: r.source, KeepReading: time.Hour, Buffer: 8 << 20, BufferTotal: 256 << 20}
	poolCfg := PoolConfig{
		Producer: r.producer, MaxMessageSize: 1 << 20, MaxInFlight: 256,
		PingInterval: time.Hour, WriteTimeout: patience, Logger: zap.NewNop(),
		Ended: func(code int) { r.ended <- code },
	}
	if configure != nil {
		configure(&hubCfg, &poolCfg)
	}
	r.hub = NewHub(hubCfg)
	poolCfg.Hub = r.hub
	r.pool = NewPool(poolCfg)
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(func() {
		r.pool.Close()
		<-r.pool.Done()
		r.hub.Close()
		r.server.Close()
	})
	return r
}

func (r *rig) serve(w http.ResponseWriter, req *http.Request) {
	var topics []string
	if v := req.URL.Query().Get("topics"); v != "" {
		topics = strings.Split(v, ",")
	}
	encoding := r.encoding
	if other := r.encodings[req.URL.Query().Get("encoding")]; other != nil {
		encoding = other
	}
	if r.deflate.On {
		encoding = &Encoding{Chain: encoding.Chain, ID: encoding.ID, Codec: encoding.Codec, Deflate: r.deflate}
	}
	s, err := r.pool.Open(req.Context(), SessionConfig{
		Encoding: encoding, Topics: topics, Start: startOf(req.URL.Query()),
		Chain: r.chain, Talk: r.talk, Group: r.group,
		MayPublish: func(topic string) bool { return topic != "forbidden" },
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	up := websocket.Upgrader{EnableCompression: r.deflate.On}
	shake := &rigHandshake{ResponseWriter: w}
	shake.conn, shake.rw = s.Conn(func(response []byte) (net.Conn, []byte, error) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, err = conn.Write(response)
		}
		return conn, nil, err
	})
	ws, err := up.Upgrade(shake, req, nil)
	if err != nil {
		r.t.Error(err)
		s.Abort()
		return
	}
	s.Serve(ws)
}

type rigHandshake struct {
	http.ResponseWriter
	conn net.Conn
	rw   *bufio.ReadWriter
}

func (h *rigHandshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, h.rw, nil
}

// dial connects a client that follows topics.
func (r *rig) dial(topics ...string) *websocket.Conn {
	r.t.Helper()
	d := websocket.Dialer{EnableCompression: r.deflate.On}
	ws, resp, err := d.Dial("ws"+strings.TrimPrefix(r.server.URL, "http")+"/?topics="+strings.ReplaceAll(strings.Join(topics, ","), ",&", "&"), nil)
	if err != nil {
		r.t.Fatalf("dialling: %v (%+v)", err, resp)
	}
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { ws.Close() })
	return ws
}

// read returns the next message.
func read(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	_, p, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// readClose reads on until the connection ends and returns its close code.
func readClose(t *testing.T, ws *websocket.Conn) (int, string) {
	t.Helper()
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			ce, ok := err.(*websocket.CloseError)
			if !ok {
				t.Fatalf("no close frame: %v", err)
			}
			return ce.Code, ce.Text
		}
	}
}

func (r *rig) awaitEnd() int {
	r.t.Helper()
	select {
	case code := <-r.ended:
		return code
	case <-time.After(patience):
		r.t.Fatal("the session did not end")
		return 0
	}
}

func numbered(n int, size int) []string {
	out := make([]string, n)
	pad := strings.Repeat("x", size)
	for i := range out {
		p, _ := json.Marshal(map[string]any{"i": i, "pad": pad})
		out[i] = string(p)
	}
	return out
}

// fed returns how many records of a partition were delivered.
func (r *rig) fed(topic string, partition int32) int {
	r.source.mu.Lock()
	defer r.source.mu.Unlock()
	return len(r.source.fed[topic][partition])
}

// startOf reads where a client of the rig begins.
func startOf(query url.Values) record.Start {
	if query.Has("earliest") {
		return record.Start{Kind: record.StartEarliest}
	}
	start, err := record.ParseStart(query.Get("from"), query.Get("last"))
	if err != nil {
		panic(err)
	}
	return start
}
