package dedupe

import (
	"sync"
	"time"
)

// Config are the bounds of a Memory. A field that is zero or less has its
// default.
type Config struct {
	// Window is how many sequences of a producer are remembered at most: the
	// newest, and those behind it. Default: 1,000. It should be more than a
	// client may have in flight, since these are what it repeats.
	Window int
	// Entries bounds the whole memory, at about 40 bytes each. A sequence is an
	// entry, and so is each place that a producer's ring has free; a producer
	// itself counts as eight, and more where the names are long. Default:
	// 100,000, which are 4 MB, and never below 64.
	Entries int
	// Age is how long a producer is remembered since it last published.
	// Default: 15 minutes.
	Age time.Duration
	// Producers is how many producers an owner may have. Default: 64. For
	// owners that have nothing but a secret, fewer will do.
	Producers int
	// Now is the clock, for tests. Default: time.Now.
	Now func() time.Time
}

const (
	defaultWindow    = 1000
	defaultEntries   = 100_000
	defaultAge       = 15 * time.Minute
	defaultProducers = 64
	minEntries       = 64
)

func (c *Config) setDefaults() {
	if c.Window <= 0 {
		c.Window = defaultWindow
	}
	if c.Entries <= 0 {
		c.Entries = defaultEntries
	}
	c.Entries = max(c.Entries, minEntries)
	if c.Age <= 0 {
		c.Age = defaultAge
	}
	if c.Producers <= 0 {
		c.Producers = defaultProducers
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// Memory remembers what became of numbered records. Its methods may be called
// by any number of goroutines at once.
type Memory struct {
	cfg    Config
	prints fingerprinter
	start  time.Time // the zero of all times below

	mu        sync.Mutex
	producers map[name]*producer
	owners    map[string]int // how many producers each has
	// idle are the producers that have nothing in flight, the one that was used
	// last behind the others.
	idle list
	// widths are all producers by the class of their rings; in a class, the one
	// that has been in it for longest is first.
	widths    [classes]list
	used      int // entries, of cfg.Entries
	aged      uint64
	forgotten uint64
}

// name is what a producer is known by.
type name struct {
	owner, producer string
}

// producer is what is remembered of one series.
type producer struct {
	name name
	ring ring
	// flights is how many tickets there are, those of sequences included that
	// the ring has no room for any more.
	flights int
	// holds tells that some record of it did not fail. As long as none did, it
	// is as good as new.
	holds bool
	// waiting are those who repeated a sequence that is in flight. Nil most of
	// the time.
	waiting map[int64][]func(Answer)
	used    time.Duration // when, since Memory.start
	idle    node
	width   node
}

// New returns a Memory that remembers nothing yet.
func New(c Config) *Memory {
	c.setDefaults()
	m := &Memory{
		cfg:       c,
		prints:    newFingerprinter(),
		start:     c.Now(),
		producers: make(map[name]*producer),
		owners:    make(map[string]int),
	}
	m.idle.init()
	for i := range m.widths {
		m.widths[i].init()
	}
	return m
}

// now returns the time since the Memory was made. Only that is compared: a clock
// that is set does not make anything older.
func (m *Memory) now() time.Duration {
	return m.cfg.Now().Sub(m.start)
}

// Stats are numbers about a Memory.
type Stats struct {
	// Owners and Producers are how many are known.
	Owners, Producers int
	// Entries are how many of Config.Entries are in use.
	Entries int
	// Aged counts producers that were dropped since they were idle for
	// Config.Age; Forgotten those that were dropped before, for want of room.
	// Where it grows, the memory is too small.
	Aged, Forgotten uint64
}

// Stats returns the numbers of this moment.
func (m *Memory) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Stats{
		Owners: len(m.owners), Producers: len(m.producers), Entries: m.used,
		Aged: m.aged, Forgotten: m.forgotten,
	}
}
