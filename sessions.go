package kafkaws

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

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
	drainTimeout time.Duration
	producer     *producer
	release      func()

	drain sync.Once
	done  chan struct{} // closed when all is drained and written
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
	return &sessions{
		Pool: gateway.NewPool(gateway.PoolConfig{
			Hub:            reads.Hub,
			Producer:       writes,
			MaxSessions:    h.Limits.MaxSessions,
			MaxMessageSize: h.Limits.MaxMessageSize,
			MaxInFlight:    h.Limits.MaxInFlight,
			PingInterval:   time.Duration(h.PingInterval),
			WriteTimeout:   time.Duration(h.WriteTimeout),
			Logger:         last.logger(),
			Ended:          sessionEnded,
			Ignored:        ignoredMessages.Inc,
			Denied: func(topic string) {
				denials.Warn("publishing denied; `publish` of kafka_websocket allows it", zap.String("topic", topic))
			},
		}),
		source:       reads.source,
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
		s.end(gateway.CloseRestart, "the server's configuration changed; connect again", s.drainTimeout)
		return nil
	}
	s.exit()
	select {
	case <-s.done:
	case <-time.After(s.drainTimeout + time.Second):
	}
	return nil
}

// exit ends the sessions because Caddy stops. It does not wait.
func (s *sessions) exit() {
	window := time.Duration(s.Sessions()) * exitPace
	s.end(gateway.CloseGoingAway, "the server stops", min(window, s.drainTimeout/2))
}

// end ends all sessions within drain_timeout and gives back what they needed.
func (s *sessions) end(code int, reason string, window time.Duration) {
	s.drain.Do(func() {
		deadline := time.Now().Add(s.drainTimeout)
		s.Drain(code, reason, window)
		go s.finish(deadline)
	})
}

func (s *sessions) finish(deadline time.Time) {
	defer close(s.done)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	select {
	case <-s.Done():
	case <-ctx.Done():
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
