package history

import "sync"

// Mode is what a reader was promised.
type Mode uint8

const (
	// ExactlyOnce readers keep positions: each record comes once, over all
	// sessions.
	ExactlyOnce Mode = iota
	// AtLeastOnce readers acknowledge, as members of a group. What is not
	// acknowledged may come again in another session; what is may not.
	AtLeastOnce
)

// ReaderOptions say what a reader is meant to get.
type ReaderOptions struct {
	// Mode is the promise; the default is ExactlyOnce.
	Mode Mode
	// Group joins AtLeastOnce readers: what one acknowledged none gets again,
	// and what none got is missing. Empty is a group of its own.
	Group string
	// Uncommitted readers get the records of aborted transactions, too.
	Uncommitted bool
	// Wants tells whether the reader's filter lets a record pass; nil wants all.
	// It is called while checking, from one goroutine.
	Wants func(Record) bool
}

// Record is what a filter decides by. What it wants to know of the content it
// looks up by the value.
type Record struct {
	// Topic, Partition and Offset are the record's place.
	Topic     string
	Partition int32
	Offset    int64
	// Value is what it is.
	Value Value
}

// Position is an offset in a partition: the next one wanted. With Partition -1
// it is that of all the topic's partitions, later ones too, that are not named
// themselves.
type Position struct {
	// Topic and Partition name the partition.
	Topic     string
	Partition int32
	// Offset is the next offset wanted.
	Offset int64
}

// Reader is one logical client over all of its reconnects. What arrives is to
// be recorded in the order of its arrival.
type Reader struct {
	name    string
	options ReaderOptions

	mu     sync.Mutex
	places places
	reads  []read
	events []event
}

// read is one record as it arrived.
type read struct {
	value  Value
	offset int64
	place  int32
	sum    uint32
}

// event is what changes what may arrive next.
type event struct {
	at       int // the number of records that arrived before
	seq      int64
	from, to int64
	place    int32
	kind     eventKind
}

type eventKind uint8

const (
	started eventKind = iota
	resumed
	startedAt
	resumedAt
	gap
	sought
	progressed
	acked
	ended
	finished
)

// Reader adds a reader. Its name is what anomalies call it.
func (h *History) Reader(name string, options ReaderOptions) *Reader {
	r := &Reader{name: name, options: options, places: places{h, map[place]int32{}}}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers = append(h.readers, r)
	return r
}

// Start records that a session begins anew at the given positions, whatever was
// read before. A partition without one begins at its first record to arrive. It
// is called before the session is asked for.
func (r *Reader) Start(positions ...Position) { r.begin(started, startedAt, positions) }

// Resume records that a session goes on where the last one ended. Positions say
// where the reader asks to go on: one behind what it has read brings records
// again, and one ahead does not excuse what lies between. It is called before
// the session is asked for.
func (r *Reader) Resume(positions ...Position) { r.begin(resumed, resumedAt, positions) }

func (r *Reader) begin(session, position eventKind, positions []Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event(event{kind: session})
	for _, p := range positions {
		r.event(event{kind: position, place: r.places.of(p.Topic, p.Partition), to: p.Offset})
	}
}

// Read records that a record arrived. sum is the [Sum] of its content, or 0.
func (r *Reader) Read(topic string, partition int32, offset int64, value Value, sum uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, read{value: value, offset: offset, place: r.places.of(topic, partition), sum: sum})
}

// Gap records that the reader was told it does not get what lies from an offset
// up to and without another.
func (r *Reader) Gap(topic string, partition int32, from, to int64) {
	r.add(gap, topic, partition, from, to)
}

// Seek records that what arrives next begins at an offset, and may have arrived
// before: after a nack, when a group assigned the partition, or when the reader
// was told that the log was truncated.
func (r *Reader) Seek(topic string, partition int32, to int64) {
	r.add(sought, topic, partition, 0, to)
}

// Progress records that the reader was told its position without a record:
// everything before next has come, or is not for it.
func (r *Reader) Progress(topic string, partition int32, next int64) {
	r.add(progressed, topic, partition, 0, next)
}

// Acked records that the reader was told that its acknowledgement of the
// offsets from one up to and without another was taken.
func (r *Reader) Acked(topic string, partition int32, from, to int64) {
	r.add(acked, topic, partition, from, to)
}

// End records that the session ended, for whatever reason.
func (r *Reader) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event(event{kind: ended})
}

// Finish records that the reader had all the time it needed: whatever the log
// holds of its partitions and it has not got never came.
func (r *Reader) Finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event(event{kind: finished})
}

func (r *Reader) add(kind eventKind, topic string, partition int32, from, to int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event(event{kind: kind, place: r.places.of(topic, partition), from: from, to: to})
}

func (r *Reader) event(e event) {
	e.at, e.seq = len(r.reads), r.places.h.seq.Add(1)
	r.events = append(r.events, e)
}
