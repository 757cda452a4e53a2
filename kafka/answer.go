package kafka

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/kafkaws/kafkaws/record"
)

// verdict is what an answer says about the batch that was sent.
type verdict int8

const (
	// written: the broker has it.
	written verdict = iota
	// untouched: the broker did not write it, and may do so later.
	untouched
	// unsent: no broker can have got all of the request, and none does anything
	// with a part of one.
	unsent
	// astray: whether it was written is not known; sending it again under the
	// same number tells.
	astray
	// misplaced: the broker did not write it, because its number does not follow
	// what it knows of the partition.
	misplaced
	// disowned: the broker did not write it, because of the producer's id.
	disowned
	// indigestible: the broker did not write it, because of its size or of some
	// record in it.
	indigestible
	// refused: the broker did not write it, and never will.
	refused
	// obscure: whether it was written is not known, and sending it again would
	// not tell.
	obscure
)

// again reports whether the batch is to be sent again as it is.
func (v verdict) again() bool { return v == untouched || v == unsent || v == astray }

// answer is what became of an attempt to write a batch.
type answer struct {
	verdict verdict
	offset  int64 // of the first record; -1 if it is not known
	// appended is when the broker wrote the records, where that is their time
	// from then on; else the zero time. See batch.timestamp.
	appended time.Time
	culprit  []int // the records, by place, that the batch was turned down for
	err      error
}

// verdicts says what the brokers' errors mean. Those that a leader may also give
// after it has written a batch, because it then lost the leadership or waited in
// vain for the replicas, leave the fate open.
var verdicts = map[sarama.KError]verdict{
	sarama.ErrNoError:                      written,
	sarama.ErrDuplicateSequenceNumber:      written,
	sarama.ErrNotEnoughReplicas:            untouched,
	sarama.ErrThrottlingQuotaExceeded:      untouched,
	sarama.ErrNotLeaderForPartition:        astray,
	sarama.ErrLeaderNotAvailable:           astray,
	sarama.ErrReplicaNotAvailable:          astray,
	sarama.ErrBrokerNotAvailable:           astray,
	sarama.ErrFencedLeaderEpoch:            astray,
	sarama.ErrUnknownLeaderEpoch:           astray,
	sarama.ErrUnknownTopicOrPartition:      astray,
	errUnknownTopicID:                      astray,
	sarama.ErrRequestTimedOut:              astray,
	sarama.ErrNetworkException:             astray,
	sarama.ErrNotEnoughReplicasAfterAppend: astray,
	sarama.ErrKafkaStorageError:            astray,
	sarama.ErrOutOfOrderSequenceNumber:     misplaced,
	sarama.ErrUnknownProducerID:            misplaced,
	sarama.ErrInvalidProducerEpoch:         disowned,
	sarama.ErrProducerFenced:               disowned,
	sarama.ErrInvalidProducerIDMapping:     disowned,
	sarama.ErrMessageSizeTooLarge:          indigestible,
	sarama.ErrMessageSetSizeTooLarge:       indigestible,
	sarama.ErrInvalidMessageSize:           indigestible,
	sarama.ErrInvalidRecord:                indigestible,
	sarama.ErrInvalidTimestamp:             indigestible,
	sarama.ErrInvalidMessage:               indigestible,
}

// newAnswer reads a partition's part of an answer, which is nil when it has none.
func newAnswer(block *sarama.ProduceResponseBlock) answer {
	if block == nil {
		return answer{verdict: astray, offset: -1, err: sarama.ErrIncompleteResponse}
	}
	a := answer{offset: block.Offset, appended: utc(block.Timestamp)}
	if block.Err != sarama.ErrNoError {
		a.offset, a.err = -1, block.Err
	}
	v, known := verdicts[block.Err]
	switch {
	case known:
		a.verdict = v
	case refusals[block.Err] != "":
		a.verdict = refused
	default:
		a.verdict = obscure
	}
	for _, e := range block.RecordErrors {
		a.culprit = append(a.culprit, int(e.BatchIndex))
	}
	return a
}

// land deals with what became of the batch that was on its way.
func (ln *lane) land(b *batch, a answer) {
	o := ln.o
	o.mu.Lock()
	if b.open && a.verdict != written && !a.verdict.again() {
		// It is an attempt before that counts now, and nobody knows of that one.
		a.verdict = obscure
	}
	expired := b.reported == len(b.entries)
	if a.verdict == astray || a.verdict == obscure {
		b.open = true
	} else {
		b.why = a.err
	}
	switch {
	case a.verdict == written:
		ln.failures = 0
		ln.numbering = ln.after(len(b.entries))
		o.mu.Unlock()
		ln.deliver(b, a)
		return
	case expired || o.dead:
		ln.giveUp()
		ln.proceed()
		o.mu.Unlock()
	case a.verdict.again():
		ln.park()
		o.mu.Unlock()
	case a.verdict == misplaced:
		o.p.identity.bump(ln.numbering)
		b.renew()
		ln.park()
		o.mu.Unlock()
	case a.verdict == disowned:
		o.p.identity.discard(ln.numbering)
		o.p.identity.want()
		b.renew()
		ln.park()
		o.mu.Unlock()
	case a.verdict == indigestible && len(b.entries) > max(1, len(a.culprit)):
		ln.divide(b, a) // unlocks
	default:
		ln.fail(b, a) // unlocks
	}
	if a.verdict != astray && a.verdict != unsent {
		o.p.note(o.topic, a.err)
	}
}

// deliver reports a batch as written, and goes on with the next one. That comes
// after the reports, so that it also has what they set free.
func (ln *lane) deliver(b *batch, a answer) {
	o := ln.o
	o.mu.Lock()
	from := b.reported
	b.reported = len(b.entries)
	again := b.open
	o.mu.Unlock()
	out := record.Outcome{Partition: ln.partition, Offset: -1}
	for i := from; i < len(b.entries); i++ {
		if a.offset >= 0 {
			out.Offset = a.offset + int64(i)
			out.Timestamp = b.timestamp(i, a.appended, again)
		}
		b.entries[i].done(out)
	}
	o.mu.Lock()
	ln.sending = nil
	o.leave(len(b.entries), b.size)
	ln.proceed()
	o.mu.Unlock()
	o.p.recycle(b)
}

// fail reports a batch as not written, or as of unknown outcome if that is not
// sure. The caller holds o.mu, which is released.
func (ln *lane) fail(b *batch, a answer) {
	o := ln.o
	from := b.reported
	b.reported = len(b.entries)
	o.mu.Unlock()
	out := record.Outcome{Partition: ln.partition, Offset: -1, Err: classify(a.err, b.open)}
	for i := from; i < len(b.entries); i++ {
		b.entries[i].done(out)
	}
	o.mu.Lock()
	ln.giveUp()
	ln.proceed()
	o.mu.Unlock()
}

// divide goes on with the parts of a batch that was turned down for its size or
// for some of its records. Where the broker tells which ones (KIP-467), those fail
// and the others go on; else the halves go on, until the records that are to
// blame are alone. Nothing was written, so the numbers are still free. The caller
// holds o.mu, which is released.
func (ln *lane) divide(b *batch, a answer) {
	o := ln.o
	defer o.mu.Unlock()
	if named := valid(a.culprit, len(b.entries)); len(named) > 0 {
		out := record.Outcome{Partition: ln.partition, Offset: -1, Err: classify(a.err, false)}
		removed := b.remove(named)
		size := 0
		for i := range removed {
			size += removed[i].size
		}
		o.mu.Unlock()
		for i := range removed {
			if removed[i].done != nil {
				removed[i].done(out)
			}
		}
		o.mu.Lock()
		o.leave(len(removed), size)
		ln.list()
		return
	}
	if errors.Is(a.err, sarama.ErrMessageSizeTooLarge) || errors.Is(a.err, sarama.ErrMessageSetSizeTooLarge) {
		// The next ones are to fit at once.
		o.limit = min(o.limit, b.size/2)
	}
	if n := b.reported; n > 0 {
		// As trim does, so that no half has records with an outcome.
		size := b.drop(n)
		b.reported = 0
		o.leave(n, size)
	}
	if n := len(b.entries) / 2; n > 0 {
		ln.prepend(b.split(n))
	} else {
		b.renew()
	}
	ln.list()
}

// valid returns the places if they are places of a batch of n records, in order.
func valid(places []int, n int) []int {
	last := -1
	for _, p := range places {
		if p <= last || p >= n {
			return nil
		}
		last = p
	}
	return places
}

// note tells the log, now and then, about records that Kafka does not take.
func (p *Producer) note(topic string, err error) {
	if p.ctx.Err() == nil && p.odd.allow() {
		p.c.log.Warn("kafka did not take a batch of records; it is tried again where that may help", zap.String("topic", topic), zap.Error(err))
	}
}

// classify turns the reason for giving up a record into one of the errors of
// package record. open says that it may have been written. The text names no
// broker, as it may be shown to clients; it has Kafka's name for the reason.
func classify(err error, open bool) error { return named(meaning(err, open), err) }

func meaning(err error, open bool) error {
	var k sarama.KError
	switch {
	case open:
		return fmt.Errorf("writing a record: no acknowledgement came: %w", record.ErrUnknownOutcome)
	case errors.Is(err, sarama.ErrMessageSizeTooLarge), errors.Is(err, sarama.ErrMessageSetSizeTooLarge),
		errors.Is(err, sarama.ErrInvalidMessageSize):
		return fmt.Errorf("writing a record: the broker or the topic takes none of its size (max.message.bytes): %w", record.ErrTooLarge)
	case errors.As(err, &k) && refusals[k] != "":
		return fmt.Errorf("writing a record: %s: %w", refusals[k], record.ErrRefused)
	}
	return fmt.Errorf("writing a record: the producer cannot write it: %w", record.ErrRefused)
}
