package kafkaws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/record"
)

const (
	// lookupPatience is how long a client waits for the positions of its
	// topics before it is told to come back later.
	lookupPatience = 5 * time.Second
	// maxGroupID is the longest consumer group id that Kafka stores.
	maxGroupID = 249
)

// refusal is why a request is not upgraded.
type refusal struct {
	status int
	err    error
	// hint tells the operator what would allow the request.
	hint string
	// header is set on the response.
	header http.Header
}

// Error implements error.
func (r *refusal) Error() string { return r.err.Error() }

// Unwrap gives the cause.
func (r *refusal) Unwrap() error { return r.err }

func refused(status int, hint, format string, args ...any) *refusal {
	return &refusal{status: status, hint: hint, err: fmt.Errorf(format, args...)}
}

func (r *refusal) with(name, value string) *refusal {
	if r.header == nil {
		r.header = make(http.Header)
	}
	r.header.Set(name, value)
	return r
}

// unavailable is a refusal for now. Clients are told to come back at different
// times.
func unavailable(hint string, err error) *refusal {
	r := &refusal{status: http.StatusServiceUnavailable, err: err, hint: hint}
	return r.with("Retry-After", strconv.Itoa(1+rand.IntN(5)))
}

// refuse turns a refusal into what Caddy makes a response of. Caddy logs those
// that are the client's fault, and all on a server with handle_errors, at DEBUG
// only, where an operator who forgot a directive does not find them.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, refused *refusal) error {
	maps.Copy(w.Header(), refused.header)
	if refused.status < http.StatusInternalServerError || handlesErrors(r) {
		h.refusals.of(refused.status).Warn("request refused",
			zap.Int("status", refused.status),
			zap.Error(refused.err),
			zap.String("hint", refused.hint),
			zap.String("client_ip", clientIP(r)))
	} else if refused.hint != "" {
		return caddyhttp.Error(refused.status, fmt.Errorf("%w; %s", refused.err, refused.hint))
	}
	return caddyhttp.Error(refused.status, refused.err)
}

// handlesErrors reports whether the server has handle_errors.
func handlesErrors(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && server.Errors != nil && len(server.Errors.Routes) > 0
}

// request is what a client asks for by its request.
type request struct {
	topics []string
	// kafka are the same topics by their names in Kafka.
	kafka   []string
	offered offered
	deflate gateway.Deflate
	// start is where the topics begin, and filter the expression that their records
	// have to match; empty is none.
	start  record.Start
	filter string
	// group is the consumer group to be a member of; empty is none.
	group string
	// form is how a client of kafka-json wants its records.
	form form
	// extensions is the answer to the client's offer of compression.
	extensions string
}

// serve admits the request and upgrades it. An error is a *refusal unless the
// connection broke.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	if err := checkUpgrade(r); err != nil {
		return err
	}
	if err := h.checkOrigin(r); err != nil {
		return err
	}
	if err := h.sessions.Admits(); err != nil { // before anybody is asked
		return refuseSession(err)
	}
	done, err := h.sessions.Turn(r.Context())
	if err != nil {
		return refuseSession(err)
	}
	asked, err := h.parse(r)
	done()
	if err != nil {
		return err
	}
	allowed := h.policy.resolve(replacer(r))
	if asked.group != "" && !allowed.mayJoin(asked.group) {
		return refused(http.StatusForbidden, "`groups` of kafka_websocket allows it", "consumer group %q is not allowed", asked.group)
	}
	for _, topic := range asked.topics {
		if !allowed.maySubscribe(topic) {
			return refused(http.StatusForbidden, "`subscribe` of kafka_websocket allows it", "subscribing to topic %q is not allowed", topic)
		}
		name, ok := h.chains.outNames.Inward(topic)
		if !ok {
			return refused(http.StatusNotFound, "`transform out topic` of kafka_websocket gave its name to another", "topic %q does not exist", topic)
		}
		asked.kafka = append(asked.kafka, name)
	}
	session, err := h.open(r, asked, allowed)
	if err != nil {
		return err
	}
	return h.upgrade(w, r, asked, session)
}

// checkUpgrade checks what RFC 6455 §4.2.1 wants of the request.
func checkUpgrade(r *http.Request) error {
	if isExtendedConnect(r) {
		return refused(http.StatusNotImplemented, "keep h1 among the protocols of the server", "WebSocket over %s is not supported", r.Proto)
	}
	if r.Method != http.MethodGet {
		return refused(http.StatusMethodNotAllowed, "", "method %s is not allowed", r.Method).with("Allow", http.MethodGet)
	}
	if !websocket.IsWebSocketUpgrade(r) {
		plain := refused(http.StatusUpgradeRequired, "", "not a WebSocket request")
		if r.ProtoMajor == 1 {
			plain = plain.with("Upgrade", "websocket").with("Connection", "Upgrade")
		}
		return plain
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return refused(http.StatusBadRequest, "", "a WebSocket request has no body")
	}
	if !hasToken(r.Header.Values("Sec-WebSocket-Version"), "13") {
		return refused(http.StatusBadRequest, "", "only version 13 of WebSocket is supported").with("Sec-WebSocket-Version", "13")
	}
	return nil
}

// isExtendedConnect reports whether the request opens a WebSocket over HTTP/2
// (RFC 8441) or HTTP/3 (RFC 9220).
func isExtendedConnect(r *http.Request) bool {
	return r.Method == http.MethodConnect && (r.Header.Get(":protocol") == "websocket" || r.Proto == "websocket")
}

// hasToken reports whether one of a header's comma-separated lists has a token.
func hasToken(values []string, token string) bool {
	for _, value := range tokens(values) {
		if strings.EqualFold(value, token) {
			return true
		}
	}
	return false
}

// tokens returns the elements of a header's comma-separated lists.
func tokens(values []string) []string {
	var all []string
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			if element = strings.TrimSpace(element); element != "" {
				all = append(all, element)
			}
		}
	}
	return all
}

// checkOrigin keeps pages of other sites from connecting in the name of their
// visitors (RFC 6455 §10.2).
func (h *Handler) checkOrigin(r *http.Request) error {
	if err := originAllowed(r, h.origins); err != nil {
		refused := &refusal{status: http.StatusForbidden, err: err}
		if len(r.Header.Values("Origin")) == 1 { // two are never right
			refused.hint = "`origins` of kafka_websocket allows pages of other hosts"
		}
		return refused
	}
	return nil
}

// parse reads the request's parameters and headers.
func (h *Handler) parse(r *http.Request) (*request, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refused(http.StatusBadRequest, "", "reading the query: %w", err)
	}
	asked := new(request)
	if asked.topics, err = h.topics(query["topics"]); err != nil {
		return nil, err
	}
	if asked.start, err = h.start(query); err != nil {
		return nil, err
	}
	asked.filter = query.Get("filter")
	if group := query.Get("group.id"); group != "" {
		if len(group) > maxGroupID || !record.ValidTopic(group) {
			return nil, refused(http.StatusBadRequest, "", "illegal consumer group id %q", group)
		}
		if len(asked.topics) == 0 {
			return nil, refused(http.StatusBadRequest, "", "consumer group %q needs topics", group)
		}
		asked.group = group
	}
	asked.offered = h.choose(tokens(r.Header.Values("Sec-WebSocket-Protocol")))
	if asked.offered.embedded != nil {
		if asked.form, err = parseForm(query); err != nil {
			return nil, err
		}
	}
	if c := h.resolved.Compression; c != nil {
		asked.deflate, asked.extensions = negotiateDeflate(r.Header.Values("Sec-WebSocket-Extensions"), int(c.MinSize))
	}
	return asked, nil
}

// start reads where the client wants to begin.
func (h *Handler) start(query url.Values) (record.Start, error) {
	start, err := record.ParseStart(query.Get("from"), query.Get("last"))
	if err != nil {
		return start, refused(http.StatusBadRequest, "", "illegal start: %w", err)
	}
	if start.Kind == record.StartDefault && h.resolved.Start == startEarliest {
		start.Kind = record.StartEarliest
	}
	// Positions are by the names that clients know the topics by.
	inward := make(record.Positions, len(start.Positions))
	for topic, at := range start.Positions {
		if name, ok := h.chains.outNames.Inward(topic); ok {
			inward[name] = at
		}
	}
	start.Positions = inward
	return start, nil
}

// topics reads the names of topics, each once and in their order.
func (h *Handler) topics(values []string) ([]string, error) {
	var topics []string
	seen := make(map[string]bool)
	for _, name := range tokens(values) {
		if seen[name] {
			continue
		}
		if !record.ValidTopic(name) {
			return nil, refused(http.StatusBadRequest, "", "illegal topic name %q: Kafka takes 1 to %d of the characters A-Z a-z 0-9 . _ -", name, record.MaxTopicLength)
		}
		seen[name] = true
		topics = append(topics, name)
	}
	if limit := h.resolved.Limits.MaxTopics; len(topics) > limit {
		return nil, refused(http.StatusBadRequest, "`max_topics` of kafka_websocket allows more", "%d topics asked for, no more than %d are allowed", len(topics), limit)
	}
	return topics, nil
}

// choose returns the first codec of the client's list that is offered here; for
// a client that names none that is known, the first that is offered, and then
// the response names none.
func (h *Handler) choose(subprotocols []string) offered {
	for _, name := range subprotocols {
		for _, o := range h.encodings {
			if o.subprotocol == name {
				return o
			}
		}
	}
	unnamed := h.encodings[0]
	unnamed.subprotocol = ""
	return unnamed
}

// open makes the session, with its positions fixed, so that the client hears
// what is written after the handshake.
func (h *Handler) open(r *http.Request, asked *request, allowed *topicPolicy) (*gateway.Session, error) {
	ctx, cancel := context.WithTimeout(r.Context(), lookupPatience)
	defer cancel()
	if h.resolved.MissingTopics == missingReject {
		for i, topic := range asked.kafka {
			if err := h.sessions.source.Exists(ctx, topic); err != nil {
				return nil, refuseTopic(asked.topics[i], err)
			}
		}
	}
	names := h.chains.inNames // a copy: a session must not hold the handler
	chain, err := h.chains.bind(replacer(r))
	if err != nil {
		return nil, &refusal{status: http.StatusInternalServerError, err: err, hint: "check the placeholders of `transform in` of kafka_websocket"}
	}
	cfg := gateway.SessionConfig{
		Encoding: asked.encoding(),
		Topics:   asked.kafka,
		Chain:    chain,
		Start:    asked.start,
		Filter:   h.filter(asked.filter),
		MayPublish: func(topic string) bool {
			outward, ok := names.Outward(topic)
			return ok && allowed.mayPublish(outward)
		},
		Fields: sessionFields(r),
	}
	if asked.group != "" {
		h.member(asked, &cfg)
	}
	if asked.offered.talk != nil {
		talk(r, asked, allowed, &cfg)
	}
	session, err := h.sessions.Open(ctx, cfg)
	if err != nil {
		return nil, refuseSession(err)
	}
	return session, nil
}

// filter returns what compiles the filter of a request, or refuses the request; nil
// where there is none.
func (h *Handler) filter(expression string) gateway.MakeFilter {
	if expression == "" {
		return nil
	}
	compile := h.sessions.filter(expression)
	return func(ctx context.Context) (gateway.Filter, error) {
		f, err := compile(ctx)
		if err != nil && !errors.Is(err, gateway.ErrFiltersBusy) {
			err = refused(http.StatusBadRequest, "", "illegal filter: %w", err)
		}
		return f, err
	}
}

// encoding returns how the client's records are sent.
func (asked *request) encoding() *gateway.Encoding {
	e := asked.offered.plain
	if asked.form.embed {
		e = asked.offered.embedded
	}
	// Arrays are made for a session alone, and not compressed.
	if asked.deflate.On && !asked.form.batch {
		e = &gateway.Encoding{Chain: e.Chain, ID: e.ID, Codec: e.Codec, Deflate: asked.deflate}
	}
	return e
}

// refuseSession says why there is no session for now.
func refuseSession(err error) error {
	var already *refusal
	switch {
	case errors.As(err, &already):
		return already
	case errors.Is(err, gateway.ErrFull):
		return unavailable("`max_sessions` of kafka_websocket allows more", err)
	case errors.Is(err, gateway.ErrFullGroups):
		return unavailable("`max_group_sessions` of kafka_websocket allows more", err)
	case errors.Is(err, gateway.ErrDraining), errors.Is(err, gateway.ErrTooManyFilters), errors.Is(err, gateway.ErrFiltersBusy),
		errors.Is(err, gateway.ErrSlowFilter), errors.Is(err, gateway.ErrSlowFilters):
		return unavailable("", err)
	case errors.Is(err, gateway.ErrTooManyMissing):
		return unavailable("`missing_topics reject` of kafka_websocket has clients wait for none, and a narrower `subscribe` for fewer", err)
	default:
		return unavailable(hintUnreachable, err)
	}
}

// hintUnreachable is what an operator can do about a Kafka that does not answer.
const hintUnreachable = "check that the brokers run, that `brokers` of kafka_websocket names them, and that they let the gateway read the topic"

// refuseTopic says why a topic that has to exist is not known to.
func refuseTopic(topic string, err error) error {
	if errors.Is(err, record.ErrUnknownTopic) {
		return refused(http.StatusNotFound, "`missing_topics wait` of kafka_websocket lets clients wait for it", "topic %q does not exist", topic)
	}
	return refuseSession(err)
}

// replacer returns the request's placeholders.
func replacer(r *http.Request) *caddy.Replacer {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// sessionFields are the fields that tell whose session a log line is about.
// They are copies: nothing of the request may be kept.
func sessionFields(r *http.Request) []zap.Field {
	fields := []zap.Field{zap.String("client_ip", clientIP(r))}
	repl := replacer(r)
	if user, ok := repl.GetString("http.auth.user.id"); ok && user != "" {
		fields = append(fields, zap.String("user_id", user))
	}
	return fields
}

// clientIP returns the client's address, as `trusted_proxies` has it.
func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}

// noOwnBuffers keeps the WebSocket library from giving each connection a write
// buffer: its only writes are control frames, which do not use one.
type noOwnBuffers struct{}

// Get implements websocket.BufferPool.
func (noOwnBuffers) Get() any { return nil }

// Put implements websocket.BufferPool.
func (noOwnBuffers) Put(any) {}

// upgrade switches the connection to WebSocket and starts the session.
func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request, asked *request, session *gateway.Session) error {
	shake := &handshake{ResponseWriter: w, extensions: asked.extensions}
	shake.conn, shake.rw = session.Conn(shake.switchProtocols)
	var problem *refusal
	upgrader := websocket.Upgrader{
		WriteBufferPool:   noOwnBuffers{},
		EnableCompression: asked.deflate.On,
		CheckOrigin:       func(*http.Request) bool { return true }, // done before
		Error: func(_ http.ResponseWriter, _ *http.Request, status int, reason error) {
			problem = &refusal{status: status, err: reason}
		},
	}
	response := make(http.Header)
	if asked.offered.subprotocol != "" {
		response.Set("Sec-WebSocket-Protocol", asked.offered.subprotocol)
	}
	if asked.deflate.On {
		// The library looks for an offer by rules of its own. What counts is
		// what the response says.
		header := r.Header.Clone()
		header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
		r = r.WithContext(r.Context())
		r.Header = header
	}
	ws, err := upgrader.Upgrade(shake, r, response)
	if err == nil {
		sessionOpened()
		session.Serve(ws)
		return nil
	}
	session.Abort()
	switch {
	case problem != nil:
		return problem
	case errors.Is(err, errNoHijack):
		return caddyhttp.Error(http.StatusInternalServerError, err)
	default:
		// The response is out, or the connection gone: nobody is left to answer.
		h.logger.Debug("connection lost during the handshake", zap.Error(err))
		return nil
	}
}
