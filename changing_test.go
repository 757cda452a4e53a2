package kafkaws_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/history"
	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestLogsThatChange has clients follow topics of a cluster whose leaders move and
// fail, and whose topics are cut, made again and extended.
func TestLogsThatChange(t *testing.T) {
	nodes := kafkatest.StartCluster(t, 3)
	brokers := strings.Join(nodes.Addrs(), " ")
	const directives = open + "ping_interval 10m\nwrite_timeout 10m\nconsumer {\nbuffer 256KiB\nbuffer_total 8MiB\n}"
	c := &changing{nodes: nodes, here: startSite(t, brokers, directives), there: startSite(t, brokers, directives)}
	t.Run("truncated", c.testTruncated)
	t.Run("leaders", c.testLeaders)
	t.Run("recreated", c.testRecreated)
	t.Run("partitions", c.testPartitions)
}

// changing is a cluster and the nodes of Caddy before it.
type changing struct {
	nodes       *kafkatest.Cluster
	here, there *site
}

// loggedWriter writes records that a history knows, each acknowledged by its
// partition's leader alone.
type loggedWriter struct {
	*changing
	t     *testing.T
	topic string
	to    *history.Producer
	n     uint32
}

func (c *changing) writer(t *testing.T, h *history.History, topic string) *loggedWriter {
	return &loggedWriter{changing: c, t: t, topic: topic, to: h.Producer("writer")}
}

// write writes records of a size to a partition.
func (w *loggedWriter) write(partition int32, count, size int) {
	w.t.Helper()
	for ; count > 0; count -= 200 {
		w.few(partition, min(count, 200), size)
	}
}

func (w *loggedWriter) few(partition int32, count, size int) {
	w.t.Helper()
	padding := strings.Repeat("x", size)
	var records []*kgo.Record
	var sent []history.Sent
	for range count {
		w.n++
		v := history.ID(1, w.n)
		r := identified(v, w.topic, partition, "k", padding)
		records = append(records, r)
		sent = append(sent, w.to.Send(v, w.topic, partition, history.Sum(r.Key, r.Value)))
	}
	w.nodes.Leader(w.t, w.topic, partition).ProduceLeader(w.t, w.topic, partition, records...)
	for i, r := range records {
		sent[i].Acked(partition, r.Offset)
	}
}

// verify compares what clients read with the log as it is now.
func (c *changing) verify(t *testing.T, h *history.History, topic string, readers ...*roamer) {
	t.Helper()
	for _, r := range readers {
		r.read.Finish()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.ReadLog(ctx, c.nodes.Addrs(), identify, topic); err != nil {
		t.Fatal(err)
	}
	t.Log(h.Verify(t))
}

// roam connects a client of kafka-json.
func (c *changing) roam(t *testing.T, h *history.History, name, topic string, s *site, how connection) *roamer {
	t.Helper()
	r := newRoamer(t, h, name, topic, history.ReaderOptions{})
	r.rejoin(s.with(t), how)
	return r
}

// rejoin connects. A node that has not heard yet that a topic is another one, or
// has another leader, may want the client to come back later.
func (r *roamer) rejoin(s *site, how connection) {
	r.t.Helper()
	waitFor(r.t, "a client is let in", func() bool { return r.connect(s.with(r.t), how) == nil })
}

// cutTo checks that the client was told once that the log was cut.
func (r *roamer) cutTo(name string, from, to int64) {
	r.t.Helper()
	if len(r.gaps) != 1 {
		r.t.Errorf("%s was told of these gaps: %s", name, mustJSON(r.gaps))
		return
	}
	g := r.gaps[0]
	if g.Reason != "truncated" || g.Topic != r.topic || *g.Partition != 0 || from >= 0 && g.From != from || g.To != to || g.To >= g.From {
		r.t.Errorf("%s was told %s, want a cut from %d to %d", name, mustJSON(g), from, to)
	}
}

// testTruncated: an unclean election loses records that clients have read. Those
// who have a record that is gone are told, and read what is in its place; the older
// subprotocols, which cannot tell, are closed.
func (c *changing) testTruncated(t *testing.T) {
	const kept, lost, small, large = 700, 700, 500, 16 << 10
	topic := kafkatest.Topic(t)
	c.nodes.CreateTopic(t, topic, 1, 2, map[string]string{"min.insync.replicas": "1", "unclean.leader.election.enable": "false"})
	h := history.New()
	w := c.writer(t, h, topic)
	live := c.roam(t, h, "live", topic, c.here, connection{})
	batched := c.roam(t, h, "batched", topic, c.here, connection{batch: true, frame: true})
	behind := c.roam(t, h, "behind", topic, c.here, connection{frame: true})
	old := c.here.with(t).dial("topics=" + topic)
	w.write(0, kept, large)
	far := c.roam(t, h, "far behind", topic, c.here, connection{})
	here := c.roam(t, h, "comes back here", topic, c.here, connection{})
	there := c.roam(t, h, "comes back elsewhere", topic, c.here, connection{batch: true})
	forgetful := c.roam(t, h, "forgets epochs", topic, c.here, connection{frame: true})
	far.until("it reads a little", func() bool { return far.offset(0) > 10 })
	heard := make(chan int, 1)
	go func() { heard <- old.closedWith() }()

	cut := c.nodes.Truncate(t, topic, 0, func() {
		w.write(0, lost, large)
		for _, r := range []*roamer{live, batched, here, there, forgetful} {
			r.until("it has what will be lost", func() bool { return r.offset(0) == kept+lost })
		}
		behind.until("it has some of that", func() bool { return behind.offset(0) > kept+10 })
		for _, r := range []*roamer{here, there, forgetful} {
			r.lost()
		}
	})
	h.Truncated(topic, 0, cut.End)
	if cut.End != kept || cut.OldEnd != kept+lost {
		t.Fatalf("the log was cut from %d to %d", cut.OldEnd, cut.End)
	}
	if code := <-heard; code != 4000 {
		t.Errorf("a client of kafka-text was closed with %d, not 4000", code)
	}
	// The log is shorter than before.
	there.rejoin(c.there, connection{frame: true})
	there.until("it is told", func() bool { return there.subscribed && len(there.gaps) > 0 })
	forgetful.at[topic].Epochs = nil
	forgetful.rejoin(c.here, connection{})
	forgetful.until("it is told", func() bool { return forgetful.subscribed && len(forgetful.gaps) > 0 })
	// And now longer.
	w.write(0, lost+small, 100)
	here.rejoin(c.here, connection{batch: true})
	all := []*roamer{live, batched, behind, far, here, there, forgetful}
	for _, r := range all {
		r.until("it has the new log", func() bool { return r.offset(0) == kept+lost+small })
	}
	live.cutTo("live", kept+lost, kept)
	batched.cutTo("batched", kept+lost, kept)
	here.cutTo("one that came back", kept+lost, kept)
	there.cutTo("one that came back elsewhere", kept+lost, kept)
	forgetful.cutTo("one that forgot the epochs", kept+lost, 0) // where it was cut is not known
	behind.cutTo("one that was behind", -1, kept)
	if g := behind.gaps; len(g) == 1 && (g[0].From <= kept || g[0].From > kept+lost) {
		t.Errorf("one that was behind was told %s", mustJSON(g))
	}
	if len(far.gaps) > 0 {
		t.Errorf("one that had nothing of what was lost was told %s", mustJSON(far.gaps))
	}
	c.verify(t, h, topic, all...)
	// They are where the others are who never heard of the old log.
	for _, r := range all {
		if epoch := r.at[topic].Epochs[0]; epoch != cut.Epoch {
			t.Errorf("a client has epoch %d, want %d", epoch, cut.Epoch)
		}
	}
}

// closedWith reads until the connection ends and returns the code of the Close
// frame, or 0.
func (c *client) closedWith() int {
	for {
		_ = c.SetReadDeadline(time.Now().Add(3 * patience)) // elections take a while
		if _, _, err := c.ReadMessage(); err != nil {
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				return ce.Code
			}
			return 0
		}
	}
}

// testLeaders: leaders that move, orderly or because they die, are no event to
// anybody, nor to one who comes back with positions of their predecessors.
func (c *changing) testLeaders(t *testing.T) {
	topic := kafkatest.Topic(t)
	c.nodes.CreateTopic(t, topic, 2, 3, map[string]string{"min.insync.replicas": "2"})
	h := history.New()
	w := c.writer(t, h, topic)
	live := c.roam(t, h, "live", topic, c.here, connection{})
	back := c.roam(t, h, "comes back", topic, c.there, connection{})
	back.exact = true
	n := int64(0)
	round := func() {
		t.Helper()
		for p := range int32(2) {
			w.write(p, 50, 100)
		}
		n += 50
		for _, r := range []*roamer{live, back} {
			r.until("it reads on", func() bool { return r.offset(0) == n && r.offset(1) == n })
		}
		back.lost()
	}
	round()
	sites := []*site{c.here, c.there}
	for i := range 3 {
		now := c.nodes.Partition(t, topic, 0)
		c.nodes.MoveLeader(t, topic, 0, c.nodes.Node(t, now.Leader%3+1))
		back.rejoin(sites[i%2], connection{batch: true})
		round()
	}
	dead := c.nodes.Leader(t, topic, 1)
	dead.Kill()
	c.nodes.WaitPartition(t, topic, 1, "have another leader", func(p kafkatest.Partition) bool {
		return p.Leader >= 0 && p.Leader != dead.ID()
	})
	back.rejoin(c.here, connection{frame: true})
	round()
	dead.Restart(t)
	c.nodes.WaitInSync(t, topic)
	back.rejoin(c.there, connection{})
	round()
	for _, r := range []*roamer{live, back} {
		if len(r.gaps) > 0 {
			t.Errorf("a client was told of gaps: %s", mustJSON(r.gaps))
		}
		if epoch := r.at[topic].Epochs[0]; epoch < 3 {
			t.Errorf("after three moves the epoch is %d", epoch)
		}
	}
	c.verify(t, h, topic, live, back)
}

// testRecreated: a topic is deleted and made again while clients follow it, and
// while they are away. They are told, and read the new one from its beginning.
func (c *changing) testRecreated(t *testing.T) {
	topic := kafkatest.Topic(t)
	c.nodes.CreateTopic(t, topic, 2, 3, nil)
	h := history.New()
	w := c.writer(t, h, topic)
	live := c.roam(t, h, "live", topic, c.here, connection{})
	here := c.roam(t, h, "comes back here", topic, c.here, connection{batch: true})
	there := c.roam(t, h, "comes back elsewhere", topic, c.there, connection{})
	all := []*roamer{live, here, there}
	heard := make(chan int, 1)
	old := c.here.with(t).dial("topics=" + topic)
	go func() { heard <- old.closedWith() }()
	w.write(0, 100, 100)
	w.write(1, 20, 100)
	for _, r := range all {
		r.until("it reads the old topic", func() bool { return r.offset(0) == 100 && r.offset(1) == 20 })
	}
	here.lost()
	there.lost()
	early := c.roam(t, h, "comes back too early", topic, c.there, connection{})
	early.until("it reads the old topic", func() bool { return early.offset(0) == 100 && early.offset(1) == 20 })
	early.lost()
	before := live.at[topic].TopicID
	c.nodes.Nodes[0].DeleteTopic(t, topic)
	// A node that nobody has asked for the topic lets the client wait for it.
	early.rejoin(startSite(t, strings.Join(c.nodes.Addrs(), " "), open), connection{})
	early.until("it waits", func() bool { return early.heard["waiting"] > 0 })
	c.nodes.CreateTopic(t, topic, 2, 3, nil)
	h.Truncated(topic, 0, 0)
	h.Truncated(topic, 1, 0)
	there.rejoin(c.there, connection{})
	w.write(0, 150, 100) // beyond where they were
	w.write(1, 10, 100)
	here.rejoin(c.here, connection{frame: true})
	if code := <-heard; code != 4000 {
		t.Errorf("a client of kafka-text was closed with %d, not 4000", code)
	}
	for _, r := range all {
		r.until("it reads the new topic", func() bool { return len(r.gaps) >= 2 && r.offset(0) == 150 && r.offset(1) == 10 })
		if len(r.gaps) != 2 {
			t.Errorf("a client was told of %d gaps", len(r.gaps))
		}
		for _, g := range r.gaps {
			if g.Reason != "recreated" || g.To != 0 {
				t.Errorf("a client was told %s", mustJSON(g))
			}
		}
	}
	early.until("it reads the new topic", func() bool { return early.offset(0) == 150 && early.offset(1) == 10 })
	all = append(all, early)
	for _, r := range []*roamer{here, there, early} {
		if r.at[topic].TopicID == before {
			t.Error("one that came back has the id of the old topic")
		}
	}
	c.verify(t, h, topic, all...)
	// With what it knows now a client goes on as if nothing had been.
	for _, r := range all {
		r.lost()
		gaps := len(r.gaps)
		r.rejoin(c.there, connection{})
		r.until("it is back", func() bool { return r.subscribed })
		w.write(0, 1, 1)
		end := r.offset(0) + 1
		r.until("it reads on", func() bool { return r.offset(0) >= end })
		if len(r.gaps) != gaps {
			t.Errorf("a client is told again that the topic was made again: %s", mustJSON(r.gaps[gaps:]))
		}
	}
}

// testPartitions: partitions that are added are read from their beginning, by
// those who are there and by those who come back.
func (c *changing) testPartitions(t *testing.T) {
	topic := kafkatest.Topic(t)
	c.nodes.CreateTopic(t, topic, 1, 3, nil)
	h := history.New()
	w := c.writer(t, h, topic)
	live := c.roam(t, h, "live", topic, c.here, connection{batch: true})
	here := c.roam(t, h, "comes back here", topic, c.here, connection{})
	there := c.roam(t, h, "comes back elsewhere", topic, c.here, connection{})
	all := []*roamer{live, here, there}
	w.write(0, 30, 100)
	for _, r := range all {
		r.until("it reads", func() bool { return r.offset(0) == 30 })
	}
	here.lost()
	there.lost()
	c.nodes.Nodes[0].AddPartitions(t, topic, 3)
	w.write(1, 20, 100)
	w.write(2, 10, 100)
	here.rejoin(c.here, connection{frame: true})
	there.rejoin(c.there, connection{batch: true})
	w.write(1, 5, 100)
	for _, r := range all {
		r.until("it reads the new partitions", func() bool { return r.offset(0) == 30 && r.offset(1) == 25 && r.offset(2) == 10 })
		if len(r.gaps) > 0 {
			t.Errorf("a client was told of gaps: %s", mustJSON(r.gaps))
		}
	}
	c.verify(t, h, topic, all...)
}
