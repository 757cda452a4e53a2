package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

const (
	// maxAsked is how many of a client's subscriptions and ends of such may wait
	// before the client is no longer read from.
	maxAsked = 16
	// maxOrders is how many of them may be ready to be carried out before no other
	// is begun with: each has places in the tails, and a filter of the few that a
	// topic may have.
	maxOrders = 2
	// settlePatience is how long it may take to make a subscription's filter and to
	// find out where it begins.
	settlePatience = 5 * time.Second
)

// Subscription is a client's wish to get records.
type Subscription struct {
	// Request is whatever helps to tell the client of it: the events have it.
	Request any
	// Topics are the topics, each once, by their names in Kafka.
	Topics []string
	// Start says where they begin; the zero Start is their end.
	Start record.Start
	// Filter, if set, makes what records have to match. Its error is that of
	// Failed.
	Filter MakeFilter
	// Check, if set, is asked about each of the topics before that; its error is
	// that of Failed.
	Check func(ctx context.Context, topic string) error
}

// ask is a subscription, or the end of some.
type ask struct {
	Subscription
	end bool
}

// order is something that is done at a point of the stream of records.
type order struct {
	ask
	// followers are those that begin, one for each topic of a subscription.
	followers []*follower
	// failed is why the subscription cannot begin.
	failed error
	// progress has the client told its positions, and nothing else.
	progress bool
}

// Subscribe begins to follow topics, all or none, after everything that was asked
// for before. One that the session follows already begins anew. It is for sessions
// that talk, which are told of Begun or Failed, and only for the goroutine that
// Receive is called by, which it has wait while too much was asked for.
func (s *Session) Subscribe(sub Subscription) { s.ask(ask{Subscription: sub}) }

// Unsubscribe ends to follow topics, after everything that was asked for before.
// It is otherwise like Subscribe; the session is told of Ended.
func (s *Session) Unsubscribe(request any, topics ...string) {
	s.ask(ask{Subscription{Request: request, Topics: topics}, true})
}

func (s *Session) ask(a ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.talking
	for len(t.asked) >= maxAsked && !s.closing && !s.broken {
		s.paused.Store(true)
		s.changed.Wait()
	}
	s.paused.Store(false)
	if s.closing || s.broken || s.left {
		return
	}
	t.asked = append(t.asked, a)
	if !t.arranging {
		t.arranging = true
		go s.arrange()
	}
}

// arrange finds out where subscriptions begin, one after the other, so that what
// a client asks for happens in its order. It waits for the flusher, which may wait
// for the client, and so in the end the client is not read from.
func (s *Session) arrange() {
	for {
		a, ok := s.nextAsked()
		if !ok {
			return
		}
		o := order{ask: a}
		if !a.end {
			ctx, cancel := context.WithTimeout(s.talking.ctx, settlePatience)
			err := a.check(ctx)
			if err == nil {
				o.followers, err = s.pool.cfg.Hub.follow(ctx, s, a.Subscription)
			}
			cancel()
			o.failed = err
			// The followers have what they need of it, and positions may be many.
			o.Start, o.Filter, o.Check = record.Start{}, nil, nil
		}
		s.order(o)
	}
}

// check asks whether the topics may be followed.
func (sub *Subscription) check(ctx context.Context) error {
	if sub.Check == nil {
		return nil
	}
	for _, topic := range sub.Topics {
		if err := sub.Check(ctx, topic); err != nil {
			return err
		}
	}
	return nil
}

// nextAsked waits until there is room for another order, and takes what was asked
// for next. It reports false when there is nothing, or the session has ended.
func (s *Session) nextAsked() (ask, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.talking
	for len(t.asked) > 0 && len(t.orders) >= maxOrders && !s.left {
		s.changed.Wait()
	}
	if len(t.asked) == 0 || s.left {
		t.asked, t.arranging = nil, false
		return ask{}, false
	}
	a := t.asked[0]
	t.asked = slices.Delete(t.asked, 0, 1)
	s.changed.Broadcast()
	return a, true
}

// order has the flusher do something.
func (s *Session) order(o order) {
	s.mu.Lock()
	left := s.left
	if !left {
		s.talking.orders = append(s.talking.orders, o)
	}
	s.mu.Unlock()
	if left {
		for _, f := range o.followers {
			f.leave()
		}
		return
	}
	s.wake()
}

// takeOrder takes the next order.
func (s *Session) takeOrder() (o order, ok bool) {
	if s.talking == nil {
		return o, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	orders := s.talking.orders
	if len(orders) == 0 || s.left {
		return o, false
	}
	o = orders[0]
	s.talking.orders = slices.Delete(orders, 0, 1)
	if len(orders) == 1 {
		s.talking.orders = nil
	}
	s.changed.Broadcast()
	return o, true
}

// carryOut does what was ordered, at this point of the stream. It is the
// flusher's.
func (s *Session) carryOut(o order) error {
	switch {
	case o.progress:
		for _, f := range s.followers {
			if err := s.tellProgress(f); err != nil {
				return err
			}
		}
		return nil
	case o.end:
		return s.end(o.ask)
	case o.failed != nil:
		return s.tell(Failed{Request: o.Request, Err: o.failed})
	default:
		return s.begin(o)
	}
}

// begin begins subscriptions.
func (s *Session) begin(o order) error {
	for _, f := range o.followers {
		s.drop(f.tail.topic.name)
	}
	if !s.adopt(o.followers) {
		return nil
	}
	e := Begun{Request: o.Request, Topics: o.Topics, Positions: make(record.Positions)}
	for _, f := range o.followers {
		if at := f.opening(); len(at.Offsets) > 0 {
			e.Positions[f.tail.topic.name] = at
		}
	}
	if err := s.tell(e); err != nil {
		return err
	}
	for _, f := range o.followers {
		name := f.tail.topic.name
		if _, known := e.Positions[name]; !known {
			if err := s.tell(Waiting{name}); err != nil {
				return err
			}
		}
		if f.resumed == nil {
			continue
		}
		for _, loss := range f.resumed.gaps {
			if err := s.tell(Gap{name, loss}); err != nil {
				return err
			}
		}
		f.resumed = nil
	}
	return nil
}

// end ends subscriptions.
func (s *Session) end(a ask) error {
	e := Ended{Request: a.Request, Topics: a.Topics, Positions: make(record.Positions)}
	for _, name := range a.Topics {
		if f := s.follower(name); f != nil {
			if err := s.tellProgress(f); err != nil {
				return err
			}
			s.drop(name)
			if at := f.position(); len(at.Offsets) > 0 {
				e.Positions[name] = at
			}
		}
	}
	return s.tell(e)
}

// adopt has the flusher serve followers. Those of a session that has ended leave
// their tails instead.
func (s *Session) adopt(followers []*follower) bool {
	s.mu.Lock()
	left := s.left
	if !left {
		// Others may be going through the slice.
		s.followers = append(slices.Clip(s.followers), followers...)
	}
	s.mu.Unlock()
	if left {
		for _, f := range followers {
			f.leave()
		}
	}
	return !left
}

// follower returns what follows a topic, or nil.
func (s *Session) follower(topic string) *follower {
	for _, f := range s.followers {
		if f.tail.topic.name == topic {
			return f
		}
	}
	return nil
}

// drop ends to follow a topic.
func (s *Session) drop(topic string) {
	i := slices.IndexFunc(s.followers, func(f *follower) bool { return f.tail.topic.name == topic })
	if i < 0 {
		return
	}
	f := s.followers[i]
	s.mu.Lock()
	left := s.left
	s.followers = slices.Delete(slices.Clone(s.followers), i, i+1)
	s.mu.Unlock()
	s.turn = 0
	if !left {
		f.leave()
	}
}

// filterDismissed ends a subscription whose filter takes too long.
func (s *Session) filterDismissed(f *follower) error {
	if s.talking == nil {
		s.Close(CloseTryLater, ErrSlowFilter.Error())
		return nil
	}
	return s.abandon(f, ErrSlowFilter)
}

// abandon ends a subscription that cannot go on.
func (s *Session) abandon(f *follower, err error) error {
	name := f.tail.topic.name
	s.drop(name)
	return s.tell(Failed{Topic: name, Err: err})
}
