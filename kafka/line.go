package kafka

import (
	"time"

	"github.com/IBM/sarama"
)

// line is a connection for the fetches of a loop or of its express. It is made
// again when it is lost.
type line struct {
	loop     *loop
	conf     *sarama.Config
	cn       *conn
	addr     string
	failures int // in a row
	turn     int
	question question
}

func newLine(l *loop) *line {
	return &line{loop: l, conf: fetchSettings(l.src.c.base)}
}

func (n *line) close() {
	if n.cn != nil {
		n.cn.close()
		n.cn = nil
	}
}

// round makes one request and hands out the answer, or sees to what its absence
// means. It returns how long to wait before the next one.
func (n *line) round(asks ask, alone bool, wait time.Duration) time.Duration {
	c := n.loop.src.c
	if n.turn++; n.turn%2 == 0 && asks.foremost() {
		wait = min(wait, c.timings.shortPoll) // somebody else's records are waiting
	}
	c.silence.ask(&n.question, wait)
	answer, err := n.fetch(asks, wait)
	// What makes no sense is an answer, too.
	c.silence.end(&n.question, err == nil || n.cn != nil && !lostConnection(err))
	switch {
	case err == nil:
		n.failures = 0
		c.health.answered(n.addr)
		return n.loop.deliver(answer, asks, alone)
	case c.ctx.Err() != nil:
		return 0
	}
	wasOpen := n.cn != nil
	n.close()
	if wasOpen && garbled(err) {
		blame(asks, alone, err)
		return 0
	}
	n.failures++
	if n.addr != "" {
		c.health.failed(n.addr, wasOpen, err)
	}
	topics := map[string]struct{}{}
	for key := range asks {
		topics[key.topic] = struct{}{}
	}
	for topic := range topics {
		c.meta.refresh(topic, 0)
	}
	return backoff(n.failures, 100*time.Millisecond, time.Second)
}

// fetch asks the broker, and connects to it first where that is necessary.
func (n *line) fetch(asks ask, wait time.Duration) (*sarama.FetchResponse, error) {
	s := n.loop.src
	if n.cn == nil {
		n.addr = s.c.meta.broker(n.loop.id)
		if n.addr == "" {
			return nil, sarama.ErrBrokerNotFound
		}
		var err error
		if n.cn, err = open(s.c.ctx, n.addr, n.conf); err != nil {
			n.cn = nil
			return nil, err
		}
	}
	answer, err := n.cn.Fetch(s.fill(asks, wait))
	if err != nil {
		return nil, err
	}
	if answer.ErrorCode != int16(sarama.ErrNoError) {
		return nil, sarama.KError(answer.ErrorCode)
	}
	return answer, nil
}

// fill writes down what is asked for.
func (s *source) fill(asks ask, wait time.Duration) *sarama.FetchRequest {
	req := s.request(wait)
	for key, ws := range asks {
		first := ws[0]
		for _, w := range ws[1:] {
			if w.offset < first.offset {
				first.offset = w.offset
			}
			first.epoch = max(first.epoch, w.epoch)
			first.maxBytes = max(first.maxBytes, w.maxBytes)
		}
		req.AddBlock(key.topic, key.id, first.offset, first.maxBytes, first.epoch)
		req.MaxBytes = max(req.MaxBytes, first.maxBytes)
	}
	return req
}

// request returns an empty fetch request in the newest version that is allowed.
func (s *source) request(wait time.Duration) *sarama.FetchRequest {
	req := &sarama.FetchRequest{
		MaxWaitTime: int32(wait / time.Millisecond), MinBytes: 1, MaxBytes: responseBytes,
		// No fetch session (KIP-227). It would make requests and answers
		// smaller, but the broker still looks at every partition for each of
		// them, which is what costs; the express avoids that. Nor can a
		// partition be taken out of a session with sarama.
		SessionID: 0, SessionEpoch: -1,
	}
	if s.committed {
		req.Isolation = sarama.ReadCommitted
	}
	switch v := s.c.version; {
	case v.IsAtLeast(sarama.V2_7_0_0):
		req.Version = 12
	case v.IsAtLeast(sarama.V2_3_0_0):
		req.Version = 11
	case v.IsAtLeast(sarama.V2_1_0_0):
		req.Version = 10
	case v.IsAtLeast(sarama.V2_0_0_0):
		req.Version = 8
	case v.IsAtLeast(sarama.V1_1_0_0):
		req.Version = 7
	case v.IsAtLeast(sarama.V1_0_0_0):
		req.Version = 6
	default:
		req.Version = 5
	}
	return req
}

// deliver hands an answer to the partitions, and returns how long to wait before
// the next request.
func (l *loop) deliver(answer *sarama.FetchResponse, asks ask, alone bool) time.Duration {
	throttled := answer.ThrottleTime > 0
	found := false
	var busy []*partition
	for key, ws := range asks {
		b := answer.GetBlock(key.topic, key.id)
		if b == nil {
			continue
		}
		found = true
		for _, w := range ws {
			if w.p.block(b, w, alone) {
				busy = append(busy, w.p)
			}
		}
	}
	l.advance(busy)
	switch {
	case throttled:
		// The broker does not read from the connection before (KIP-219).
		// sarama would wait as well, deaf to everything else, and with a
		// request that is out of date by then.
		return answer.ThrottleTime
	case !found:
		return 100 * time.Millisecond // nothing that was asked for was answered
	case len(asks) > crowd:
		// A request takes the broker and us some microseconds for each
		// partition. Many that bring a record now and then could keep both
		// busy for ever; a rest as long as the work leaves half of the time.
		return time.Duration(len(asks)) * perPartition
	}
	return 0
}

// blame finds whose part of an answer made no sense: all of them are asked for
// one by one then.
func blame(asks ask, alone bool, err error) {
	for _, ws := range asks {
		for _, w := range ws {
			if alone {
				w.p.unreadable(w, err)
			} else {
				w.p.suspect(w)
			}
		}
	}
}
