package history

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// History collects what happens. Its methods, and those of what it hands out,
// may be called from any goroutine.
type History struct {
	seq atomic.Int64 // orders the events of different readers

	mu        sync.Mutex
	index     map[place]int32
	places    []place
	producers []*Producer
	readers   []*Reader
	logs      map[int32]Log
	cuts      map[int32]int64
}

// place is a partition; anywhere stands for all of a topic's.
type place struct {
	topic     string
	partition int32
}

const anywhere int32 = -1

// New returns an empty history.
func New() *History {
	return &History{index: map[place]int32{}, logs: map[int32]Log{}, cuts: map[int32]int64{}}
}

// place returns the number by which records refer to a partition.
func (h *History) place(topic string, partition int32) int32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := place{topic, partition}
	i, ok := h.index[key]
	if !ok {
		i = int32(len(h.places))
		h.index[key] = i
		h.places = append(h.places, key)
	}
	return i
}

// places is a private copy of the numbers that one producer or reader uses.
type places struct {
	h     *History
	known map[place]int32
}

func (p *places) of(topic string, partition int32) int32 {
	key := place{topic, partition}
	i, ok := p.known[key]
	if !ok {
		i = p.h.place(topic, partition)
		p.known[key] = i
	}
	return i
}

// Log is the content of one partition when all is over.
type Log struct {
	// Topic and Partition name the partition.
	Topic     string
	Partition int32
	// Start is the first offset that the log still has, and End the one after
	// its last record or marker. What is below Start was deleted.
	Start, End int64
	// Compacted says that records with a newer one of the same key may be gone
	// from anywhere, so nobody needs to have seen them.
	Compacted bool
	// Records are the log's records by offset.
	Records []LogRecord
}

// LogRecord is one record of a [Log].
type LogRecord struct {
	// Offset is the record's place, and Value what it is.
	Offset int64
	Value  Value
	// Sum is the [Sum] of its content; 0 is not compared.
	Sum uint32
	// Aborted marks a record of a transaction that was aborted or is open:
	// nobody who reads committed records may have seen it.
	Aborted bool
}

// SetLog loads the truth of one partition, in place of what was loaded before.
// Load it after the last answer to a send: what was acknowledged and is not in
// the log counts as lost.
func (h *History) SetLog(l Log) {
	at := h.place(l.Topic, l.Partition)
	l.Records = slices.Clone(l.Records)
	slices.SortStableFunc(l.Records, func(a, b LogRecord) int { return cmp.Compare(a.Offset, b.Offset) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs[at] = l
}

// Truncated says that a partition's log was cut at an offset and grew again,
// by an unclean leader election, or, with 0, that the topic was made anew. What
// was acknowledged or read from there on may be gone, and another record may
// stand in its place. A reader still has to be told; see [Reader.Seek].
func (h *History) Truncated(topic string, partition int32, at int64) {
	i := h.place(topic, partition)
	h.mu.Lock()
	defer h.mu.Unlock()
	if cut, ok := h.cuts[i]; ok {
		at = min(at, cut)
	}
	h.cuts[i] = at
}
