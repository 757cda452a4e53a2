package kafkaws_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/history"
	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/internal/tcpproxy"
)

// TestRoaming has a client of kafka-json that is cut off 200 times, in every way
// that there is, while 100,000 records are written: connections are reset, nodes
// are killed, stopped, and replaced by others. By its positions alone it has every
// record in the end, once and in order, as a checker of its whole history finds
// that compares it with what an independent consumer reads.
func TestRoaming(t *testing.T) {
	t.Run("records", func(t *testing.T) {
		v := newVoyage(t, kafkatest.Shared(t), nil)
		report := v.run()
		if report.Reads < report.Records {
			t.Errorf("%d reads of %d records", report.Reads, report.Records)
		}
	})
	t.Run("aborted", func(t *testing.T) {
		v := newVoyage(t, kafkatest.Shared(t), nil)
		v.transactional = kafkaClient(t, v.brokers, kgo.TransactionalID(v.topic))
		report := v.run()
		if aborted := report.Records - report.Reads; aborted < v.total/10 {
			t.Errorf("%d records were aborted: the test tests little", aborted)
		}
	})
	t.Run("compacted", func(t *testing.T) {
		broker := kafkatest.Start(t, kafkatest.Property("log.cleaner.backoff.ms", "50"))
		v := newVoyage(t, broker, map[string]string{
			"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "200", "delete.retention.ms": "0",
		})
		v.keys = 40
		report := v.run()
		if gone := v.total - report.Reads; gone < v.total/10 {
			t.Errorf("%d records were compacted away before they were read: the test tests little", gone)
		}
	})
	t.Run("filter", func(t *testing.T) {
		v := newVoyage(t, kafkatest.Shared(t), nil)
		v.filter, v.wants = `record.key.startsWith("even")`, func(n uint32) bool { return strings.HasPrefix(v.key(n), "even") }
		report := v.run()
		if passed := report.Records - report.Reads; passed < v.total/2 {
			t.Errorf("%d records were passed over: the test tests little", passed)
		}
		if v.client.heard["progress"] == 0 {
			t.Error("the client was never told how far it is: the test tests little")
		}
	})
}

// voyage is a client that roams over nodes while records are written.
type voyage struct {
	t           *testing.T
	broker      *kafkatest.Broker
	brokers     string
	topic       string
	partitions  int
	total, cuts int
	random      *rand.Rand

	// transactional, if set, writes a part of the records.
	transactional *kgo.Client
	// keys, if set, is how many different keys the records have.
	keys uint32
	// filter, if set, is the client's, and lets those pass that wants tells.
	filter string
	wants  func(n uint32) bool

	history *history.History
	client  *roamer
	proxy   *tcpproxy.Proxy
	nodes   []*site
	here    int // the node that the client is led to
	did     map[string]int

	mu      sync.Mutex
	moved   *sync.Cond
	goal    []int64 // by partition, behind the last record that the client is to get
	reached []int64
	ends    int // of connections
	written bool
	failed  bool
}

func newVoyage(t *testing.T, broker *kafkatest.Broker, config map[string]string) *voyage {
	const partitions = 8
	v := &voyage{
		t: t, broker: broker, brokers: broker.Addr(), topic: kafkatest.Topic(t), partitions: partitions, total: 100_000, cuts: 200,
		history: history.New(), did: map[string]int{},
		goal: make([]int64, partitions), reached: make([]int64, partitions),
	}
	v.moved = sync.NewCond(&v.mu)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	v.random = rand.New(rand.NewPCG(seed, 0))
	broker.CreateTopic(t, v.topic, partitions, config)
	return v
}

// node starts a node. Some have so little memory that the client reads from Kafka
// most of the time.
func (v *voyage) node() *site {
	directives := open + "drain_timeout 1s\n"
	if len(v.did)%2 == 0 {
		directives += "consumer {\nbuffer 128KiB\nbuffer_total 4MiB\n}"
	}
	v.did["start"]++
	return startSite(v.t, v.brokers, directives)
}

// key is a record's key. Of those with a filter there are long stretches that it
// does not let pass.
func (v *voyage) key(n uint32) string {
	switch {
	case v.keys > 0:
		return fmt.Sprint("key ", n*2654435761%v.keys)
	case n/20_000%2 == 1 || n%5 != 0:
		return fmt.Sprint("odd ", n)
	default:
		return fmt.Sprint("even ", n)
	}
}

func (v *voyage) run() *history.Report {
	t := v.t
	options := history.ReaderOptions{}
	if v.wants != nil {
		options.Wants = func(r history.Record) bool { return v.wants(uint32(r.Value)) }
	}
	v.client = newRoamer(t, v.history, "client", v.topic, options)
	v.client.filter, v.client.exact = v.filter, true
	v.nodes = []*site{v.node(), v.node()}
	v.proxy = tcpproxy.Start(t, v.nodes[0].addr)
	began := time.Now()
	var writing sync.WaitGroup
	w := &voyageWriter{
		voyage: v, plain: kafkaClient(t, v.brokers), padding: strings.Repeat("x", 150),
		steady: v.history.Producer("writer"), fickle: v.history.Producer("transactions"),
		random: rand.New(rand.NewPCG(v.random.Uint64(), 1)),
	}
	if v.keys > 0 {
		w.compacted()
	}
	writing.Go(w.write)
	defer writing.Wait()
	defer v.stop() // the writer waits for the client

	for !v.arrived() {
		v.leg()
	}
	writing.Wait()
	v.client.read.Finish()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	took := time.Since(began)
	if err := v.history.ReadLog(ctx, []string{v.brokers}, identify, v.topic); err != nil {
		t.Fatal(err)
	}
	report := v.history.Verify(t)
	if len(v.client.gaps) > 0 {
		t.Errorf("the client was told of gaps: %s", mustJSON(v.client.gaps))
	}
	t.Logf("%v, cut off %d times: %d sends, %d records in the log, %d reads in %d sessions; %v; told: %v", took.Round(time.Millisecond), v.ends,
		report.Sends, report.Records, report.Reads, report.Sessions, v.did, v.client.heard)
	return report
}

// leg is one connection: it is cut when so many records have come, and what comes
// after that counts like all else.
func (v *voyage) leg() {
	c := v.client
	here := *v.nodes[v.here]
	here.addr = v.proxy.Addr()
	if err := c.connect(&here, connection{batch: v.random.IntN(2) == 0, frame: v.random.IntN(2) == 0}); err != nil {
		v.failedDials(err)
		return
	}
	records := v.total
	if v.wants != nil {
		records /= 9
	}
	if v.keys > 0 {
		records /= 2
	}
	left := 1 + v.random.IntN(2*records/v.cuts*7/10)
	for !v.arrived() {
		progress := c.heard["progress"]
		n, err := c.take()
		if err != nil {
			break
		}
		v.reach()
		left -= n
		if c.heard["progress"] > progress && left < v.total && v.random.IntN(2) == 0 {
			left = 0 // with nothing but that to go by
		}
		if left <= 0 {
			left = 2 * v.total
			if v.cut() {
				break
			}
		}
	}
	c.lost()
}

// failedDials gives up when the client does not come back in.
func (v *voyage) failedDials(err error) {
	if v.did["refused"]++; v.did["refused"] > v.cuts {
		v.t.Fatalf("the client is not let in: %v", err)
	}
}

// cut ends the connection in one way or another, and reports whether that is the
// client's doing: it then reads no more.
func (v *voyage) cut() bool {
	v.mu.Lock()
	v.ends++
	v.mu.Unlock()
	other := v.nodes[1-v.here]
	switch n := v.random.IntN(100); {
	case n < 3: // the node is killed
		v.did["killed"]++
		v.replace(func(s *site) { _ = s.cmd.Process.Kill() })
	case n < 6: // the node stops, and says so
		v.did["stopped"]++
		v.replace(func(s *site) { s.terminate() })
		return false
	case n < 25:
		v.did["moved"]++
		v.here = 1 - v.here
		v.proxy.SetTarget(other.addr)
		v.proxy.Cut()
	case n < 40:
		v.did["left"]++
		if tcp, ok := v.client.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return true
	default:
		v.did["reset"]++
		v.proxy.Cut()
	}
	return false
}

// replace ends the node and starts another one in its place, on another port.
func (v *voyage) replace(end func(*site)) {
	old := v.here
	gone := v.nodes[old]
	v.here = 1 - old
	v.proxy.SetTarget(v.nodes[v.here].addr)
	end(gone)
	v.nodes[old] = v.node()
}

// reach tells the writer how far the client is.
func (v *voyage) reach() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for p := range v.reached {
		v.reached[p] = v.client.offset(int32(p))
	}
	v.moved.Signal()
}

// stop has the writer wait for nobody any more.
func (v *voyage) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failed = true
	v.moved.Signal()
}

// arrived reports whether the client has everything.
func (v *voyage) arrived() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.failed || v.written && v.behind() == 0
}

// enough reports whether the client was cut off as often as it is to be.
func (v *voyage) enough() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ends >= v.cuts
}

// behind is how many offsets the client is behind. The lock is held.
func (v *voyage) behind() int64 {
	n := int64(0)
	for p, goal := range v.goal {
		n += max(0, goal-v.reached[p])
	}
	return n
}

// voyageWriter writes a voyage's records.
type voyageWriter struct {
	*voyage
	plain          *kgo.Client
	steady, fickle *history.Producer
	padding        string
	random         *rand.Rand
	n              int // records that stay
	lost           int
}

// compacted writes until Kafka has compacted many of the records away.
func (w *voyageWriter) compacted() {
	await(w.t, "compaction", func() bool {
		for first := true; first || w.n < w.total/5; first = false {
			if err := w.batch(); err != nil {
				w.t.Fatalf("writing: %v", err)
			}
		}
		return w.n-len(w.broker.ReadAll(w.t, w.topic)) > w.total/10
	})
}

// write writes the records, now as fast as the client reads them and now far ahead
// of it.
func (w *voyageWriter) write() {
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.written = true
	}()
	lead := int64(0)
	for w.n < w.total || !w.enough() {
		if w.random.IntN(30) == 0 {
			lead = []int64{0, 100, 2000, 20_000}[w.random.IntN(4)]
		}
		w.mu.Lock()
		for w.behind() > lead && !w.failed {
			w.moved.Wait()
		}
		failed := w.failed
		w.mu.Unlock()
		if failed {
			return
		}
		if err := w.batch(); err != nil {
			w.t.Errorf("writing: %v", err)
			w.stop()
			return
		}
	}
}

// batch writes some records, maybe in a transaction, which other records are
// written in the midst of.
func (w *voyageWriter) batch() error {
	random := w.random
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	count := 1 + random.IntN(400)
	if w.transactional == nil || random.IntN(2) == 0 {
		return w.send(ctx, count)
	}
	if err := w.transactional.BeginTransaction(); err != nil {
		return err
	}
	tx := w.fickle.Begin()
	records, sent := w.records(count, 2, tx.Send)
	if err := w.produce(ctx, w.transactional, records, sent); err != nil {
		return err
	}
	if random.IntN(2) == 0 {
		if err := w.send(ctx, 1+random.IntN(20)); err != nil {
			return err
		}
	}
	if random.IntN(2) == 0 {
		if err := w.transactional.EndTransaction(ctx, kgo.TryAbort); err != nil {
			return err
		}
		tx.Aborted()
		w.n -= count
		w.lost += count
		return nil
	}
	if err := w.transactional.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return err
	}
	tx.Committed()
	w.aim(records)
	return nil
}

// send writes records outside of transactions.
func (w *voyageWriter) send(ctx context.Context, count int) error {
	records, sent := w.records(count, 1, w.steady.Send)
	if err := w.produce(ctx, w.plain, records, sent); err != nil {
		return err
	}
	w.aim(records)
	return nil
}

// records makes records for some of the partitions.
func (w *voyageWriter) records(count int, producer uint32, send func(history.Value, string, int32, uint32) history.Sent) ([]*kgo.Record, []history.Sent) {
	var records []*kgo.Record
	var sent []history.Sent
	random := w.random
	first, among := random.IntN(w.partitions), 1+random.IntN(w.partitions)
	for range count {
		n := uint32(w.n + w.lost)
		w.n++
		r := identified(history.ID(producer, n), w.topic, int32((first+random.IntN(among))%w.partitions), w.key(n), w.padding)
		records = append(records, r)
		sent = append(sent, send(history.ID(producer, n), w.topic, r.Partition, history.Sum(r.Key, r.Value)))
	}
	return records, sent
}

func (w *voyageWriter) produce(ctx context.Context, cl *kgo.Client, records []*kgo.Record, sent []history.Sent) error {
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	for i, r := range records {
		sent[i].Acked(r.Partition, r.Offset)
	}
	return nil
}

// aim has the client get as far as these records.
func (w *voyageWriter) aim(records []*kgo.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range records {
		if v, _, _ := identify(r); w.wants == nil || w.wants(uint32(v)) {
			w.goal[r.Partition] = max(w.goal[r.Partition], r.Offset+1)
		}
	}
}
