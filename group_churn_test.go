package kafkaws_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/internal/history"
	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// groupHistory is a group whose members come and go, and what they saw.
type groupHistory struct {
	t     testing.TB
	h     *history.History
	topic string // and group

	mu      sync.Mutex
	got     int
	changed chan struct{} // closed and made again with every record
}

func newGroupHistory(t testing.TB, topic string) *groupHistory {
	return &groupHistory{t: t, h: history.New(), topic: topic, changed: make(chan struct{})}
}

// delivered waits until the members got at least n records, and returns how many
// they got.
func (g *groupHistory) delivered(n int) int {
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

// heard notes a record.
func (g *groupHistory) heard() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got++
	close(g.changed)
	g.changed = make(chan struct{})
}

// joined is a member and what it noted.
type joined struct {
	*groupMember
	reader *history.Reader
}

// member has a client join that acknowledges every few records, or, with none, has
// the gateway do that.
func (g *groupHistory) member(s *site, name string, every int) *joined {
	g.t.Helper()
	reader := g.h.Reader(name, history.ReaderOptions{Mode: history.AtLeastOnce, Group: g.topic})
	reader.Start()
	query := "topics=" + g.topic + "&group.id=" + g.topic + "&from=earliest"
	if every > 0 {
		query += "&ack=client"
	}
	j := &joined{reader: reader}
	var mine sync.Mutex // until the member is known to itself
	mine.Lock()
	defer mine.Unlock()
	from, unacked := map[int32]int64{}, 0
	j.groupMember = s.noting(name, query, nil, func(f groupFrame) {
		switch {
		case f.Type == "record":
			v, ok := history.ParseValue([]byte(f.Value))
			if !ok {
				g.t.Errorf("%s: strange record %+v", name, f)
			}
			reader.Read(g.topic, f.Partition, f.Offset, v, 0)
			g.heard()
			if unacked++; every > 0 && unacked%every == 0 {
				mine.Lock()
				c := j.groupMember
				mine.Unlock()
				ack := fmt.Sprintf(`{"type":"ack","positions":{%q:{"offsets":{"%d":%d}}}}`, g.topic, f.Partition, f.Offset+1)
				_ = c.WriteMessage(websocket.TextMessage, []byte(ack)) // or the session has ended
			}
		case f.Type == "acked":
			for p, to := range f.Positions[g.topic].Offsets {
				reader.Acked(g.topic, p, from[p], to)
				from[p] = to
			}
		case f.Status == "assigned":
			for p, at := range f.Positions[g.topic].Offsets {
				reader.Seek(g.topic, p, at)
				from[p] = at
			}
		case f.Status == "gap", f.Type == "error" && f.Code != "not_assigned" && f.Code != "unavailable":
			g.t.Errorf("%s: %+v", name, f)
		}
	}, "kafka-json")
	return j
}

// end ends the session, cleanly or by cutting the connection.
func (j *joined) end(cleanly bool) {
	if cleanly {
		_ = j.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience))
	} else {
		_ = j.NetConn().Close()
	}
	timeout := time.After(patience)
	for {
		j.mu.Lock()
		ended, changed := j.code >= 0, j.changed
		j.mu.Unlock()
		if ended {
			break
		}
		select {
		case <-changed:
		case <-timeout:
			j.t.Errorf("%s: the session is still open", j.name)
			return
		}
	}
	j.reader.End()
}

// produce writes n records to all partitions in turn, about so many a second.
func (g *groupHistory) produce(addrs []string, partitions int32, n, perSecond int) {
	if err := g.h.Write(addrs, g.topic, partitions, n, perSecond); err != nil {
		g.t.Error(err)
	}
}

// finish has one last member get what the others have left, and checks everything.
func (g *groupHistory) finish(b *kafkatest.Broker, s *site, addrs []string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	ends, err := b.Admin(g.t).ListEndOffsets(ctx, g.topic)
	if err != nil {
		g.t.Fatal(err)
	}
	last := g.member(s, "last", 0)
	last.until("the end of the topic", func() bool {
		all := len(last.began) > 0
		ends.Each(func(o kadm.ListedOffset) {
			began, held := last.began[o.Partition]
			offset, some := last.last[o.Partition]
			all = all && held && (began >= o.Offset || some && offset+1 >= o.Offset)
		})
		return all
	})
	last.end(true)
	last.reader.Finish()
	if err := g.h.ReadLog(ctx, addrs, func(r *kgo.Record) (history.Value, uint32, bool) {
		v, ok := history.ParseValue(r.Value)
		return v, 0, ok
	}, g.topic); err != nil {
		g.t.Fatal(err)
	}
	rep := g.h.Verify(g.t)
	g.t.Logf("%d sends, %d acknowledged, %d in the log, %d reads in %d sessions", rep.Sends, rep.Acked, rep.Records, rep.Reads, rep.Sessions)
}

// TestGroupChurn has sessions of two Caddy processes come and go every half second
// while records are written: nothing is lost, and nothing comes again that was
// acknowledged.
func TestGroupChurn(t *testing.T) {
	const records, partitions = 20_000, 6
	b := kafkatest.Shared(t)
	topic := kafkatest.Topic(t)
	b.CreateTopic(t, topic, partitions, nil)
	g := newGroupHistory(t, topic)
	sites := []*site{startSite(t, b.Addr(), openGroups), startSite(t, b.Addr(), openGroups)}
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
		// Every third has the gateway count what it gets as done, and so must not
		// be cut off; half of the others are.
		j := g.member(sites[i%2], fmt.Sprint("m", i), i%3*25)
		stay := time.After(time.Duration(1000+rng.IntN(3000)) * time.Millisecond)
		all.Go(func() {
			<-stay
			j.end(i%3 == 0 || i%2 == 0)
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
	t.Logf("%d of %d deliveries came while members came and went", got, records)
	if got < records/2 {
		t.Errorf("only %d deliveries came while members came and went", got)
	}
	g.finish(b, sites[0], []string{b.Addr()})
}

// TestGroupCoordinatorLost kills the node of the group's coordinator.
func TestGroupCoordinatorLost(t *testing.T) {
	const partitions = 6
	kc := kafkatest.StartCluster(t, 3)
	topic := "moved"
	kc.CreateTopic(t, topic, partitions, 3, nil)
	g := newGroupHistory(t, topic)
	brokers := strings.Join(kc.Addrs(), " ")
	sites := []*site{startSite(t, brokers, openGroups), startSite(t, brokers, openGroups)}
	var members []*joined
	for i := range 3 {
		members = append(members, g.member(sites[i%2], fmt.Sprint("m", i), i*10))
	}
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		g.produce(kc.Addrs(), partitions, 6000, 300)
	}()
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
	kc.WaitInSync(t, "__consumer_offsets", topic)
	<-produced
	for _, m := range members {
		m.end(true)
	}
	g.finish(kc.Nodes[0], sites[0], kc.Addrs())
}
