package history

import (
	"fmt"
)

// script is a history as data, so that a test can break it in one way.
type script struct {
	sends   []scriptSend
	logs    []Log
	readers []*scriptReader
}

type scriptSend struct {
	value     Value
	partition int32
	offset    int64 // where it is, -1 for nowhere
	told      int64 // what its sender was told
	outcome   outcome
	tx        outcome
	inTx      bool
}

type scriptReader struct {
	name    string
	options ReaderOptions
	ops     []op
}

// op is one call of a Reader. Reads are of the kind isRead.
type op struct {
	kind      eventKind
	partition int32
	from, to  int64
	value     Value
	sum       uint32
	positions []Position
}

const (
	isRead eventKind = 100
	topic            = "orders"
)

func sumOf(v Value) uint32 { return Sum([]byte(v.String())) }

// history plays the script. Members of groups take turns at their operations.
func (s *script) history() *History {
	h := New()
	p := h.Producer("p")
	for _, x := range s.sends {
		var sent Sent
		if x.inTx {
			tx := p.Begin()
			sent = tx.Send(x.value, topic, -1, sumOf(x.value))
			switch x.tx {
			case succeeded:
				tx.Committed()
			case failed:
				tx.Aborted()
			}
		} else {
			sent = p.Send(x.value, topic, x.partition, sumOf(x.value))
		}
		switch x.outcome {
		case succeeded:
			sent.Acked(x.partition, x.told)
		case failed:
			sent.Failed()
		}
	}
	for _, l := range s.logs {
		h.SetLog(l)
	}
	readers := make([]*Reader, len(s.readers))
	for i, r := range s.readers {
		readers[i] = h.Reader(r.name, r.options)
	}
	for i, more := 0, true; more; i++ {
		more = false
		for k, r := range s.readers {
			if i < len(r.ops) {
				r.ops[i].play(readers[k])
				more = true
			}
		}
	}
	return h
}

func (o op) play(r *Reader) {
	switch o.kind {
	case isRead:
		r.Read(topic, o.partition, o.from, o.value, o.sum)
	case started:
		r.Start(o.positions...)
	case resumed:
		r.Resume(o.positions...)
	case gap:
		r.Gap(topic, o.partition, o.from, o.to)
	case sought:
		r.Seek(topic, o.partition, o.to)
	case progressed:
		r.Progress(topic, o.partition, o.to)
	case acked:
		r.Acked(topic, o.partition, o.from, o.to)
	case ended:
		r.End()
	case finished:
		r.Finish()
	default:
		panic(fmt.Sprint("no call for event ", o.kind))
	}
}

// draw chooses a number below n.
type draw func(n int) int

// generate makes a correct history.
func generate(draw draw) *script {
	s := &script{}
	for p := range int32(1 + draw(3)) {
		s.addPartition(draw, p, draw(30))
	}
	s.addUnwritten(draw)
	for i := range draw(4) {
		s.addReader(draw, fmt.Sprint("reader ", i))
	}
	if draw(2) == 0 {
		s.addGroup(draw)
	}
	if draw(4) == 0 {
		s.logs = nil // the checker has to do without
		s.forgetUnread()
	}
	return s
}

// addPartition writes a log with what a log has: records with all kinds of
// answers, transactions, markers.
func (s *script) addPartition(draw draw, p int32, records int) {
	l := Log{Topic: topic, Partition: p}
	for range records {
		v := ID(uint32(p), uint32(l.End))
		x := scriptSend{value: v, partition: p, offset: l.End, told: l.End, outcome: succeeded}
		record := LogRecord{Offset: l.End, Value: v, Sum: sumOf(v)}
		switch draw(8) {
		case 0:
			x.outcome = unknown
		case 1:
			x.told = -1
		case 2:
			x.inTx, x.tx = true, outcome(draw(2)) // unknown or committed
		case 3:
			x.inTx, x.tx = true, failed
			record.Aborted = true
		case 4:
			l.End++ // a marker, or what compaction took away
			continue
		}
		l.End++
		s.sends = append(s.sends, x)
		l.Records = append(l.Records, record)
	}
	s.logs = append(s.logs, l)
}

// addUnwritten adds sends that left nothing.
func (s *script) addUnwritten(draw draw) {
	for i := range draw(5) {
		s.sends = append(s.sends, scriptSend{
			value: ID(1000, uint32(i)), partition: 0, offset: -1, told: -1, outcome: []outcome{unknown, failed}[draw(2)],
		})
	}
}

func (s *script) addReader(draw draw, name string) {
	r := &scriptReader{name: name}
	r.options.Uncommitted = draw(4) == 0
	if draw(3) == 0 {
		r.options.Wants = func(r Record) bool { return r.Offset%3 != 0 }
	}
	next := make([]int64, len(s.logs))
	begin := op{kind: started}
	if draw(2) == 0 {
		begin.positions = []Position{{topic, -1, 0}}
	}
	for p := range s.logs {
		if begin.positions != nil && draw(2) == 0 {
			continue
		}
		next[p] = int64(draw(int(s.logs[p].End) + 1))
		begin.positions = append(begin.positions, Position{topic, int32(p), next[p]})
	}
	r.ops = append(r.ops, begin)
	for range draw(60) {
		p := int32(draw(len(s.logs)))
		switch draw(12) {
		case 0:
			r.ops = append(r.ops, op{kind: ended}, op{kind: resumed, positions: positionsOf(next, draw)})
		case 1:
			to := min(next[p]+int64(draw(5)), s.logs[p].End)
			r.ops = append(r.ops, op{kind: gap, partition: p, from: next[p], to: to})
			next[p] = to
		case 2:
			next[p] = int64(draw(int(s.logs[p].End) + 1))
			r.ops = append(r.ops, op{kind: sought, partition: p, to: next[p]})
		case 3:
			for next[p] < s.logs[p].End && !s.has(r, p, next[p]) {
				next[p]++
			}
			r.ops = append(r.ops, op{kind: progressed, partition: p, to: next[p]})
		default:
			s.deliver(r, next, p)
		}
	}
	if draw(2) == 0 {
		for p := range next {
			for s.deliver(r, next, int32(p)) {
			}
		}
		r.ops = append(r.ops, op{kind: finished})
	}
	s.readers = append(s.readers, r)
}

func positionsOf(next []int64, draw draw) []Position {
	var all []Position
	if draw(2) == 0 {
		for p, o := range next {
			all = append(all, Position{topic, int32(p), o})
		}
	}
	return all
}

// record returns what a reader gets from an offset, if it gets anything.
func (s *script) record(r *scriptReader, p int32, offset int64) (LogRecord, bool) {
	for _, l := range s.logs[p].Records {
		if l.Offset == offset {
			wants := r.options.Wants == nil || r.options.Wants(Record{topic, p, offset, l.Value})
			return l, wants && (!l.Aborted || r.options.Uncommitted)
		}
	}
	return LogRecord{}, false
}

func (s *script) has(r *scriptReader, p int32, offset int64) bool {
	_, ok := s.record(r, p, offset)
	return ok
}

// deliver gives a reader its next record of a partition, if there is one.
func (s *script) deliver(r *scriptReader, next []int64, p int32) bool {
	for ; next[p] < s.logs[p].End; next[p]++ {
		if l, ok := s.record(r, p, next[p]); ok {
			r.ops = append(r.ops, op{kind: isRead, partition: p, from: l.Offset, value: l.Value, sum: l.Sum})
			next[p]++
			return true
		}
	}
	return false
}

// addGroup adds two members, of which one at a time has each partition. They
// idle while the other works, so that the order of the calls is known.
func (s *script) addGroup(draw draw) {
	members := []*scriptReader{}
	for i := range 2 {
		members = append(members, &scriptReader{
			name: fmt.Sprint("member ", i), options: ReaderOptions{Mode: AtLeastOnce, Group: "g"}, ops: []op{{kind: started}},
		})
	}
	even := func() { // both have done the same number of operations
		n := max(len(members[0].ops), len(members[1].ops))
		for _, m := range members {
			for len(m.ops) < n {
				m.ops = append(m.ops, op{kind: ended})
			}
		}
	}
	committed, owner := make([]int64, len(s.logs)), make([]int, len(s.logs))
	next := make([]int64, len(s.logs))
	assign := func(p int32, to int) {
		owner[p], next[p] = to, committed[p]
		members[to].ops = append(members[to].ops, op{kind: sought, partition: p, to: committed[p]})
		even()
	}
	for p := range s.logs {
		assign(int32(p), draw(2))
	}
	for range draw(60) {
		p := int32(draw(len(s.logs)))
		m := members[owner[p]]
		switch draw(8) {
		case 0:
			assign(p, draw(2))
		case 1:
			m.ops = append(m.ops, op{kind: acked, partition: p, from: committed[p], to: next[p]})
			committed[p] = next[p]
			even()
		default:
			s.deliver(m, next, p)
			even()
		}
	}
	if draw(2) == 0 {
		for p := range next {
			for s.deliver(members[owner[p]], next, int32(p)) {
				even()
			}
		}
		m := members[draw(2)]
		m.ops = append(m.ops, op{kind: finished})
	}
	s.readers = append(s.readers, members...)
}

// forgetUnread makes unknown what was acknowledged and nobody read: without a
// log it would count as unseen.
func (s *script) forgetUnread() {
	read := map[Value]bool{}
	for _, r := range s.readers {
		for _, o := range r.ops {
			if o.kind == isRead {
				read[o.value] = true
			}
		}
	}
	for i := range s.sends {
		if x := &s.sends[i]; !read[x.value] && x.outcome == succeeded {
			x.outcome = unknown
		}
	}
}

// edit changes every read that a function picks, in all readers or in one.
func (s *script) edit(reader string, change func(*op) bool) {
	for _, r := range s.readers {
		if reader == "" || r.name == reader {
			kept := r.ops[:0]
			for _, o := range r.ops {
				if o.kind != isRead || change(&o) {
					kept = append(kept, o)
				}
			}
			r.ops = kept
		}
	}
}
