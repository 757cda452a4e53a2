package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// Errors of Pool.Open.
var (
	// ErrFull means that the pool has as many sessions as it may.
	ErrFull = errors.New("too many sessions")
	// ErrFullGroups means that the pool has as many sessions that are members of
	// consumer groups as it may.
	ErrFullGroups = errors.New("too many sessions in consumer groups")
	// ErrDraining means that the pool takes no more sessions.
	ErrDraining = errors.New("no longer taking sessions")
)

// PoolConfig is what the sessions of a pool have in common. It does not change
// while the pool lives.
type PoolConfig struct {
	// Hub reads the topics.
	Hub *Hub
	// Producer writes the records.
	Producer record.Producer
	// MaxSessions is how many sessions there may be; 0 is any number.
	MaxSessions int
	// MaxGroupSessions is how many of them may be members of consumer groups; 0
	// is any number.
	MaxGroupSessions int
	// MaxMessageSize is how many bytes a client's message may have.
	MaxMessageSize int64
	// MaxInFlight is how many records of a session may be unacknowledged.
	MaxInFlight int
	// PingInterval is how often a quiet client is pinged.
	PingInterval time.Duration
	// SlowClient says what becomes of a session that takes records more slowly
	// than they come.
	SlowClient SlowClient
	// OnGap says what becomes of a subscription that is to get records which
	// Kafka does not have any more.
	OnGap OnGap
	// WriteTimeout is how long a write may make no progress.
	WriteTimeout time.Duration
	// Logger logs the ends of sessions.
	Logger *zap.Logger
	// Discarded, if set, is told of each record that the session's chain
	// dropped; the error is why, nil where the chain meant to.
	Discarded func(topic string, err error)
	// Ended, if set, is told the code with which each session ended, and
	// Ignored of each message that was ignored. They must be quick, and safe
	// for concurrent use.
	Ended   func(code int)
	Ignored func()
	// Denied, if set, is told of records that the session's policy refused.
	Denied func(topic string)
}

// Pool is a set of sessions that are served alike, pinged together and drained
// together.
type Pool struct {
	cfg   PoolConfig
	wheel wheel
	born  time.Time

	// ctx ends when the pool is closed by force.
	ctx    context.Context
	cancel context.CancelFunc

	// scratch holds *inbound, aheads *ahead, gathers, chunks and scraps *[]byte
	// with room for as much as their names say.
	scratch sync.Pool
	aheads  sync.Pool
	gathers sync.Pool
	chunks  sync.Pool
	scraps  sync.Pool
	// deflaters holds a *sync.Pool of *deflater for each Deflate in use.
	deflaters sync.Map

	mu       sync.Mutex
	sessions int // admitted, in the wheel or not yet
	grouped  int // of them, members of consumer groups
	draining bool
	empty    chan struct{} // closed when draining and the last session is gone
}

// NewPool returns an empty pool.
func NewPool(cfg PoolConfig) *Pool {
	p := &Pool{cfg: cfg, born: time.Now(), empty: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.scratch.New = func() any { return newInbound() }
	p.chunks.New = func() any { return new(make([]byte, 0, chunkBlocked)) }
	p.scraps.New = func() any { return new(make([]byte, 0, scrap)) }
	p.gathers.New = func() any { return new(make([]byte, 0, gatherRoom)) }
	p.aheads.New = func() any { return newAhead() }
	p.wheel.interval, p.wheel.reach = cfg.PingInterval, p.reach
	return p
}

// buffer returns an empty buffer with room for n bytes if there are such.
func (p *Pool) buffer(n int) *[]byte {
	if n <= scrap {
		return p.scraps.Get().(*[]byte)
	}
	return p.chunks.Get().(*[]byte)
}

// giveBack takes a buffer of buffer's back.
func (p *Pool) giveBack(b *[]byte) {
	switch cap(*b) {
	case scrap:
		p.scraps.Put(b)
	case gatherRoom:
		p.gathers.Put(b)
	default:
		p.chunks.Put(b)
	}
}

// reach returns since when no broker answers, the zero time while some do.
func (p *Pool) reach() time.Time { return p.cfg.Hub.cfg.Source.Unreachable() }

// uptime is the pool's clock: a session keeps many times, and this one is short.
func (p *Pool) uptime() time.Duration { return time.Since(p.born) }

// SessionConfig is what is a session's own.
type SessionConfig struct {
	// Encoding is how records are sent, and its codec how messages are read.
	// Sessions of one encoding should share one value.
	Encoding *Encoding
	// Topics are the topics to follow; none for a session with a Group.
	Topics []string
	// Group, if set, has the session be a member of a consumer group.
	Group *Group
	// Start says where the topics begin; the zero Start is their end.
	Start record.Start
	// Filter, if set, makes what the topics' records have to match. It is asked
	// once the session has its place in the pool, also where it has no topics.
	Filter MakeFilter
	// Talk, if set, is what the session's subprotocol says beside records. It is
	// the session's own.
	Talk Talk
	// Batch has records sent as arrays, as many in a message as there are. The
	// codec must make messages that can be elements of a JSON array, and
	// Encoding must not compress. It is for sessions that talk.
	Batch bool
	// Chain transforms the records that the client publishes.
	Chain *Chain
	// MayPublish tells which topics the client may publish to.
	MayPublish func(topic string) bool
	// Fields are logged with the session's end.
	Fields []zap.Field
}

// Open makes a session whose positions in its topics are fixed; it sends nothing
// before Serve. It returns ErrFull, ErrFullGroups, ErrDraining, ErrTooManyFilters,
// ErrTooManyMissing, what Filter returns, or record.ErrUnavailable when the positions
// are not known before ctx is done. A session that was opened must
// be served or aborted.
func (p *Pool) Open(ctx context.Context, cfg SessionConfig) (*Session, error) {
	p.mu.Lock()
	err := p.admits()
	if err == nil && cfg.Group != nil && p.cfg.MaxGroupSessions > 0 && p.grouped >= p.cfg.MaxGroupSessions {
		err = ErrFullGroups
	}
	if err == nil {
		p.sessions++
		if cfg.Group != nil {
			p.grouped++
		}
	}
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}

	s := newSession(p, cfg)
	if cfg.Group != nil {
		filter, err := cfg.Filter.filter(ctx)
		if err != nil {
			s.leave()
			p.vacate(true)
			return nil, err
		}
		s.join(*cfg.Group, filter)
		return s, nil
	}
	sub := Subscription{Topics: cfg.Topics, Start: cfg.Start, Filter: cfg.Filter}
	followers, err := p.cfg.Hub.follow(ctx, s, sub)
	switch {
	case errors.Is(err, record.ErrOffsetGone):
		// Where a session can be told, it is, and may ask again.
		s.order(order{ask: ask{Subscription: sub}, failed: err})
	case err != nil:
		s.leave()
		p.release(s)
		return nil, err
	case s.talking == nil:
		s.followers = followers
	case len(followers) > 0:
		s.order(order{ask: ask{Subscription: sub}, followers: followers})
	}
	return s, nil
}

// Admits returns the error with which Open would fail at once, if it would: for
// whoever has something to do before it.
func (p *Pool) Admits() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admits()
}

func (p *Pool) admits() error {
	switch {
	case p.draining:
		return ErrDraining
	case p.cfg.MaxSessions > 0 && p.sessions >= p.cfg.MaxSessions:
		return ErrFull
	}
	return nil
}

// Sessions returns how many sessions the pool has.
func (p *Pool) Sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions
}

// release gives back a session's place.
func (p *Pool) release(s *Session) { p.vacate(s.member != nil) }

// vacate gives back a place of a session, or one of a member of a group.
func (p *Pool) vacate(grouped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions--
	if grouped {
		p.grouped--
	}
	if p.draining && p.sessions == 0 {
		close(p.empty)
	}
}

// refuse takes no more sessions; those that are there go on.
func (p *Pool) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.draining {
		p.draining = true
		if p.sessions == 0 {
			close(p.empty)
		}
	}
}

// Drain takes no more sessions and ends those that are there, each at a random
// instant of the window, so that their clients do not all come back at once.
// What a client has published before that instant is waited for. It does not
// block; Done tells when all sessions are gone.
func (p *Pool) Drain(code int, reason string, window time.Duration) {
	p.refuse()
	p.wheel.stop(func(s *Session) {
		if window <= 0 {
			s.finishAndClose(code, reason)
			return
		}
		time.AfterFunc(rand.N(window), func() { s.finishAndClose(code, reason) })
	})
}

// GiveUp ends the sessions that Drain has left, among them those that wait for
// Kafka to answer for their records: these are told that it did not. It does not
// block, and the clients still have their time to take the Close frame.
func (p *Pool) GiveUp(code int, reason string) {
	p.refuse()
	p.wheel.stop(func(s *Session) { s.giveUp(code, reason) })
}

// Done is closed when the pool was told to drain and its last session is gone.
func (p *Pool) Done() <-chan struct{} { return p.empty }

// Close ends what is left of the sessions without waiting for anything.
func (p *Pool) Close() {
	p.refuse()
	p.cancel()
	p.wheel.stop(func(s *Session) { s.kill() })
}
