package kafkaws_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kafkaws/kafkaws/internal/history"
	"github.com/kafkaws/kafkaws/internal/tcpproxy"
)

// TestFaults is TestOutages in seconds, without a Kafka: brokers that answer with
// errors, leaders that move, and connections of clients that are reset.
func TestFaults(t *testing.T) {
	const partitions, publishers, readers, rounds = 4, 4, 3, 12
	const topic = "faulty"
	kafka, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(partitions, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	s := startSite(t, strings.Join(kafka.ListenAddrs(), " "), open)
	proxy := tcpproxy.Start(t, s.addr)
	proxied := *s
	proxied.addr = proxy.Addr()
	h := history.New()

	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	defer proxy.Cut()
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
	faults := []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 3},
		{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 3},
		{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: 5},
		{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError, Count: 5},
		{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.LeaderNotAvailable, Count: 3},
		{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.LeaderNotAvailable, Count: 3},
	}
	for i := range rounds {
		for range 3 {
			kafka.Fault(faults[rand.IntN(len(faults))])
		}
		if err := kafka.MoveTopicPartition(topic, int32(i%partitions), int32(rand.IntN(3))); err != nil {
			t.Fatal(err)
		}
		proxy.Cut()
		acked := o.acked.Load()
		waitFor(t, "records are written and read", func() bool {
			return t.Failed() || o.acked.Load() >= acked+300 && o.read.Load() >= readers*o.acked.Load()*9/10
		})
	}
	o.stop.Store(true)
	waitFor(t, "all publishers have their answers", func() bool {
		return t.Failed() || !slices.ContainsFunc(ways, func(p *numberedPublisher) bool { return !p.finished.Load() })
	})
	ends := map[int32]int64{}
	for p := range int32(partitions) {
		ends[p] = kafka.PartitionInfo(topic, p).HighWatermark
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
	if err := h.ReadLog(reading, kafka.ListenAddrs(), identify, topic); err != nil {
		t.Fatal(err)
	}
	report := h.Verify(t)
	t.Logf("%d acknowledged, %d in the log, %d reads in %d sessions; answers: %d duplicate, %d failed, %d unknown",
		report.Acked, report.Records, report.Reads, report.Sessions, o.duplicates.Load(), o.failures.Load(), o.unknowns.Load())
}
