package kafkaws

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/kafkaws/kafkaws/dedupe"
	"github.com/kafkaws/kafkaws/filter"
	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/record"
)

// exitPace is how far apart, on average, sessions are ended when Caddy stops, so
// that a node with few of them stops at once and one with many does not send
// them all to the other nodes in one instant.
const exitPace = 5 * time.Millisecond

// sessions are the sessions of handlers that are configured alike, with what
// they need. They outlive the handlers.
type sessions struct {
	*gateway.Pool
	source       record.Source
	groups       record.Groups
	users        *dedupe.Memory
	guests       *dedupe.Memory
	filters      *filter.Cache
	drainTimeout time.Duration
	producer     *producer
	release      func()

	drain sync.Once
	done  chan struct{} // closed when all is drained and written
}

// slowClients are the choices of slow_client.
var slowClients = map[string]gateway.SlowClient{
	slowCatchUp:    gateway.SlowCatchUp,
	slowDisconnect: gateway.SlowDisconnect,
	slowDropOldest: gateway.SlowDropOldest,
}

// onGaps are the choices of on_gap.
var onGaps = map[string]gateway.OnGap{
	"":            gateway.GapDefault,
	onGapError:    gateway.GapClose,
	onGapEarliest: gateway.GapEarliest,
	onGapLatest:   gateway.GapLatest,
}

func newSessions(h *Handler) (*sessions, error) {
	reads, releaseHub, err := acquireHub(h.Cluster, h.Consumer)
	if err != nil {
		return nil, err
	}
	writes, releaseProducer, err := acquireProducer(h)
	if err != nil {
		releaseHub()
		return nil, err
	}
	last, releaseLogger := acquireLasting()
	denials := sampled(last.logger())
	users, guests := newMemories()
	return &sessions{
		Pool: gateway.NewPool(gateway.PoolConfig{
			Hub:              reads.Hub,
			Producer:         writes,
			MaxSessions:      h.Limits.MaxSessions,
			MaxGroupSessions: h.Limits.MaxGroupSessions,
			MaxMessageSize:   h.Limits.MaxMessageSize,
			MaxInFlight:      h.Limits.MaxInFlight,
			PingInterval:     time.Duration(h.PingInterval),
			WriteTimeout:     time.Duration(h.WriteTimeout),
			SlowClient:       slowClients[h.SlowClient],
			OnGap:            onGaps[h.OnGap],
			Logger:           last.logger(),
			Ended:            sessionEnded,
			Ignored:          ignoredMessages.Inc,
			Discarded: func(topic string, err error) {
				if err == nil {
					discardedRecords.WithLabelValues("dropped").Inc()
					return
				}
				discardedRecords.WithLabelValues("error").Inc()
				denials.Warn("a transform failed on a client's record, which was dropped", zap.String("topic", topic), zap.Error(err))
			},
			Denied: func(topic string) {
				denials.Warn("publishing denied; `publish` of kafka_websocket allows it", zap.String("topic", topic))
			},
		}),
		source:       reads.source,
		groups:       reads.groups,
		users:        users,
		guests:       guests,
		filters:      filter.NewCache(0),
		drainTimeout: time.Duration(h.DrainTimeout),
		producer:     writes,
		release: func() {
			releaseProducer()
			releaseHub()
			releaseLogger()
		},
		done: make(chan struct{}),
	}, nil
}

// Destruct is called when no handler is configured that the sessions belong to.
// On a reload it returns at once, because Caddy's configuration is locked; when
// Caddy stops it waits, because the process ends with the last Destruct.
func (s *sessions) Destruct() error {
	if !caddy.Exiting() {
		s.end(ending{
			code: gateway.CloseRestart, reason: "the server's configuration changed; connect again",
			window: s.drainTimeout, giveUp: s.drainTimeout, kill: s.drainTimeout + lastWords,
		})
		return nil
	}
	s.exit()
	select {
	case <-s.done:
	case <-time.After(s.drainTimeout + time.Second):
	}
	awaitDraining(time.After(s.drainTimeout))
	return nil
}

// exit ends the sessions because Caddy stops. It does not wait.
func (s *sessions) exit() {
	window := min(time.Duration(s.Sessions())*exitPace, s.drainTimeout/2)
	s.end(ending{
		code: gateway.CloseGoingAway, reason: "the server stops",
		window: window, giveUp: s.drainTimeout * 3 / 4, kill: s.drainTimeout,
	})
	// Those that an earlier reload gave more time have it no longer.
	draining.Range(func(key, _ any) bool {
		key.(*sessions).Drain(gateway.CloseGoingAway, "the server stops", window)
		return true
	})
}

// awaitDraining waits until the sessions of earlier configurations are gone.
func awaitDraining(timeout <-chan time.Time) {
	var rest []*sessions
	draining.Range(func(key, _ any) bool {
		rest = append(rest, key.(*sessions))
		return true
	})
	for _, s := range rest {
		select {
		case <-s.Done():
		case <-timeout:
			return
		}
	}
}

// ending says how sessions are ended: each at an instant of the window, those
// that still wait for Kafka without its answers after giveUp, and those whose
// clients take no Close frame without a word after kill.
type ending struct {
	code                 int
	reason               string
	window, giveUp, kill time.Duration
}

// lastWords is how long clients have to take the Close frame where nothing
// presses.
const lastWords = 5 * time.Second

// end ends all sessions and gives back what they needed.
func (s *sessions) end(e ending) {
	s.drain.Do(func() {
		now := time.Now()
		draining.LoadOrStore(s, true)
		s.Drain(e.code, e.reason, e.window)
		go s.finish(e, now.Add(e.giveUp), now.Add(e.kill))
	})
}

func (s *sessions) finish(e ending, giveUp, kill time.Time) {
	defer func() {
		close(s.done)
		_, _ = draining.Delete(s)
	}()
	ctx, cancel := context.WithDeadline(context.Background(), kill)
	defer cancel()
	patience := time.NewTimer(time.Until(giveUp))
	defer patience.Stop()
	select {
	case <-s.Done():
	case <-patience.C:
		s.GiveUp(e.code, e.reason)
		select {
		case <-s.Done():
		case <-ctx.Done():
		}
	}
	s.Close()
	s.release()
	if caddy.Exiting() {
		select {
		case <-s.producer.closed:
		case <-ctx.Done():
		}
	}
}

// eventHandler makes a function a handler of Caddy's events.
type eventHandler func()

// Handle implements caddyevents.Handler.
func (h eventHandler) Handle(context.Context, caddy.Event) error {
	h()
	return nil
}

var (
	_ caddy.Destructor    = (*sessions)(nil)
	_ caddyevents.Handler = eventHandler(nil)
)
