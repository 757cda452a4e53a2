package record

import (
	"context"
	"errors"
	"time"
)

// Groups lets sessions be members of Kafka's consumer groups.
type Groups interface {
	// Join makes a new member of a group. It does not block and dials in the
	// background: what becomes of it is told by Member.Next. Each member is to
	// be ended by Member.Leave, also one that has failed.
	Join(m Membership) Member
}

// Membership says what a member joins, and what it reads.
type Membership struct {
	// Group is the group's id; not empty.
	Group string
	// Topics are the names of the topics to read; at least one. They need not
	// exist yet.
	Topics []string
	// Start says where a partition begins for which the group has no committed
	// offset; the zero Start is StartLatest. Of StartPositions, a partition that
	// is not named begins at 0, and a topic that is not named at its end. It is
	// looked up when the partition is assigned; StartAgo counts from the call of
	// Join. A partition that was made after the member had first seen its topic begins
	// at its first record, whatever Start says; so does one behind all that the group
	// had begun before the call, where it had begun all from 0 on: it is taken for
	// one that was made later. Where a start was found it is
	// committed before the first record is delivered, so that the next owner of
	// the partition begins there too.
	Start Start
	// ClientID is the name by which brokers and Kafka's tools show the member;
	// empty is the cluster's.
	ClientID string
	// CommitInterval is how long a Done may wait before it is committed; 0 is
	// one second.
	CommitInterval time.Duration
}

// ErrNotAssigned means that a member does not hold a partition, or not any more.
var ErrNotAssigned = errors.New("partition is not assigned to this member")

// Member is one member of a consumer group. It is pulled: nothing is read far
// ahead of Next, and a member whose Next is not called stays in the group and
// keeps its partitions for as long as it likes.
//
// One goroutine calls Next and NextChange; the other methods may be called from any.
//
// While Kafka is not reachable a member keeps trying, without end and without a
// word: Next waits.
type Member interface {
	// Next waits for the next event: GroupAssigned, GroupRevoked, GroupRecords,
	// GroupLoss, GroupMissing or GroupFailed. The order of the events is exact:
	// a partition's records come between the GroupAssigned that names it as new
	// and the GroupRevoked that names it, in the order of their offsets, but for
	// what Rewind has delivered again.
	//
	// It returns an error that wraps ctx.Err() when ctx is done before there is
	// one, in which case no event is lost, and one that wraps ErrClosed after
	// GroupFailed or once Leave was called.
	Next(ctx context.Context) (GroupEvent, error)
	// NextChange waits like Next, but for a GroupAssigned, GroupRevoked,
	// GroupMissing or GroupFailed only, and overtakes the records and losses that
	// wait before it. It is for a caller that can take no records for now, and is
	// to hear all the same that it has lost those it has. The events of a
	// partition stay in order: what was read of a partition that is revoked does
	// not come any more.
	NextChange(ctx context.Context) (GroupEvent, error)
	// Done notes that the caller is done with everything of a partition before
	// next. It does not block: the position is committed in the background,
	// after Membership.CommitInterval at most, and before the partition is given
	// away or the member leaves, as far as Kafka answers by then.
	//
	// Positions only grow: a smaller one is ignored. One behind what Next has
	// returned counts as that. It is ignored for a partition that is not held,
	// which may be the case before Next has returned the GroupRevoked. A partition
	// that was lost and got again is held from its new GroupAssigned on.
	Done(topic string, partition int32, next int64)
	// Commit does what Done does, for several positions, by topic and partition,
	// and returns nil once Kafka has them, or greater ones. While the group is
	// being rebalanced it waits until it is known whether the partitions stay.
	//
	// Its error wraps ErrNotAssigned when the member does not hold one of the
	// partitions, or the group has gone on without the member: then nothing of
	// the call is noted, or it is not known whether it was committed.
	// ErrRefused: a position behind what Next has returned, of which nothing is
	// noted; or Kafka does not let the gateway commit. ErrUnknownTopic: the
	// topic was deleted. ErrUnavailable: ctx was done before there was an
	// answer; the positions count as Done and are tried again in the background.
	// ErrClosed: the member has left or failed.
	Commit(ctx context.Context, next map[string]map[int32]int64) error
	// Rewind has a partition delivered again from an offset on, after a delay
	// in which nothing of it is delivered; the other partitions go on. What was
	// read of the partition and not yet returned by Next is dropped and read
	// again. Of what Next had returned from the offset on, a Done that comes
	// later counts as a Done of the offset only, and a Commit is refused, until it
	// was delivered again.
	//
	// A committed position is not moved back by it: should the member lose the
	// partition before the records were delivered again, those before the
	// committed position do not come again. So whoever means to have a record
	// delivered again does not note it as done before. An offset that Kafka no
	// longer has is told by GroupLoss. The error wraps ErrNotAssigned when the
	// member does not hold the partition, ErrRefused for an offset below 0 or
	// behind what Next has returned.
	Rewind(topic string, partition int32, offset int64, delay time.Duration) error
	// Leave commits what is done and leaves the group, so that the others get
	// the partitions at once. When ctx is done before, it breaks its connections
	// instead, and the group notices after the session timeout. When Leave
	// returns the member holds no connection and no goroutine. No event comes
	// any more, not even GroupRevoked. Calling it again waits for the first
	// call's end. Leave before closing the cluster, whose Close breaks the
	// connections.
	Leave(ctx context.Context)
}

// GroupEvent is something that happened to a member: one of the Group* types.
type GroupEvent interface{ groupEvent() }

// GroupAssigned tells that the member was given partitions, or, the first time,
// that it has joined, possibly without any.
//
// Partitions that the member keeps over a rebalance are neither revoked nor
// assigned again: nothing of them is delivered twice, and what was delivered
// before the rebalance can be noted as done after it. Only while the rebalance
// lasts, mostly for about a second, Next returns no records.
type GroupAssigned struct {
	// Partitions are all that the member holds now, by topic, in order.
	// Partitions of which nothing is known to begin at yet, because they have no
	// leader, are among them only when another GroupAssigned tells their start.
	Partitions map[string][]int32
	// Next are the offsets at which the new ones begin, by topic and partition.
	// It is empty when the member has joined and got none.
	Next map[string]map[int32]int64
}

// GroupRevoked tells that partitions are no longer the member's. What was noted
// as done before the group asked for them has been committed, as far as Kafka
// answered; the rest is delivered to their next owner.
type GroupRevoked struct {
	// Partitions are those that were taken, by topic, in order.
	Partitions map[string][]int32
}

// GroupRecords are records of one partition.
type GroupRecords struct {
	// Topic is the topic of the records.
	Topic string
	// Batch are the records, with about 256 KiB of keys, values and headers at
	// most, but for a single record that is larger. It has none where only the
	// position moved on, over records that are not shown: markers and aborted
	// records of transactions. Whoever is done with all before notes Batch.Next
	// as done then, too.
	Batch Batch
}

// GroupLoss tells that reading of a partition does not simply go on: a committed
// offset, one that was rewound to, or the next one, is not in the log. Reading
// goes on at Loss.Next by itself. The caller notes Loss.Next as Done when it has
// dealt with that; until then the loss may be told to the partition's next owner
// again. Where the log is another one (LossTruncated, LossRecreated), positions of
// the old one count no longer: they are not committed, which is no error, and Done
// may go back to Loss.Next.
type GroupLoss struct {
	// Topic is the topic of the partition.
	Topic string
	// Loss says which partition, from where on, and why.
	Loss Loss
}

// GroupMissing tells, once for each time it is found out, that a topic does not
// exist. The member goes on with the others and gets the topic's partitions when
// it is made.
type GroupMissing struct {
	// Topic is the topic's name.
	Topic string
}

// GroupFailed tells that the member cannot go on. It is the last event. The
// member holds no partition any more.
type GroupFailed struct {
	// Err wraps ErrRefused: the gateway has no right to the group or to a topic,
	// the group is full or its members agree on no assignor, the group's id is
	// illegal. Or ErrClosed: the cluster was closed.
	Err error
}

func (GroupAssigned) groupEvent() {}
func (GroupRevoked) groupEvent()  {}
func (GroupRecords) groupEvent()  {}
func (GroupLoss) groupEvent()     {}
func (GroupMissing) groupEvent()  {}
func (GroupFailed) groupEvent()   {}
