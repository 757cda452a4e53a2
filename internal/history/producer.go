package history

import "sync"

// outcome is the end of a send or a transaction, as its sender was told.
type outcome uint8

const (
	unknown outcome = iota // no answer, or one that says so
	succeeded
	failed
)

// Producer is one sender of records.
type Producer struct {
	name string

	mu     sync.Mutex
	places places
	sends  []send
	ends   []outcome // of transactions
}

type send struct {
	value   Value
	offset  int64
	sum     uint32
	place   int32
	tx      int32 // index into ends, or -1
	outcome outcome
}

// Producer adds a sender.
func (h *History) Producer(name string) *Producer {
	p := &Producer{name: name, places: places{h, map[place]int32{}}}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.producers = append(h.producers, p)
	return p
}

// Sent is one send, whose outcome is not known until it is told.
type Sent struct {
	p *Producer
	i int
}

// Send records that a value is being sent, before it is. partition is -1 where
// the partitioner decides. sum is the [Sum] of its content, or 0.
func (p *Producer) Send(value Value, topic string, partition int32, sum uint32) Sent {
	return p.send(value, topic, partition, sum, -1)
}

func (p *Producer) send(value Value, topic string, partition int32, sum uint32, tx int32) Sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sends = append(p.sends, send{value: value, offset: -1, sum: sum, place: p.places.of(topic, partition), tx: tx})
	return Sent{p, len(p.sends) - 1}
}

// Acked records that the record was acknowledged, and where it is. offset is -1
// where it was not told, as for an answer that calls it a duplicate.
func (s Sent) Acked(partition int32, offset int64) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	e := &s.p.sends[s.i]
	if partition >= 0 {
		e.place = s.p.places.of(s.p.places.h.topic(e.place), partition)
	}
	e.outcome, e.offset = succeeded, offset
}

// Failed records the answer that the record was not written. A send whose
// answer is that nobody knows, or that gets none, is left as it is.
func (s Sent) Failed() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.sends[s.i].outcome = failed
}

// Transaction is a number of sends that are committed or aborted together. One
// that is neither may have been either.
type Transaction struct {
	p *Producer
	i int32
}

// Begin begins a transaction.
func (p *Producer) Begin() Transaction {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = append(p.ends, unknown)
	return Transaction{p, int32(len(p.ends) - 1)}
}

// Send is [Producer.Send] within the transaction.
func (t Transaction) Send(value Value, topic string, partition int32, sum uint32) Sent {
	return t.p.send(value, topic, partition, sum, t.i)
}

// Committed records that the transaction is known to be committed.
func (t Transaction) Committed() { t.end(succeeded) }

// Aborted records that the transaction is known to be aborted.
func (t Transaction) Aborted() { t.end(failed) }

func (t Transaction) end(o outcome) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.p.ends[t.i] = o
}

// outcome is a send's own together with its transaction's.
func (p *Producer) outcome(s *send) outcome {
	if s.tx < 0 || s.outcome == failed {
		return s.outcome
	}
	switch end := p.ends[s.tx]; end {
	case succeeded:
		return s.outcome
	default:
		return end
	}
}

func (h *History) topic(i int32) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.places[i].topic
}
