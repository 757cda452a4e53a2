package dialog

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/dedupe"
	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/record"
)

// Shared is what the dialogs of all sessions of a handler have in common.
type Shared struct {
	// Limits are told to clients. MaxTopics is kept to here.
	Limits codec.Limits
	// Earliest has subscriptions that do not say where begin with the first
	// record that there is.
	Earliest bool
	// Exists, if set, tells whether a topic, by its name in Kafka, exists. A
	// subscription to one that does not fails; otherwise it waits.
	Exists func(ctx context.Context, topic string) error
	// Inward returns the name in Kafka of a topic that clients know by another,
	// and Outward the reverse. They report false for a name that no topic has.
	Inward, Outward func(topic string) (name string, ok bool)
	// Filter returns what compiles a client's filter. Its errors, other than
	// gateway.ErrFiltersBusy, are sentences for the client. It does not keep the
	// memory of the expression.
	Filter func(expression string) gateway.MakeFilter
	// Users and Guests remember numbered records: of users that the site has
	// authenticated, and of clients that have nothing but a secret.
	Users, Guests *dedupe.Memory

	flights  sync.Pool // *flight
	requests sync.Pool // *[]codec.Request
}

// Config is what is a session's own.
type Config struct {
	// Session names the session.
	Session string
	// User is whom the site has authenticated; empty is nobody.
	User string
	// MaySubscribe tells which topics the client may subscribe to.
	MaySubscribe func(topic string) bool
	// Topics are the topics that the session begins with, by the names that the
	// client knows them by.
	Topics []string
	// Group is the consumer group that the session is a member of; empty is none.
	Group string
	// MaxUnacked is how many records the client may have that it has not
	// acknowledged; 0 where it does not do that.
	MaxUnacked int
}

// Dialog is the talk of one session.
type Dialog struct {
	*Shared
	cfg Config
	// owner is whom numbered records belong to, in memory; the reader's own.
	owner  string
	secret string
	memory *dedupe.Memory
	// resumed tells that the owner is that of an earlier session, numbers that a
	// record was numbered; both are the reader's own.
	resumed, numbers bool

	topics topics
}

// New returns the dialog of a new session.
func New(shared *Shared, cfg Config) *Dialog {
	d := &Dialog{Shared: shared, cfg: cfg, topics: topics{limit: shared.Limits.MaxTopics, all: make(map[string]*wish, len(cfg.Topics))}}
	if len(cfg.Topics) > 0 {
		d.topics.want(cfg.Topics) // they are no more than the limit
	}
	if cfg.User != "" {
		d.owner, d.memory = cfg.User, shared.Users
	} else {
		d.secret = dedupe.NewSecret()
		d.owner, d.memory = d.secret, shared.Guests
	}
	return d
}

// requests of one message are kept for the next up to this number: they take some
// hundred bytes each.
const keptRequests = 64

// Receive implements gateway.Talk.
func (d *Dialog) Receive(s *gateway.Session, binary bool, message []byte) {
	if binary {
		s.Close(gateway.CloseUnsupported, "kafka-json has text messages only")
		return
	}
	list, _ := d.requests.Get().(*[]codec.Request)
	if list == nil {
		list = new([]codec.Request)
	}
	requests, err := codec.DecodeRequests((*list)[:0], message)
	if err != nil {
		d.reply(s, &codec.Failure{Code: codec.CodeBadRequest, Message: err.Error()})
	}
	for i := range requests {
		d.answer(s, &requests[i])
	}
	if cap(requests) > 0 && cap(requests) <= keptRequests {
		*list = requests
		d.requests.Put(list)
	}
}

// answer acts on one request.
func (d *Dialog) answer(s *gateway.Session, q *codec.Request) {
	if q.Failure != nil {
		d.reply(s, q.Failure)
		return
	}
	switch q.Type {
	case codec.TypePublish:
		d.publish(s, q)
	case codec.TypeSubscribe:
		d.subscribe(s, q)
	case codec.TypeUnsubscribe:
		d.unsubscribe(s, q)
	case codec.TypeResume:
		d.resume(s, q)
	case codec.TypeAck:
		d.ack(s, q)
	case codec.TypeNack:
		d.nack(s, q)
	case codec.TypePing:
		d.reply(s, &codec.Pong{ID: q.ID})
	}
}

// frame is what can be sent.
type frame interface{ Append(dst []byte) []byte }

// reply sends a frame, which may overtake records.
func (d *Dialog) reply(s *gateway.Session, f frame) {
	var room [256]byte
	s.Send(gateway.Message{Data: f.Append(room[:0])})
}

// fail answers a request that is refused.
func (d *Dialog) fail(s *gateway.Session, id []byte, code codec.ErrorCode, message string) {
	d.reply(s, &codec.Failure{ID: id, Code: code, Message: message})
}

// Tell implements gateway.Talk.
func (d *Dialog) Tell(dst []byte, e gateway.Event) []byte {
	f := d.frame(e)
	if f == nil {
		return dst
	}
	return f.Append(dst)
}

// frame returns the frame that tells of an event, or nil.
func (d *Dialog) frame(e gateway.Event) frame {
	switch e := e.(type) {
	case gateway.Opened:
		limits := d.Limits
		limits.MaxUnacked = d.cfg.MaxUnacked
		return &codec.Welcome{Session: d.cfg.Session, Group: d.cfg.Group, ProducerSecret: d.secret, Limits: limits}
	case gateway.Begun:
		if asked, ok := e.Request.(*asked); ok {
			d.topics.done(asked.topics, true)
			return &codec.Subscribed{ID: asked.id, Topics: asked.topics, Positions: d.outward(e.Positions)}
		}
		d.topics.done(d.cfg.Topics, true)
		return &codec.Subscribed{Topics: d.cfg.Topics, Positions: d.outward(e.Positions)}
	case gateway.Ended:
		asked := e.Request.(*asked)
		d.topics.done(asked.topics, false)
		return &codec.Unsubscribed{ID: asked.id, Topics: asked.topics, Positions: d.outward(e.Positions)}
	case gateway.Failed:
		return d.failed(e)
	case gateway.Assigned:
		return &codec.Assigned{Partitions: d.partitions(e.Partitions), Positions: d.outward(e.Positions)}
	case gateway.Revoked:
		return &codec.Revoked{Partitions: d.partitions(e.Partitions)}
	case gateway.Gap:
		return &codec.Gap{Topic: d.name(e.Topic), Partition: e.Partition, From: e.From, To: e.Next, Reason: gapReasons[e.Reason]}
	case gateway.Progress:
		return &codec.Progress{Positions: d.outward(e.Positions)}
	case gateway.Waiting:
		return &codec.Waiting{Topic: d.name(e.Topic)}
	case gateway.CaughtUp:
		return &codec.CaughtUp{Topic: d.name(e.Topic)}
	case gateway.Unreachable:
		return &codec.Unreachable{Since: e.Since}
	case gateway.Reachable:
		return codec.Reachable{}
	case gateway.Closing:
		return retryAfter(e.Code)
	}
	return nil
}

// gapReasons are the reasons of losses as clients are told them.
var gapReasons = map[record.LossReason]codec.GapReason{
	record.LossExpired:    codec.GapDeleted,
	record.LossTruncated:  codec.GapTruncated,
	record.LossRecreated:  codec.GapRecreated,
	record.LossUnreadable: codec.GapUnreadable,
	record.LossSkipped:    codec.GapSlow,
}

// name returns the name that clients know a topic by.
func (d *Dialog) name(kafka string) string {
	name, _ := d.Outward(kafka)
	return name
}

// outward has positions be by the names that clients know.
func (d *Dialog) outward(at record.Positions) record.Positions {
	named := make(record.Positions, len(at))
	for topic, p := range at {
		named[d.name(topic)] = p
	}
	return named
}

// inward has positions be by the names in Kafka.
func (d *Dialog) inward(at record.Positions) record.Positions {
	if at == nil {
		return nil
	}
	named := make(record.Positions, len(at))
	for topic, p := range at {
		if name, ok := d.Inward(topic); ok {
			named[name] = p
		}
	}
	return named
}

const (
	// soon and later are the times after which clients come back, at the
	// earliest and at the latest: such that they do not come in one instant.
	soon  = 200 * time.Millisecond
	later = 2 * time.Second
	// patience is how much longer they wait for a Kafka that is unreachable.
	patience = 3 * time.Second
)

// retryAfter tells a client that is about to be closed, and may come back, when.
func retryAfter(code int) frame {
	var extra time.Duration
	switch {
	case code == gateway.CloseTryLater:
		extra = patience
	case code == gateway.CloseGoingAway, code == gateway.CloseRestart, 4000 <= code && code < 4500:
	default:
		return nil
	}
	return &codec.RetryAfter{Delay: soon + extra + rand.N(later-soon)}
}

// resume has the session go on with the numbered records of an earlier one. It may
// do so once: a secret costs nothing, and each gives room for more records.
func (d *Dialog) resume(s *gateway.Session, q *codec.Request) {
	if d.cfg.User == "" && q.Secret != d.owner {
		switch {
		case !dedupe.ValidSecret(q.Secret):
			d.fail(s, q.ID, codec.CodeBadRequest, `"producer_secret" is none that a welcome has`)
			return
		case d.numbers:
			d.fail(s, q.ID, codec.CodeBadRequest, "resume comes before the session's first numbered record")
			return
		case d.resumed:
			d.fail(s, q.ID, codec.CodeBadRequest, "the session has resumed with another producer_secret")
			return
		}
		d.owner, d.resumed = q.Secret, true
	}
	d.reply(s, &codec.Resumed{ID: q.ID})
}

// failure returns the code and the sentence that tell a client why Kafka, or the
// gateway, did not do what it asked for.
func failure(err error) (codec.ErrorCode, string) {
	var illegal *filterError
	switch {
	case errors.As(err, &illegal):
		return codec.CodeBadFilter, illegal.Error()
	case errors.Is(err, gateway.ErrFiltersBusy):
		return codec.CodeUnavailable, "too many filters are being compiled for now"
	case errors.Is(err, record.ErrOffsetGone):
		return codec.CodeOffsetGone, "kafka no longer has the records after the position"
	case errors.Is(err, record.ErrUnknownTopic):
		return codec.CodeUnknownTopic, "kafka has no such topic"
	case errors.Is(err, gateway.ErrIllegalTopic):
		return codec.CodeUnknownTopic, "kafka has no topics of such a name"
	case errors.Is(err, gateway.ErrTooManyFilters):
		return codec.CodeUnavailable, "the topic has too many different filters for now"
	case errors.Is(err, gateway.ErrTooManyMissing):
		return codec.CodeUnavailable, "the gateway waits for too many topics that do not exist for now"
	case errors.Is(err, gateway.ErrSlowFilter):
		return codec.CodeUnavailable, "the filter takes too long for what comes in this topic; try a simpler one"
	case errors.Is(err, gateway.ErrSlowFilters):
		return codec.CodeUnavailable, "the topic has no time for new filters for now"
	case errors.Is(err, gateway.ErrDenied):
		return codec.CodeNotAllowed, "this site does not let you publish to that topic"
	case errors.Is(err, gateway.ErrTransform):
		return codec.CodeTransformFailed, "a transform of the site failed on the record"
	case errors.Is(err, gateway.ErrEnding), errors.Is(err, record.ErrClosed), errors.Is(err, context.Canceled):
		return codec.CodeUnavailable, "the session ends"
	case errors.Is(err, gateway.ErrNoGroup):
		return codec.CodeNoGroup, "the session is no member of a group (group.id) that waits for acknowledgements (ack=client)"
	case errors.Is(err, record.ErrNotAssigned), errors.Is(err, gateway.ErrNotDelivered):
		return codec.CodeNotAssigned, "the session does not have the partition, or not the record"
	case errors.Is(err, record.ErrTooLarge):
		return codec.CodeTooLarge, "the record is larger than kafka takes"
	case errors.Is(err, record.ErrUnknownOutcome):
		return codec.CodeUnknownOutcome, "kafka did not answer in time; the record may have been written or not"
	case errors.Is(err, record.ErrUnavailable):
		return codec.CodeUnavailable, "kafka is unreachable"
	case errors.Is(err, record.ErrRefused):
		return codec.CodeRefused, "kafka refused it"
	default:
		return codec.CodeInternal, "the gateway failed"
	}
}

// kafkaError returns Kafka's own name for an error, where it has one.
func kafkaError(err error) string {
	var named interface{ KafkaError() string }
	if errors.As(err, &named) {
		return named.KafkaError()
	}
	return ""
}

// Interface guard.
var _ gateway.Talk = (*Dialog)(nil)
