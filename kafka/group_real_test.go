package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap/zaptest"

	"github.com/kafkaws/kafkaws/internal/history"
	"github.com/kafkaws/kafkaws/internal/kafkatest"
	"github.com/kafkaws/kafkaws/record"
)

func clusterAt(t *testing.T, addrs ...string) *Cluster {
	t.Helper()
	c, err := New(Config{Brokers: addrs, Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Two gateways share a group, and the network of one of them goes.
func TestRealGroups(t *testing.T) {
	b := kafkatest.Start(t, kafkatest.Proxied())
	const topic = "shared"
	b.CreateTopic(t, topic, 8, nil)
	cl := realClient(t, b)
	for p := range int32(8) {
		put(t, cl, topic, p, numbered("v", 0, 10)...)
	}
	near, far := clusterAt(t, b.Addr()), clusterAt(t, b.Proxy().Addr())
	one := join(t, near, calling(group(topic), "one"))
	one.holds(8)
	two := join(t, far, calling(group(topic), "two"))
	two.holds(4)
	one.holds(4)
	two.mu.Lock()
	moved := slices.Collect(maps.Keys(two.next))
	two.mu.Unlock()
	for _, key := range moved {
		two.wants(topic, key.id, numbered("v", 0, 10)...)
		if err := two.commit(topic, key.id, 6); err != nil {
			t.Fatal(err)
		}
		if len(one.values[key]) > 10 {
			t.Errorf("the first got %d records of %v", len(one.values[key]), key)
		}
	}

	// One that is not heard of any more is given up. What it had committed does
	// not come again, what it had not does.
	b.Proxy().Blackhole(true)
	begun := time.Now()
	one.holds(8)
	t.Logf("given up after %v", time.Since(begun))
	for _, key := range moved {
		key := key
		had := len(one.values[key])
		one.until("what the other had not committed", func() bool { return one.next[key] == 10 })
		one.mu.Lock()
		got := one.values[key]
		if !slices.Equal(got[len(got)-4:], numbered("v", 6, 10)) || one.starts[key] != 6 {
			t.Errorf("%v: began at %d, had %d, got %v", key, one.starts[key], had, got)
		}
		one.mu.Unlock()
	}
	// Its commits count no longer.
	stale := make(chan error, 1)
	go func() { stale <- two.commit(topic, moved[0].id, 8) }()
	b.Proxy().Blackhole(false)
	if err := <-stale; !errors.Is(err, record.ErrNotAssigned) {
		t.Errorf("a commit under an old generation: %v", err)
	}
	// It comes back by itself.
	one.holds(4)
	two.holds(4)

	begun = time.Now()
	two.leave()
	one.holds(8)
	handover := time.Since(begun)
	t.Logf("handed over by leaving within %v", handover)
	if handover > 5*time.Second {
		t.Errorf("the handover by leaving took %v", handover)
	}

	// A broken connection is no reason to give anything up.
	three := join(t, far, calling(group(topic), "three"))
	three.holds(4)
	joins, revoked := three.joins, three.revoked
	three.mu.Lock()
	held := slices.Collect(maps.Keys(three.next))
	three.mu.Unlock()
	for end := int64(11); end <= 15; end++ {
		b.Proxy().Cut()
		for p := range int32(8) {
			put(t, cl, topic, p, "w")
		}
		for _, key := range held {
			three.at(topic, key.id, end)
			if err := three.commit(topic, key.id, end); err != nil {
				t.Errorf("committing after the connection broke: %v", err)
			}
		}
	}
	if three.joins != joins || three.revoked != revoked {
		t.Errorf("partitions went and came: joins %d to %d, revoked %d to %d", joins, three.joins, revoked, three.revoked)
	}
}

// groupRun is a group whose members come and go, and what they saw.
type groupRun struct {
	t     *testing.T
	h     *history.History
	group string
	topic string

	mu      sync.Mutex
	got     int
	slowest time.Duration // to leave
	changed chan struct{} // closed and made again with every delivery
}

func newGroupRun(t *testing.T, name string) *groupRun {
	return &groupRun{t: t, h: history.New(), group: name, topic: name, changed: make(chan struct{})}
}

func (g *groupRun) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got += n
	close(g.changed)
	g.changed = make(chan struct{})
}

// delivered waits until the members got at least n records, and returns how many
// they got.
func (g *groupRun) delivered(n int) int {
	g.t.Helper()
	timeout := time.After(3 * patience)
	for {
		g.mu.Lock()
		got, changed := g.got, g.changed
		g.mu.Unlock()
		if got >= n {
			return got
		}
		select {
		case <-changed:
		case <-timeout:
			g.t.Fatalf("%d records were delivered, and %d awaited", got, n)
		}
	}
}

// member joins, and commits what it gets.
func (g *groupRun) member(c *Cluster, name string) (leave func()) {
	spec := record.Membership{Group: g.group, Topics: []string{g.topic}, Start: record.Start{Kind: record.StartEarliest}, ClientID: name}
	reader := g.h.Reader(name, history.ReaderOptions{Mode: history.AtLeastOnce, Group: g.group})
	reader.Start()
	m := c.Groups(true).Join(spec)
	var done sync.WaitGroup
	from := map[int32]int64{}
	done.Go(func() {
		for n := 0; ; n++ {
			ev, err := m.Next(context.Background())
			if err != nil {
				return
			}
			switch ev := ev.(type) {
			case record.GroupAssigned:
				for id, next := range ev.Next[g.topic] {
					reader.Seek(g.topic, id, next)
					from[id] = next
				}
			case record.GroupLoss:
				g.t.Errorf("%s: %+v", name, ev)
			case record.GroupFailed:
				g.t.Errorf("%s: %v", name, ev.Err)
			case record.GroupRecords:
				id, next := ev.Batch.Partition, ev.Batch.Next
				for i := range ev.Batch.Records {
					r := &ev.Batch.Records[i]
					v, ok := history.ParseValue(r.Value)
					if !ok {
						g.t.Errorf("%s: strange record %q", name, r.Value)
					}
					reader.Read(g.topic, id, r.Offset, v, 0)
				}
				g.add(len(ev.Batch.Records))
				switch n % 3 {
				case 0: // left to whoever comes next, or to what follows
				case 1:
					m.Done(g.topic, id, next)
				default:
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					if m.Commit(ctx, map[string]map[int32]int64{g.topic: {id: next}}) == nil {
						reader.Acked(g.topic, id, from[id], next)
						from[id] = next
					}
					cancel()
				}
			}
		}
	})
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		begun := time.Now()
		m.Leave(ctx)
		g.mu.Lock()
		g.slowest = max(g.slowest, time.Since(begun))
		g.mu.Unlock()
		if ctx.Err() != nil {
			g.t.Errorf("%s could not leave in time", name)
		}
		done.Wait()
		reader.End()
	}
}

// produce writes n records to all partitions in turn, about so many a second.
func (g *groupRun) produce(addrs []string, partitions int32, n int, perSecond int) {
	if err := g.h.Write(addrs, g.topic, partitions, n, perSecond); err != nil {
		g.t.Error(err)
	}
}

// finish has one last member get what the others have left, and checks
// everything.
func (g *groupRun) finish(b *kafkatest.Broker, c *Cluster, addrs []string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	last := join(g.t, c, record.Membership{Group: g.group, Topics: []string{g.topic}, ClientID: "last"})
	reader := g.h.Reader("last", history.ReaderOptions{Mode: history.AtLeastOnce, Group: g.group})
	reader.Start()
	ends, err := b.Admin(g.t).ListEndOffsets(ctx, g.topic)
	if err != nil {
		g.t.Fatal(err)
	}
	last.until("the end of the topic", func() bool {
		all := len(last.next) > 0
		ends.Each(func(o kadm.ListedOffset) { all = all && last.next[topicPartition{g.topic, o.Partition}] >= o.Offset })
		return all
	})
	for key, values := range last.values {
		start := last.starts[key]
		reader.Seek(g.topic, key.id, start)
		for i, text := range values {
			v, _ := history.ParseValue([]byte(text))
			reader.Read(g.topic, key.id, start+int64(i), v, 0)
		}
	}
	reader.Finish()
	if err := g.h.ReadLog(ctx, addrs, func(r *kgo.Record) (history.Value, uint32, bool) {
		v, ok := history.ParseValue(r.Value)
		return v, 0, ok
	}, g.topic); err != nil {
		g.t.Fatal(err)
	}
	rep := g.h.Verify(g.t)
	g.t.Logf("%d sends, %d acknowledged, %d in the log, %d reads in %d sessions", rep.Sends, rep.Acked, rep.Records, rep.Reads, rep.Sessions)
}

// Members of two gateways come and go every half second while records are
// written: nothing is lost, and nothing comes again that was committed.
func TestRealGroupChurn(t *testing.T) {
	b := kafkatest.Start(t)
	const records, partitions = 20_000, 6
	g := newGroupRun(t, "churn")
	b.CreateTopic(t, g.topic, partitions, nil)
	clusters := []*Cluster{clusterAt(t, b.Addr()), clusterAt(t, b.Addr())}
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		g.produce([]string{b.Addr()}, partitions, records, 1000)
	}()
	var all sync.WaitGroup
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; ; i++ {
		leave := g.member(clusters[i%2], fmt.Sprint("m", i))
		stay := time.After(time.Duration(1000+rng.IntN(3000)) * time.Millisecond)
		all.Go(func() {
			<-stay
			leave()
		})
		select {
		case <-tick.C:
			continue
		case <-produced:
		}
		break
	}
	got := g.delivered(0)
	all.Wait()
	t.Logf("%d of %d deliveries came while members came and went; none took longer than %v to leave", got, records, g.slowest)
	if got < records/2 {
		t.Errorf("only %d deliveries came while members came and went", got)
	}
	g.finish(b, clusters[0], []string{b.Addr()})
}

// The coordinator's node is killed and comes back, twice.
func TestRealGroupCoordinatorLost(t *testing.T) {
	kc := kafkatest.StartCluster(t, 3)
	const partitions = 6
	g := newGroupRun(t, "moved")
	kc.CreateTopic(t, g.topic, partitions, 3, nil)
	clusters := []*Cluster{clusterAt(t, kc.Addrs()...), clusterAt(t, kc.Addrs()...)}
	var leave []func()
	for i := range 3 {
		leave = append(leave, g.member(clusters[i%2], fmt.Sprint("m", i)))
	}
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		g.produce(kc.Addrs(), partitions, 6000, 300)
	}()
	for range 2 {
		before := g.delivered(1)
		coordinator := kc.Leader(t, "__consumer_offsets", 0)
		coordinator.Kill()
		begun := time.Now()
		moved := kc.WaitPartition(t, "__consumer_offsets", 0, "another coordinator", func(p kafkatest.Partition) bool {
			return p.Leader >= 0 && p.Leader != coordinator.ID()
		})
		g.delivered(before + 500)
		t.Logf("coordinator %d to %d: 500 more deliveries after %v", coordinator.ID(), moved.Leader, time.Since(begun))
		coordinator.StartAgain(t)
		kc.WaitInSync(t, "__consumer_offsets", g.topic)
	}
	<-produced
	for _, l := range leave {
		l()
	}
	g.finish(kc.Nodes[0], clusters[0], kc.Addrs())
}
