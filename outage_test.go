package kafkaws_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/history"
	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/internal/tcpproxy"
)

// TestOutages has clients publish numbered records and others read them, while the
// only broker is killed and paused and the clients' connections are reset. What was
// acknowledged is in Kafka once, and everybody gets it once and in order. With
// KAFKAWS_SOAK=1 it takes minutes.
func TestOutages(t *testing.T) {
	rounds := 2
	if os.Getenv("KAFKAWS_SOAK") != "" {
		rounds = 20
	}
	const partitions, publishers, readers = 4, 6, 3
	broker := kafkatest.Start(t)
	topic := kafkatest.Topic(t)
	broker.CreateTopic(t, topic, partitions, nil)
	s := startSite(t, broker.Addr(), open)
	proxy := tcpproxy.Start(t, s.addr)
	proxied := *s
	proxied.addr = proxy.Addr()
	h := history.New()

	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	defer proxy.Cut() // so that nobody waits for what does not come
	o := &outage{topic: topic}
	var ways []*numberedPublisher
	for i := range publishers {
		p := newNumberedPublisher(t, o, h, uint32(i+1))
		ways = append(ways, p)
		all.Go(func() { p.run(ctx, &proxied) })
	}
	var ears []*roamer
	for i := range readers {
		r := newRoamer(t, h, fmt.Sprint("reader ", i), topic, history.ReaderOptions{})
		ears = append(ears, r)
		all.Go(func() { o.follow(r, &proxied, i) })
	}
	began := time.Now()
	more := func(what string) {
		t.Helper()
		acked := o.acked.Load()
		waitFor(t, "records are written and read after "+what, func() bool {
			return t.Failed() || o.acked.Load() >= acked+1000 && o.read.Load() >= readers*o.acked.Load()*9/10
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	more("the beginning")
	for range rounds {
		broker.Kill()
		proxy.Cut()
		broker.Restart(t)
		more("the broker was killed")
		proxy.Cut()
		more("connections were reset")
		unreachable := o.unreachable.Load()
		broker.Pause(t)
		waitFor(t, "somebody is told that the broker does not answer", func() bool { return o.unreachable.Load() > unreachable })
		proxy.Cut() // with publishes on their way
		broker.Resume(t)
		more("the broker was paused")
	}
	o.stop.Store(true)
	waitFor(t, "all publishers have their answers", func() bool {
		return t.Failed() || !slices.ContainsFunc(ways, func(p *numberedPublisher) bool { return !p.finished.Load() })
	})
	ends := map[int32]int64{}
	for p := range int32(partitions) {
		ends[p] = broker.End(t, topic, p)
	}
	o.ends.Store(&ends)
	proxy.Cut() // those who have all of it would wait for more
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, r := range ears {
		r.read.Finish()
	}
	reading, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := h.ReadLog(reading, []string{broker.Addr()}, identify, topic); err != nil {
		t.Fatal(err)
	}
	report := h.Verify(t)
	t.Logf("%v: %d acknowledged, %d in the log, %d reads in %d sessions; answers: %d duplicate, %d failed, %d unknown; %d publishers' connections",
		time.Since(began).Round(time.Second), report.Acked, report.Records, report.Reads, report.Sessions,
		o.duplicates.Load(), o.failures.Load(), o.unknowns.Load(), o.connections.Load())
	if o.duplicates.Load() == 0 {
		t.Error("nothing was sent twice: the test tests little")
	}
	// The records of a publisher to one partition stand in its order.
	last := map[[2]uint32]uint32{}
	for _, r := range broker.ReadAll(t, topic) {
		v, _, _ := identify(r)
		of := [2]uint32{uint32(v >> 32), uint32(r.Partition)}
		if before, ok := last[of]; ok && uint32(v) <= before {
			t.Errorf("record %s is behind %d of its publisher in partition %d", v, before, r.Partition)
		}
		last[of] = uint32(v)
	}
}

// outage is what the clients of the test share.
type outage struct {
	topic       string
	stop        atomic.Bool                     // publishers are to end
	ends        atomic.Pointer[map[int32]int64] // where readers are to end
	acked, read atomic.Int64
	unreachable atomic.Int64
	connections atomic.Int64

	duplicates, failures, unknowns atomic.Int64
}

// follow reads until the end of all partitions, over as many connections as it
// takes.
func (o *outage) follow(r *roamer, s *site, n int) {
	done := func() bool {
		ends := o.ends.Load()
		if ends == nil {
			return false
		}
		for p, end := range *ends {
			if r.offset(p) < end {
				return false
			}
		}
		return true
	}
	for !done() && !r.t.Failed() {
		if r.connect(s, connection{batch: n%2 == 0, frame: n > 0}) != nil {
			time.Sleep(50 * time.Millisecond) // Kafka may be away
			continue
		}
		for !done() {
			n, err := r.take()
			if err != nil {
				break
			}
			o.read.Add(int64(n))
			o.unreachable.Add(int64(r.heard["unreachable"]))
			delete(r.heard, "unreachable")
		}
		r.lost()
	}
}

// numberedPublisher is a client that publishes numbered records, and sends those
// again whose fate it does not know.
type numberedPublisher struct {
	*outage
	t      testing.TB
	id     uint32
	to     *history.Producer
	secret string
	random *rand.Rand

	next     int
	open     map[int]*openPublish // without an answer, by sequence
	finished atomic.Bool
}

type openPublish struct {
	frame []byte
	send  func() history.Sent
	sent  history.Sent
}

func newNumberedPublisher(t testing.TB, o *outage, h *history.History, id uint32) *numberedPublisher {
	return &numberedPublisher{
		outage: o, t: t, id: id, to: h.Producer(fmt.Sprint("publisher ", id)),
		random: rand.New(rand.NewPCG(uint64(id), 0)), open: map[int]*openPublish{},
	}
}

// window is how many records a publisher has on their way at a time.
const window = 20

func (p *numberedPublisher) run(ctx context.Context, s *site) {
	for !p.finished.Load() && ctx.Err() == nil && !p.t.Failed() {
		c, _, err := s.tryDial("", nil, "kafka-json")
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		p.connections.Add(1)
		_ = p.session(c)
		_ = c.Close()
	}
}

// session publishes until the connection ends, or all is done.
func (p *numberedPublisher) session(c *client) error {
	if err := p.greet(c); err != nil {
		return err
	}
	// What has no answer goes first, in its order.
	for _, n := range slices.Sorted(maps.Keys(p.open)) {
		if err := c.WriteMessage(websocket.TextMessage, p.open[n].frame); err != nil {
			return err
		}
	}
	for {
		for len(p.open) < window && !p.stop.Load() {
			if err := p.publish(c); err != nil {
				return err
			}
		}
		if len(p.open) == 0 {
			p.finished.Store(true)
			return nil
		}
		if err := p.answer(c); err != nil {
			return err
		}
	}
}

// greet shows that it is the same client as before.
func (p *numberedPublisher) greet(c *client) error {
	f, err := p.frame(c)
	if err != nil {
		return err
	}
	if f.Type != "welcome" || f.ProducerSecret == "" {
		p.t.Errorf("the first frame is %s", mustJSON(f))
	}
	if p.secret == "" {
		p.secret = f.ProducerSecret
		return nil
	}
	return c.WriteMessage(websocket.TextMessage, []byte(mustJSON(map[string]any{"type": "resume", "id": -1, "producer_secret": p.secret})))
}

func (p *numberedPublisher) frame(c *client) (*jsonFrame, error) {
	_ = c.SetReadDeadline(time.Now().Add(2 * patience)) // publish_timeout
	_, message, err := c.ReadMessage()
	if err != nil {
		return nil, err
	}
	all, err := frames(message)
	if err != nil {
		p.t.Error(err)
		return nil, err
	}
	return &all[0], nil
}

func (p *numberedPublisher) publish(c *client) error {
	n := p.next
	p.next++
	v := history.ID(p.id, uint32(n))
	key, value := fmt.Sprint("key ", p.random.IntN(50)), v.String()+" published"
	x := &openPublish{frame: []byte(mustJSON(map[string]any{
		"type": "publish", "id": n, "topic": p.topic, "key": key, "value": value,
		"producer": fmt.Sprint("publisher ", p.id), "sequence": n,
	}))}
	x.send = func() history.Sent {
		return p.to.Send(v, p.topic, -1, history.Sum([]byte(key), []byte(value)))
	}
	x.sent = x.send()
	p.open[n] = x
	return c.WriteMessage(websocket.TextMessage, x.frame)
}

// answer takes one answer.
func (p *numberedPublisher) answer(c *client) error {
	f, err := p.frame(c)
	if err != nil {
		return err
	}
	switch f.Type {
	case "resumed", "status", "retry_after":
		return nil
	case "published", "error":
	default:
		p.t.Errorf("publisher %d got %s", p.id, mustJSON(f))
		return nil
	}
	if f.ID == nil || p.open[*f.ID] == nil {
		p.t.Errorf("an answer to nothing: %s", mustJSON(f))
		return nil
	}
	x := p.open[*f.ID]
	if f.Duplicate {
		p.duplicates.Add(1)
	}
	switch {
	case f.Type == "published":
		partition, offset := int32(-1), int64(-1)
		if f.Partition != nil && f.Offset != nil {
			partition, offset = *f.Partition, *f.Offset
		}
		x.sent.Acked(partition, offset)
		p.acked.Add(1)
	case f.Outcome == "unknown" && f.Code == "unknown_outcome":
		p.unknowns.Add(1)
	case f.Outcome == "failed" && f.Code == "unavailable":
		p.failures.Add(1)
		x.sent.Failed()
	default:
		p.t.Errorf("publisher %d got %s", p.id, mustJSON(f))
	}
	delete(p.open, *f.ID)
	return nil
}
