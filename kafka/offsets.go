package kafka

import (
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// offsetQuery asks for an offset of a partition.
type offsetQuery struct {
	topic     string
	partition int32
	// time is sarama.OffsetNewest, sarama.OffsetOldest or, in milliseconds, the
	// least timestamp of the first record that is wanted.
	time int64
	// committed asks, with OffsetNewest, for the last stable offset instead of
	// the high watermark. Reading of committed records begins there: records of
	// a transaction that is open now become visible later, so they belong to
	// what comes after now. A record behind it is not found by its time either.
	committed bool
	// taken, if set, is called before the broker is asked.
	taken func()
	// done is called once, from another goroutine.
	done func(found, error)
}

// found is the answer to an offsetQuery.
type found struct {
	// offset is the one that was asked for, or -1 where no record is as young
	// as it should be.
	offset int64
	// epoch is, with OffsetNewest, the leader epoch of the partition; noEpoch
	// where the broker is too old to tell (before Kafka 2.1).
	epoch int32
}

// offsets asks the leaders for offsets: one request at a time for each leader,
// for all partitions that are asked for by then.
type offsets struct {
	c       *Cluster
	mu      sync.Mutex
	workers map[int32]*offsetWorker
}

type offsetWorker struct {
	queue []*offsetQuery // guarded by offsets.mu
	wake  chan struct{}
}

// ask has queries answered by a broker. When the cluster is closed they are not.
func (o *offsets) ask(leader int32, queries []*offsetQuery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.workers[leader]
	if w == nil {
		w = &offsetWorker{wake: make(chan struct{}, 1)}
		if !o.c.spawn(func() { o.work(leader, w) }) {
			return
		}
		o.workers[leader] = w
	}
	w.queue = append(w.queue, queries...)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// work serves one broker until there has been nothing to do for a while.
func (o *offsets) work(leader int32, w *offsetWorker) {
	var cn *conn
	defer func() {
		if cn != nil {
			cn.close()
		}
	}()
	idle := time.NewTimer(o.c.timings.idle)
	defer idle.Stop()
	for {
		o.mu.Lock()
		queries := w.queue
		w.queue = nil
		o.mu.Unlock()
		if len(queries) > 0 {
			for _, q := range queries {
				if q.taken != nil {
					q.taken()
				}
			}
			cn = o.serve(leader, cn, queries)
			idle.Reset(o.c.timings.idle)
			continue
		}
		select {
		case <-w.wake:
		case <-o.c.ctx.Done():
			return
		case <-idle.C:
			o.mu.Lock()
			if len(w.queue) == 0 {
				delete(o.workers, leader)
				o.mu.Unlock()
				return
			}
			o.mu.Unlock()
		}
	}
}

// serve answers queries, with one request for each kind, and returns the
// connection to use next.
func (o *offsets) serve(leader int32, cn *conn, queries []*offsetQuery) *conn {
	type kind struct {
		time      int64
		committed bool
	}
	kinds := map[kind][]*offsetQuery{}
	for _, q := range queries {
		k := kind{q.time, q.committed}
		kinds[k] = append(kinds[k], q)
	}
	for k, qs := range kinds {
		req := sarama.NewOffsetRequest(o.c.version)
		if k.committed {
			req.IsolationLevel = sarama.ReadCommitted
		}
		for _, q := range qs {
			req.AddBlock(q.topic, q.partition, k.time, 1)
		}
		var answer *sarama.OffsetResponse
		var err error
		cn, answer, err = o.send(leader, cn, req)
		for _, q := range qs {
			if err != nil {
				q.done(found{}, err)
				continue
			}
			b := answer.GetBlock(q.topic, q.partition)
			switch {
			case b == nil:
				q.done(found{}, sarama.ErrIncompleteResponse)
			case b.Err != sarama.ErrNoError:
				q.done(found{}, b.Err)
			case answer.Version < 4:
				q.done(found{b.Offset, noEpoch}, nil)
			default:
				q.done(found{b.Offset, b.LeaderEpoch}, nil)
			}
		}
	}
	return cn
}

// send makes one request. A connection that had been idle may have been closed
// by the broker, so it is given a second chance with a new one.
func (o *offsets) send(leader int32, cn *conn, req *sarama.OffsetRequest) (*conn, *sarama.OffsetResponse, error) {
	for {
		used := cn != nil
		addr := o.c.meta.broker(leader)
		if !used {
			if addr == "" {
				return nil, nil, sarama.ErrBrokerNotFound
			}
			var err error
			if cn, err = open(o.c.ctx, addr, o.c.base); err != nil {
				if o.c.ctx.Err() == nil {
					o.c.health.failed(addr, false, err)
				}
				return nil, nil, err
			}
		}
		answer, err := cn.GetAvailableOffsets(req)
		if err == nil {
			o.c.health.answered(addr)
			return cn, answer, nil
		}
		cn.close()
		cn = nil
		if !used || o.c.ctx.Err() != nil {
			if o.c.ctx.Err() == nil {
				o.c.health.failed(addr, true, err)
			}
			return nil, nil, err
		}
	}
}
