package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/record"
)

// TestSlowClientsCatchUp has clients that read nothing while far more comes than
// the tail holds. In the end they have everything, in order, and it was fetched
// again once for all of them, and encoded again once.
func TestSlowClientsCatchUp(t *testing.T) {
	const clients, partitions, records = 20, 3, 9000
	var fetched, encoded atomic.Int64
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) {
		h.Buffer = 64 << 10
		h.Fetched = func(records int) { fetched.Add(int64(records)) }
		h.Encoded = func(records int) { encoded.Add(int64(records)) }
	})
	r.source.partitions = partitions
	values := numbered(records, 1000)
	slow := make([]*websocket.Conn, clients)
	for i := range slow {
		slow[i] = r.dial("a")
	}
	live := r.dial("a")
	go func() {
		for i, v := range values {
			r.source.feed("a", int32(i%partitions), int64(i/partitions), v)
			for !r.source.sink("a").Ready() {
				<-r.source.resume
			}
		}
	}()
	inOrder(t, live, values, partitions)
	var wg sync.WaitGroup
	for _, ws := range slow {
		wg.Go(func() { inOrder(t, ws, values, partitions) })
	}
	wg.Wait()
	r.source.mu.Lock()
	defer r.source.mu.Unlock()
	times, all := map[string]int{}, 0
	for _, b := range r.source.fetched {
		all += len(b.Records)
		for i := range b.Records {
			times[fmt.Sprint(b.Partition, "/", b.Records[i].Offset)]++
		}
	}
	if len(times) == 0 {
		t.Error("nobody fell off the tail: the test tests nothing")
	}
	for place, n := range times {
		if n > 2 {
			t.Fatalf("%s was fetched %d times", place, n)
		}
	}
	if n := fetched.Load(); n != int64(all) {
		t.Errorf("%d records were counted as fetched, %d were", n, all)
	}
	if n := encoded.Load(); n == 0 || n > int64(len(times)) {
		t.Errorf("%d records were encoded of %d", n, len(times))
	}
}

// longLog is a partition that has a record for each offset, of which a fetch
// brings some, when the test lets it.
type longLog struct {
	record.Source
	gate    chan struct{}
	fetched atomic.Int64
}

const longLogBatch = 64

func (l *longLog) Fetch(_ context.Context, topic string, p int32, offset int64) (record.Batch, error) {
	<-l.gate
	b := record.Batch{Partition: p, Next: offset + longLogBatch}
	for o := offset; o < b.Next; o++ {
		b.Records = append(b.Records, record.Record{Topic: topic, Partition: p, Offset: o, Value: []byte("x")})
	}
	l.fetched.Add(longLogBatch)
	return b, nil
}

// TestNeighboursShareBlocks has many ask for neighbouring offsets at once, before
// anything is held: no record is fetched more than twice for that, on average,
// and none is held twice.
func TestNeighboursShareBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, partition = 200, 3
		source := &longLog{gate: make(chan struct{})}
		h := NewHub(HubConfig{Source: source, BufferTotal: 256 << 20})
		defer h.Close()
		got := make([]*block, clients)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				var err error
				if got[i], err = h.blocks.get(t.Context(), "a", partition, int64(i)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all have asked
		close(source.gate)
		wg.Wait()
		have := map[int64]*block{}
		for i, b := range got {
			found := false
			for _, r := range b.records {
				found = found || r.Offset == int64(i)
				if other := have[r.Offset]; other != nil && other != b {
					t.Fatalf("two blocks have the record %d", r.Offset)
				}
				have[r.Offset] = b
			}
			if !found {
				t.Errorf("who asked for %d got %d to %d", i, b.first, b.next)
			}
		}
		if n := source.fetched.Load(); n > int64(2*len(have)) {
			t.Errorf("%d records were fetched for %d", n, len(have))
		}
	})
}

// inOrder reads the values, each once, in the order of its partition.
func inOrder(t *testing.T, ws *websocket.Conn, values []string, partitions int) {
	at := make(map[string]int, len(values))
	for i, v := range values {
		at[v] = i
	}
	next := make([]int, partitions)
	for n := range values {
		_, p, err := ws.ReadMessage()
		if err != nil {
			t.Errorf("after %d of %d: %v", n, len(values), err)
			return
		}
		i, ok := at[string(p)]
		if !ok {
			t.Errorf("got %.80q", p)
			return
		}
		if part := i % partitions; i/partitions != next[part] {
			t.Errorf("partition %d: got number %d, want %d", part, i/partitions, next[part])
			return
		}
		next[i%partitions]++
	}
}

// TestDropOldest has a client that is too slow, on a site that would rather have
// it lose records: it is not closed, loses some, and gets the newest.
func TestDropOldest(t *testing.T) {
	const records = 20_000
	r := newRig(t, func(h *HubConfig, p *PoolConfig) { h.Buffer, p.SlowClient = 64<<10, SlowDropOldest })
	values := numbered(records, 1000)
	slow, live := r.dial("a"), r.dial("a")
	go func() {
		for i, v := range values {
			r.source.feed("a", 0, int64(i), v)
			for !r.source.sink("a").Ready() {
				<-r.source.resume
			}
		}
	}()
	go func() {
		for {
			if _, _, err := live.ReadMessage(); err != nil {
				return
			}
		}
	}()
	at := make(map[string]int, records)
	for i, v := range values {
		at[v] = i
	}
	for r.fed("a", 0) < records {
		time.Sleep(time.Millisecond)
	}
	got, last := 0, -1
	for last < records-1 {
		i, ok := at[read(t, slow)]
		if !ok || i <= last {
			t.Fatalf("got number %d after %d", i, last)
		}
		got, last = got+1, i
	}
	if got == records {
		t.Error("nothing was dropped: the test tests nothing")
	}
}

// TestHolesAndNewPartitions has a session follow a topic that
// grows, fall behind, and catch up.
func TestHolesAndNewPartitions(t *testing.T) {
	r := newRig(t, func(h *HubConfig, _ *PoolConfig) { h.Buffer = 16 << 10 })
	ws := r.dial("a")
	value := func(i int) string { return fmt.Sprintf("%05d%01000d", i, 0) }
	n := 0
	var want []string
	put := func(partition int32, offset int64) {
		want = append(want, value(n))
		r.source.deliver("a", record.Batch{Partition: partition, Next: offset + 5, Records: []record.Record{{Topic: "a", Partition: partition, Offset: offset, Value: []byte(value(n))}}})
		n++
	}
	for i := range 100 {
		put(0, int64(i)*5) // what is between is not shown
	}
	r.source.sink("a").Started(record.Started{Next: map[int32]int64{1: 0}})
	for i := range 100 {
		put(1, int64(i)*5)
		put(0, int64(100+i)*5)
	}
	got := map[string]int{}
	for range want {
		got[read(t, ws)]++
	}
	for _, v := range want {
		if got[v] != 1 {
			t.Fatalf("%.5s came %d times", v, got[v])
		}
	}
}
