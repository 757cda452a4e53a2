package codec

import (
	"strconv"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// The frames that answer requests. Each has a type with a method Append, which
// appends the frame to a buffer and returns it: one JSON object without white
// space. The IDs are those of the requests, byte for byte as DecodeRequests found
// them; where one is nil, the frame has none.

// Limits are what a session has to keep to. A limit of zero is none, and is not
// told.
type Limits struct {
	// MaxTopics is how many topics the session may be subscribed to.
	MaxTopics int
	// MaxMessageSize is how long a message of the client's may be, in bytes.
	MaxMessageSize int
	// MaxInFlight is how many of its publish requests may be unanswered before
	// the session is not read from.
	MaxInFlight int
	// MaxUnacked is how many records may be delivered and not acknowledged, where
	// the client does that.
	MaxUnacked int
	// PingInterval is after how long a silence the client is pinged.
	PingInterval time.Duration
}

// Welcome is the first frame of every session.
type Welcome struct {
	// Session names the session, in logs of the server's as well.
	Session string
	// Group is the consumer group that the session is a member of; empty is
	// none.
	Group string
	// ProducerSecret is what a client proves with that a producer's name is its
	// own when it comes back; empty where records cannot be numbered.
	ProducerSecret string
	// Limits are those of the session.
	Limits Limits
}

// Append appends the frame:
//
//	{"type":"welcome","session":"…","group":"…","producer_secret":"…","limits":{"max_topics":128,"max_message_size":1048576,"max_in_flight":256,"max_requests":1000,"max_unacked":1000,"ping_interval_ms":25000}}
//
// where group, producer_secret and the limits that are none are left out.
// max_requests is MaxRequests.
func (w *Welcome) Append(dst []byte) []byte {
	dst = appendReply(dst, "welcome", nil)
	dst = appendTextMember(dst, "session", w.Session)
	dst = appendOptional(dst, "group", w.Group)
	dst = appendOptional(dst, "producer_secret", w.ProducerSecret)
	dst = append(dst, `,"limits":{"max_requests":`...)
	dst = strconv.AppendInt(dst, MaxRequests, 10)
	for _, limit := range [...]struct {
		name string
		n    int64
	}{
		{"max_topics", int64(w.Limits.MaxTopics)},
		{"max_message_size", int64(w.Limits.MaxMessageSize)},
		{"max_in_flight", int64(w.Limits.MaxInFlight)},
		{"max_unacked", int64(w.Limits.MaxUnacked)},
		{"ping_interval_ms", w.Limits.PingInterval.Milliseconds()},
	} {
		if limit.n > 0 {
			dst = appendNumber(dst, limit.name, limit.n)
		}
	}
	return append(dst, "}}"...)
}

// Subscribed answers a subscribe request, and tells of the subscriptions that the
// request's parameters asked for. The records of the topics come after it, from
// its positions on.
type Subscribed struct {
	// ID is the request's; nil where the request's parameters asked.
	ID []byte
	// Topics are all topics of the request.
	Topics []string
	// Positions are where each of them begins, every partition named. A topic
	// that does not exist yet has none: it begins with its first record.
	Positions record.Positions
}

// Append appends the frame:
//
//	{"type":"subscribed","id":1,"topics":["orders"],"positions":{"orders":{"offsets":{"0":18,"1":4}}}}
func (s *Subscribed) Append(dst []byte) []byte {
	return appendSubscription(dst, "subscribed", s.ID, s.Topics, s.Positions)
}

// Unsubscribed answers an unsubscribe request. No record of the topics comes
// after it.
type Unsubscribed struct {
	// ID is the request's.
	ID []byte
	// Topics are all topics of the request.
	Topics []string
	// Positions are where each of them ended, and where a later subscription
	// can go on.
	Positions record.Positions
}

// Append appends the frame, which is as that of Subscribed.
func (u *Unsubscribed) Append(dst []byte) []byte {
	return appendSubscription(dst, "unsubscribed", u.ID, u.Topics, u.Positions)
}

func appendSubscription(dst []byte, kind string, id []byte, topics []string, at record.Positions) []byte {
	dst = appendReply(dst, kind, id)
	dst = appendTopics(dst, topics)
	dst = appendPositions(dst, at)
	return append(dst, '}')
}

// Published answers a publish request whose record is in Kafka.
type Published struct {
	// ID is the request's.
	ID []byte
	// Partition and Offset are the record's place. An Offset below zero is not
	// known, and a Partition below zero neither.
	Partition int32
	Offset    int64
	// Timestamp is the record's; the zero time is not known.
	Timestamp time.Time
	// Duplicate tells that the record had been written before, for an earlier
	// request with the same producer and sequence, and was not written again.
	Duplicate bool
}

// Append appends the frame:
//
//	{"type":"published","id":7,"partition":0,"offset":18,"timestamp":1716400000123,"duplicate":true}
//
// where what is not known is left out, and duplicate unless it is true.
func (p *Published) Append(dst []byte) []byte {
	dst = appendReply(dst, "published", p.ID)
	if p.Partition >= 0 {
		dst = appendNumber(dst, "partition", int64(p.Partition))
	}
	if p.Offset >= 0 {
		dst = appendNumber(dst, "offset", p.Offset)
	}
	if !p.Timestamp.IsZero() {
		dst = appendNumber(dst, "timestamp", p.Timestamp.UnixMilli())
	}
	if p.Duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	return append(dst, '}')
}

// Discarded answers a publish request whose record one of the site's transforms
// dropped.
type Discarded struct {
	// ID is the request's.
	ID []byte
}

// Append appends the frame:
//
//	{"type":"discarded","id":7}
func (d *Discarded) Append(dst []byte) []byte {
	return append(appendReply(dst, "discarded", d.ID), '}')
}

// Acked answers an ack or a nack.
type Acked struct {
	// ID is the request's.
	ID []byte
	// Positions are those of the request, which the group has committed now, or
	// greater ones; nil for a nack.
	Positions record.Positions
}

// Append appends the frame:
//
//	{"type":"acked","id":7,"positions":{"orders":{"offsets":{"0":18}}}}
//
// where positions is left out if it is nil.
func (a *Acked) Append(dst []byte) []byte {
	dst = appendReply(dst, "acked", a.ID)
	if a.Positions != nil {
		dst = appendPositions(dst, a.Positions)
	}
	return append(dst, '}')
}

// Resumed answers a resume request.
type Resumed struct {
	// ID is the request's.
	ID []byte
}

// Append appends the frame:
//
//	{"type":"resumed","id":7}
func (r *Resumed) Append(dst []byte) []byte {
	return append(appendReply(dst, "resumed", r.ID), '}')
}

// Pong answers a ping.
type Pong struct {
	// ID is the request's.
	ID []byte
}

// Append appends the frame:
//
//	{"type":"pong","id":7}
func (p *Pong) Append(dst []byte) []byte {
	return append(appendReply(dst, "pong", p.ID), '}')
}

// RetryAfter is the last frame before the server closes a session of its own
// accord. A client that is to come back waits that long first.
type RetryAfter struct {
	// Delay is how long, the client's share of the jitter included.
	Delay time.Duration
}

// Append appends the frame:
//
//	{"type":"retry_after","ms":1830}
func (r *RetryAfter) Append(dst []byte) []byte {
	dst = appendReply(dst, "retry_after", nil)
	dst = appendNumber(dst, "ms", max(0, r.Delay.Milliseconds()))
	return append(dst, '}')
}
