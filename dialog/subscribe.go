package dialog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/record"
)

// filterError is what is wrong with a client's filter.
type filterError struct{ error }

// filter returns what compiles a client's filter. That may have to wait for others,
// and so it is not done while the client is waited for.
func (d *Dialog) filter(expression string) gateway.MakeFilter {
	compile := d.Filter(expression)
	return func(ctx context.Context) (gateway.Filter, error) {
		f, err := compile(ctx)
		if err != nil && !errors.Is(err, gateway.ErrFiltersBusy) {
			err = &filterError{err}
		}
		return f, err
	}
}

// asked is what a client has asked for, until it is answered.
type asked struct {
	id     []byte
	topics []string
}

// subscribe begins subscriptions.
func (d *Dialog) subscribe(s *gateway.Session, q *codec.Request) {
	if d.cfg.Group != "" {
		d.fail(s, q.ID, codec.CodeBadRequest, "the topics of a member of a group are those that it connected with")
		return
	}
	sub := gateway.Subscription{Start: q.Start}
	for _, topic := range q.Topics {
		name, ok := "", record.ValidTopic(topic)
		if ok && !d.cfg.MaySubscribe(topic) {
			d.fail(s, q.ID, codec.CodeNotAllowed, fmt.Sprintf("this site does not let you subscribe to the topic %q", topic))
			return
		}
		if ok {
			name, ok = d.Inward(topic)
		}
		if !ok {
			d.fail(s, q.ID, codec.CodeUnknownTopic, fmt.Sprintf("there is no topic %q", topic))
			return
		}
		sub.Topics = append(sub.Topics, name)
	}
	if q.Filter != "" {
		sub.Filter = d.filter(q.Filter)
	}
	sub.Start.Positions = d.inward(q.Start.Positions)
	if sub.Start.Kind == record.StartDefault && d.Earliest {
		sub.Start.Kind = record.StartEarliest
	}
	// Of the request nothing may be kept: its memory is used again.
	a := &asked{id: slices.Clone(q.ID), topics: slices.Clone(q.Topics)}
	if !d.topics.want(a.topics) {
		d.fail(s, q.ID, codec.CodeTooManyTopics, fmt.Sprintf("the session would have more than %d topics", d.Limits.MaxTopics))
		return
	}
	sub.Request = a
	if exists := d.Exists; exists != nil {
		sub.Check = func(ctx context.Context, topic string) error { return exists(ctx, topic) }
	}
	s.Subscribe(sub)
}

// failed tells of a subscription that could not begin, or cannot go on.
func (d *Dialog) failed(e gateway.Failed) frame {
	f := &codec.Failure{}
	f.Code, f.Message = failure(e.Err)
	f.KafkaError = kafkaError(e.Err)
	if e.Topic != "" {
		f.Topic = d.name(e.Topic)
	}
	switch asked, ok := e.Request.(*asked); {
	case ok:
		f.ID = asked.id
		d.topics.failed(asked.topics)
	case f.Topic != "":
		d.topics.ended(f.Topic)
	default:
		d.topics.failed(d.cfg.Topics)
	}
	return f
}

// unsubscribe ends subscriptions.
func (d *Dialog) unsubscribe(s *gateway.Session, q *codec.Request) {
	if d.cfg.Group != "" {
		d.fail(s, q.ID, codec.CodeBadRequest, "the topics of a member of a group are those that it connected with")
		return
	}
	a := &asked{id: slices.Clone(q.ID), topics: slices.Clone(q.Topics)}
	names := make([]string, len(a.topics))
	missing, ok := d.topics.part(a.topics)
	if !ok {
		d.fail(s, q.ID, codec.CodeNotSubscribed, fmt.Sprintf("there is no subscription to the topic %q", missing))
		return
	}
	for i, topic := range a.topics {
		names[i], _ = d.Inward(topic) // it was known when it was subscribed to
	}
	s.Unsubscribe(a, names...)
}
