package kafkaws

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/dedupe"
	"github.com/kafkaws/kafkaws/dialog"
	"github.com/kafkaws/kafkaws/filter"
	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/record"
)

// guestProducers is how many series of numbered records a client may have that
// nobody has authenticated. Clients make as many secrets as they like, so each is
// given less than a user.
const guestProducers = 8

// newMemories returns what remembers the numbered records of users, and of clients
// that nobody has authenticated: apart, so that these cannot crowd out those.
func newMemories() (users, guests *dedupe.Memory) {
	return dedupe.New(dedupe.Config{}), dedupe.New(dedupe.Config{Producers: guestProducers})
}

// newDialogs returns what makes dialogs for the handler's sessions of kafka-json.
// It must not hold the handler, which they outlive.
func (h *Handler) newDialogs() func(dialog.Config) gateway.Talk {
	in, s := h.chains.outNames, h.sessions
	shared := &dialog.Shared{
		Limits: codec.Limits{
			MaxTopics:      h.resolved.Limits.MaxTopics,
			MaxMessageSize: int(h.resolved.Limits.MaxMessageSize),
			MaxInFlight:    h.resolved.Limits.MaxInFlight,
			PingInterval:   time.Duration(h.resolved.PingInterval),
		},
		Earliest: h.resolved.Start == startEarliest,
		Inward:   in.Inward,
		Outward:  in.Outward,
		Filter:   s.filter,
		Users:    s.users,
		Guests:   s.guests,
	}
	if h.resolved.MissingTopics == missingReject {
		shared.Exists = s.source.Exists
	}
	return func(cfg dialog.Config) gateway.Talk { return dialog.New(shared, cfg) }
}

// filter returns what compiles a client's filter. Of one that is too long nothing is
// kept.
func (s *sessions) filter(expression string) gateway.MakeFilter {
	expression = strings.TrimSpace(expression)
	if len(expression) > filter.MaxLength {
		_, err := filter.Compile(expression)
		return func(context.Context) (gateway.Filter, error) { return nil, err }
	}
	expression = strings.Clone(expression)
	return func(ctx context.Context) (gateway.Filter, error) {
		f, err := s.filters.Get(ctx, expression)
		switch {
		case errors.Is(err, filter.ErrBusy):
			return nil, gateway.ErrFiltersBusy
		case err != nil:
			return nil, err
		}
		return f, nil
	}
}

// form is how a client of kafka-json wants its records.
type form struct {
	// batch is several in a message, and embed their values as JSON.
	batch, embed bool
	// ack has a member of a consumer group acknowledge records itself.
	ack bool
}

// form reads how a client of kafka-json wants its records.
func parseForm(query url.Values) (form, error) {
	var f form
	switch batch := query.Get("batch"); batch {
	case "", "0":
	case "1":
		f.batch = true
	default:
		return f, refused(http.StatusBadRequest, "", "illegal batch %q: it is 0 or 1", batch)
	}
	switch values := query.Get("values"); values {
	case "", "text":
	case "json":
		f.embed = true
	default:
		return f, refused(http.StatusBadRequest, "", "illegal values %q: they are text or json", values)
	}
	switch ack := query.Get("ack"); ack {
	case "", "auto":
	case "client":
		f.ack = true
	default:
		return f, refused(http.StatusBadRequest, "", "illegal ack %q: it is auto or client", ack)
	}
	return f, nil
}

// member has a session be a member of the consumer group that its client names.
func (h *Handler) member(asked *request, cfg *gateway.SessionConfig) {
	cfg.Group = &gateway.Group{
		Groups:     h.sessions.groups,
		Membership: record.Membership{Group: asked.group, Topics: asked.kafka, Start: asked.start},
		ByClient:   asked.form.ack,
		MaxUnacked: h.resolved.Limits.MaxUnacked,
	}
	cfg.Topics = nil
	cfg.Fields = append(cfg.Fields, zap.String("group", asked.group))
}

// talk has a session say more than records.
func talk(r *http.Request, asked *request, allowed *topicPolicy, cfg *gateway.SessionConfig) {
	name := sessionName()
	user, _ := replacer(r).GetString("http.auth.user.id")
	unacked := 0
	if cfg.Group != nil && cfg.Group.ByClient {
		unacked = cfg.Group.MaxUnacked
	}
	cfg.Talk = asked.offered.talk(dialog.Config{
		Session:      name,
		User:         user,
		MaySubscribe: allowed.maySubscribe,
		Topics:       asked.topics,
		Group:        asked.group,
		MaxUnacked:   unacked,
	})
	cfg.Batch = asked.form.batch
	cfg.Fields = append(cfg.Fields, zap.String("session", name))
}

// sessionName returns a name that no other session has.
func sessionName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
