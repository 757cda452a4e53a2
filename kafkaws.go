// Package kafkaws is a Caddy module, http.handlers.kafka_websocket, that opens
// Apache Kafka to browsers and other WebSocket clients: one socket subscribes to
// topics and publishes to them. Caddy gives routing, TLS and authentication.
//
// This package is the shell: configuration, admission, and the life of what
// outlives a configuration. Sessions are served by package gateway, Kafka is
// spoken by package kafka.
package kafkaws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/dialog"
	"github.com/kafkaws/kafkaws/gateway"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// moduleID is the handler's name among Caddy's modules, and of its loggers.
const moduleID = "http.handlers.kafka_websocket"

// handlerState is what a Handler is made into by Provision.
type handlerState struct {
	// resolved is the configuration with defaults and with the placeholders
	// that are known now.
	resolved *Handler
	logger   *zap.Logger
	refusals *refusalLoggers

	encodings []offered
	chains    chains
	policy    *policy
	origins   []originPattern

	// sessions is what outlives the configuration; release gives back this
	// handler's share of it, and is nil when it has none.
	sessions *sessions
	release  func()
}

// offered is a codec that clients may choose.
type offered struct {
	subprotocol string
	// plain is the encoding of sessions without compression; those with it
	// differ by what the client's offer asks for. embedded is that of clients
	// that want values as JSON; only kafka-json has it.
	plain, embedded *gateway.Encoding
	// talk, if set, returns what a session says beside records.
	talk func(dialog.Config) gateway.Talk
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  moduleID,
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision resolves the configuration and joins the sessions of an equal
// handler, if there are any. It does not reach out to Kafka, so that a
// configuration can be validated and loaded while Kafka is down.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.refusals = &refusalLoggers{logger: h.logger}

	h.applyDefaults()
	var err error
	if h.resolved, err = h.resolve(); err != nil {
		return err
	}
	// The key is made before codecs and transforms are loaded, which takes
	// their text.
	key := h.resolved.sessionsKey(ctx)
	if err := h.loadChains(ctx); err != nil {
		return err
	}
	if err := h.loadCodecs(ctx); err != nil {
		return err
	}
	if h.policy, err = newPolicy(h.resolved.Subscribe, h.resolved.Publish, h.resolved.Groups); err != nil {
		return err
	}
	if h.origins, err = compileOrigins(h.resolved.Origins); err != nil {
		return err
	}
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if err := h.join(key); err != nil {
		return err
	}
	for i := range h.encodings {
		if o := &h.encodings[i]; o.embedded != nil {
			o.talk = h.newDialogs()
		}
	}
	return h.watchExit(ctx)
}

// resolve returns a copy of the configuration in which the placeholders that
// are known now are replaced. Those of requests stay as they are.
func (h *Handler) resolve() (*Handler, error) {
	config, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("copying the configuration: %w", err)
	}
	var settings map[string]any
	if err := json.Unmarshal(config, &settings); err != nil {
		return nil, fmt.Errorf("copying the configuration: %w", err)
	}
	if err := resolveSettings(caddy.NewReplacer(), settings); err != nil {
		return nil, err
	}
	if config, err = json.Marshal(settings); err != nil {
		return nil, fmt.Errorf("copying the configuration: %w", err)
	}
	resolved := new(Handler)
	if err := json.Unmarshal(config, resolved); err != nil {
		return nil, fmt.Errorf("copying the configuration: %w", err)
	}
	return resolved, resolved.Validate()
}

// loadCodecs loads the codecs that are offered.
func (h *Handler) loadCodecs(ctx caddy.Context) error {
	modules, err := ctx.LoadModule(h, "CodecsRaw")
	if err != nil {
		return fmt.Errorf("loading codecs: %w", err)
	}
	for i, module := range modules.([]any) {
		c, ok := module.(codec.Codec)
		if !ok {
			return fmt.Errorf("codec module %T is not a codec: it must implement codec.Codec", module)
		}
		for _, other := range h.encodings {
			if other.subprotocol == c.Subprotocol() {
				return fmt.Errorf("two codecs for the subprotocol %q: offer one of them", c.Subprotocol())
			}
		}
		id := string(h.resolved.CodecsRaw[i])
		o := offered{subprotocol: c.Subprotocol(), plain: &gateway.Encoding{Chain: h.chains.out, ID: id, Codec: c}}
		if c, ok := c.(*codec.JSON); ok {
			o.embedded = &gateway.Encoding{Chain: h.chains.out, ID: id + "values=json", Codec: c.EmbedValues()}
		}
		h.encodings = append(h.encodings, o)
	}
	return nil
}

// watchExit has the sessions drained as soon as Caddy begins to stop. The event
// is the first sign of it: Cleanup comes only after all other requests have
// ended, which may be never.
func (h *Handler) watchExit(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	served := h.sessions
	return app.(*caddyevents.App).On("stopping", eventHandler(func() {
		if caddy.Exiting() {
			served.exit()
		}
	}))
}

// statusClientGone is what Caddy says of a client that did not wait for an answer, as
// nginx does; it is no fault of the server's.
const statusClientGone = 499

// ServeHTTP admits a client and upgrades its connection; the session goes on
// after it has returned.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	err := h.serve(w, r)
	var refused *refusal
	if !errors.As(err, &refused) {
		return err
	}
	if refused.status >= http.StatusInternalServerError && errors.Is(r.Context().Err(), context.Canceled) {
		return caddyhttp.Error(statusClientGone, err)
	}
	return h.refuse(w, r, refused)
}

// Cleanup gives back what Provision took. Sessions of a handler that is no
// longer configured are drained.
func (h *Handler) Cleanup() error {
	if h.release != nil {
		h.release()
		h.release = nil
	}
	return nil
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
