package history

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestReadLog loads what a broker has: records, transactions that were
// committed, aborted and left open, and a compacted topic.
func TestReadLog(t *testing.T) {
	const other = "compacted"
	compact := "compact"
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer adm.Close()
	if _, err := adm.CreateTopic(ctx, 1, 1, map[string]*string{"cleanup.policy": &compact}, other); err != nil {
		t.Fatal(err)
	}
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.CloseAllowingRebalance)
		return cl
	}
	h := New()
	p := h.Producer("p")
	n := uint32(0)
	write := func(cl *kgo.Client, send func(Value, string, int32, uint32) Sent, partition int32, told bool) {
		n++
		v := ID(1, n)
		r := &kgo.Record{Partition: partition, Key: []byte("k"), Value: []byte(v.String())}
		sent := send(v, topic, partition, Sum(r.Key, r.Value))
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if told {
			sent.Acked(r.Partition, r.Offset)
		}
	}
	plain := client()
	write(plain, p.Send, 0, true)
	for i := range 3 {
		cl := client(kgo.TransactionalID(fmt.Sprint("t", i)))
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		tx := p.Begin()
		write(cl, tx.Send, 0, true)
		write(cl, tx.Send, 0, true)
		switch i {
		case 0:
			tx.Committed()
		case 1:
			tx.Aborted()
		default:
			continue
		}
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(i == 0)); err != nil {
			t.Fatal(err)
		}
	}
	write(plain, p.Send, 1, true)
	write(plain, p.Send, 1, false)
	if err := plain.ProduceSync(ctx, &kgo.Record{Topic: other, Value: []byte("1.1000")}, &kgo.Record{Partition: 1, Value: []byte("?")}).FirstErr(); err != nil {
		t.Fatal(err)
	}

	identify := func(r *kgo.Record) (Value, uint32, bool) {
		v, ok := ParseValue(r.Value)
		return v, Sum(r.Key, r.Value), ok
	}
	if err := h.ReadLog(ctx, cluster.ListenAddrs(), identify, topic, other); err != nil {
		t.Fatal(err)
	}
	log := h.logs[h.place(topic, 0)]
	got := fmt.Sprint(log.Start, log.End)
	for _, r := range log.Records {
		got += fmt.Sprint(" ", r.Offset, r.Value)
		if r.Aborted {
			got += "!"
		}
	}
	// Markers are at 3 and 6, and the last transaction is open.
	if want := "0 9 0 1.1 1 1.2 2 1.3 4 1.4! 5 1.5! 7 1.6! 8 1.7!"; got != want {
		t.Errorf("the log is\n%s, not\n%s", got, want)
	}
	if log.Compacted || !h.logs[h.place(other, 0)].Compacted {
		t.Error("the wrong topic is compacted")
	}
	h.Verify(t)

	// A reader who gets what it should not, and misses what it should get.
	r := h.Reader("r", ReaderOptions{})
	r.Start(Position{topic, -1, 0})
	for _, i := range []int{0, 1, 2, 5} {
		r.Read(topic, 0, log.Records[i].Offset, log.Records[i].Value, log.Records[i].Sum)
	}
	r.Finish()
	report := h.Check()
	if len(report.Anomalies) != 2 || report.Count(AbortedRead) != 1 || report.Count(Unseen) != 1 {
		t.Error(report)
	}
}

func TestReadLogInVain(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	identify := func(*kgo.Record) (Value, uint32, bool) { return 0, 0, false }
	if err := New().ReadLog(t.Context(), cluster.ListenAddrs(), identify, "nowhere"); err == nil {
		t.Error("the log of a topic that does not exist was read")
	}
}
