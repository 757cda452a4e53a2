package codec

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// The frames of the type "status": what a client should know without having
// asked. The member "status" tells which; those that a client does not know it
// passes over. Each has a type with a method Append, as the replies have.

// Waiting tells that a topic does not exist yet. Its records come, from the first
// on, when it is made.
type Waiting struct {
	// Topic is the topic.
	Topic string
}

// Append appends the frame:
//
//	{"type":"status","status":"waiting","topic":"orders"}
func (w *Waiting) Append(dst []byte) []byte {
	dst = appendTextMember(appendStatus(dst, "waiting"), "topic", w.Topic)
	return append(dst, '}')
}

// Unreachable tells that no broker has answered for some time. The session
// stays; records come again when brokers do.
type Unreachable struct {
	// Since is when the last answer came.
	Since time.Time
}

// Append appends the frame, with the time in milliseconds since 1970:
//
//	{"type":"status","status":"unreachable","since":1716400000123}
func (u *Unreachable) Append(dst []byte) []byte {
	dst = appendNumber(appendStatus(dst, "unreachable"), "since", u.Since.UnixMilli())
	return append(dst, '}')
}

// Reachable tells that brokers answer again, after Unreachable.
type Reachable struct{}

// Append appends the frame:
//
//	{"type":"status","status":"reachable"}
func (Reachable) Append(dst []byte) []byte {
	return append(appendStatus(dst, "reachable"), '}')
}

// CaughtUp tells that a subscription which began in the past, or had fallen
// behind, has reached the newest records.
type CaughtUp struct {
	// Topic is the topic.
	Topic string
}

// Append appends the frame:
//
//	{"type":"status","status":"caught_up","topic":"orders"}
func (c *CaughtUp) Append(dst []byte) []byte {
	dst = appendTextMember(appendStatus(dst, "caught_up"), "topic", c.Topic)
	return append(dst, '}')
}

// GapReason is why records will not be delivered.
type GapReason string

const (
	// GapDeleted: Kafka deleted the records before they were read (retention).
	GapDeleted GapReason = "deleted"
	// GapSlow: the client read too slowly, and the site drops the oldest then.
	GapSlow GapReason = "slow"
	// GapTruncated: the log was cut, which loses records that were read already,
	// and written anew from there on; to is below from.
	GapTruncated GapReason = "truncated"
	// GapRecreated: the topic was deleted and made again; it begins anew.
	GapRecreated GapReason = "recreated"
	// GapUnreadable: the records in Kafka are corrupt.
	GapUnreadable GapReason = "unreadable"
)

// Gap tells that records of a partition will not be delivered to the session.
type Gap struct {
	// Topic and Partition are where.
	Topic     string
	Partition int32
	// From is the first offset that is not delivered, To the next that is. To is
	// below From where the log was cut or made again: then the offsets between
	// them are given to other records.
	From, To int64
	// Reason is why.
	Reason GapReason
}

// Append appends the frame:
//
//	{"type":"status","status":"gap","topic":"orders","partition":0,"from":18,"to":40,"reason":"deleted"}
func (g *Gap) Append(dst []byte) []byte {
	dst = appendTextMember(appendStatus(dst, "gap"), "topic", g.Topic)
	dst = appendNumber(dst, "partition", int64(g.Partition))
	dst = appendNumber(dst, "from", g.From)
	dst = appendNumber(dst, "to", g.To)
	dst = appendTextMember(dst, "reason", string(g.Reason))
	return append(dst, '}')
}

// Progress tells where the session is where records alone do not: a filter passed
// records over, offsets have none, a topic that was waited for exists, it has new
// partitions.
type Progress struct {
	// Positions are those of the topics, or only of the partitions, that moved.
	Positions record.Positions
}

// Append appends the frame:
//
//	{"type":"status","status":"progress","positions":{"orders":{"offsets":{"0":18}}}}
func (p *Progress) Append(dst []byte) []byte {
	return append(appendPositions(appendStatus(dst, "progress"), p.Positions), '}')
}

// Partitions are numbers of partitions by topic.
type Partitions map[string][]int32

// Assigned tells a member of a group which partitions it has: at the beginning,
// and whenever there are new ones.
type Assigned struct {
	// Partitions are all that the member has now.
	Partitions Partitions
	// Positions are where those that it did not have before begin.
	Positions record.Positions
}

// Append appends the frame:
//
//	{"type":"status","status":"assigned","partitions":{"orders":[0,1]},"positions":{"orders":{"offsets":{"1":4}}}}
func (a *Assigned) Append(dst []byte) []byte {
	dst = appendPartitions(appendStatus(dst, "assigned"), a.Partitions)
	return append(appendPositions(dst, a.Positions), '}')
}

// Revoked tells a member of a group that it loses partitions. What it has not
// acknowledged of them is delivered to another member.
type Revoked struct {
	// Partitions are those that the member loses.
	Partitions Partitions
}

// Append appends the frame:
//
//	{"type":"status","status":"revoked","partitions":{"orders":[1]}}
func (r *Revoked) Append(dst []byte) []byte {
	return append(appendPartitions(appendStatus(dst, "revoked"), r.Partitions), '}')
}

// appendStatus appends the beginning of a status.
func appendStatus(dst []byte, status string) []byte {
	return appendTextMember(appendReply(dst, "status", nil), "status", status)
}

// appendPartitions appends the member "partitions", topics and partitions in
// their order.
func appendPartitions(dst []byte, partitions Partitions) []byte {
	dst = append(dst, `,"partitions":{`...)
	for i, topic := range slices.Sorted(maps.Keys(partitions)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuotedName(dst, topic)
		dst = append(dst, ":["...)
		for j, partition := range slices.Sorted(slices.Values(partitions[topic])) {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendInt(dst, int64(partition), 10)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
