package codec

import (
	"strconv"
	"unicode/utf8"
)

// ErrorCode is the member "code" of an error: what went wrong, for programs. The
// list is closed as far as a client needs to tell them apart, but a later version
// may have more; one that is not known is to be judged by "retriable".
type ErrorCode string

// The codes of errors. Those of a publish request say nothing about the requests
// before and after it.
const (
	// CodeBadRequest: the message is not JSON, or the request is not as the
	// protocol has it. The message says what is wrong. Nothing was done.
	// Not retriable.
	CodeBadRequest ErrorCode = "bad_request"
	// CodeUnknownType: there is no request of that type. Not retriable.
	CodeUnknownType ErrorCode = "unknown_type"
	// CodeNotAllowed: the site does not let this client subscribe to the topic,
	// publish to it, or join the group. Not retriable.
	CodeNotAllowed ErrorCode = "not_allowed"
	// CodeUnknownTopic: Kafka has no such topic, and the gateway neither waits
	// for it nor makes it; or no topic can have that name. Not retriable.
	CodeUnknownTopic ErrorCode = "unknown_topic"
	// CodeBadFilter: the filter is no CEL expression that yields a boolean. The
	// message says where. Not retriable.
	CodeBadFilter ErrorCode = "bad_filter"
	// CodeTooManyTopics: the session would have more topics than the site's
	// limit. Not retriable before something is unsubscribed from.
	CodeTooManyTopics ErrorCode = "too_many_topics"
	// CodeNotSubscribed: the session has no subscription to that topic. Not
	// retriable.
	CodeNotSubscribed ErrorCode = "not_subscribed"
	// CodeOffsetGone: Kafka no longer has the records at which the subscription
	// is to begin or to go on, and the site does not let it begin elsewhere by
	// itself. The subscription has ended. Not retriable with the same positions.
	CodeOffsetGone ErrorCode = "offset_gone"
	// CodeNoGroup: ack and nack need a session that is a member of a group
	// (group.id) and has said that it acknowledges records itself (ack=client).
	// Not retriable.
	CodeNoGroup ErrorCode = "no_group"
	// CodeNotAssigned: a partition of the request is not the session's, or not any
	// more, and what was to be acknowledged of it is delivered to its next owner;
	// what an ack says of others counts all the same. Or a record of the request
	// was not delivered, or is to be delivered again; then nothing was done. Not
	// retriable.
	CodeNotAssigned ErrorCode = "not_assigned"
	// CodeTooLarge: the record is larger than the gateway or Kafka takes. Not
	// retriable.
	CodeTooLarge ErrorCode = "too_large"
	// CodeTransformFailed: a transform of the site failed on the record, which
	// was not written. Not retriable.
	CodeTransformFailed ErrorCode = "transform_failed"
	// CodeRefused: Kafka refused the record or the look-up, and would again: it
	// is invalid, or the gateway may not do that. Not retriable.
	CodeRefused ErrorCode = "refused"
	// CodeUnavailable: Kafka cannot be reached or does not take records for now
	// (too few replicas), the gateway stops, or it has as much to do for clients
	// as it takes on (filters, missing topics). Nothing was written. Retriable.
	CodeUnavailable ErrorCode = "unavailable"
	// CodeUnknownOutcome: the record was sent to Kafka and no answer came in
	// time, so it may have been written or not. Retriable where the record is not
	// numbered, and may then be there twice. Else that is the answer to each
	// request with the number: see Failure.Final.
	CodeUnknownOutcome ErrorCode = "unknown_outcome"
	// CodeOutOfWindow: the sequence number is so far behind the newest of that
	// producer that nobody knows any more whether the record was written. Not
	// retriable.
	CodeOutOfWindow ErrorCode = "out_of_window"
	// CodeConflict: the sequence number is taken by another record. Not
	// retriable.
	CodeConflict ErrorCode = "conflict"
	// CodeTooManyProducers: the user, or the session where there is none, has as
	// many series of numbered records as it may. Retriable, once one of them was
	// left alone for some time.
	CodeTooManyProducers ErrorCode = "too_many_producers"
	// CodeInternal: the gateway's own fault. Retriable.
	CodeInternal ErrorCode = "internal"
)

// Retriable reports whether the same request may succeed when it is sent again
// later, unless the Failure is Final.
func (c ErrorCode) Retriable() bool {
	switch c {
	case CodeUnavailable, CodeUnknownOutcome, CodeTooManyProducers, CodeInternal:
		return true
	default:
		return false
	}
}

// Outcome is the member "outcome" of an error about a publish request: what
// became of the record.
type Outcome string

const (
	// OutcomeFailed: the record was not written and will not be.
	OutcomeFailed Outcome = "failed"
	// OutcomeUnknown: the record may have been written or not, or may still be.
	OutcomeUnknown Outcome = "unknown"
)

// maxMessage is the longest message of an error, in bytes; what is beyond is cut.
const maxMessage = 1000

// Failure is the frame of the type "error". It answers a request, or tells of
// something that happened to the session by itself; then it has no id.
type Failure struct {
	// ID is the request's id as it was written; nil is none.
	ID []byte
	// Code says what went wrong, and with it whether it is retriable.
	Code ErrorCode
	// Final says that the same request will have the same answer, whatever the
	// code: that of a numbered record is remembered.
	Final bool
	// Message is a short English sentence for people.
	Message string
	// Outcome is what became of the record of a publish request; empty for all
	// else.
	Outcome Outcome
	// KafkaError is Kafka's own name for the error, such as
	// TOPIC_AUTHORIZATION_FAILED, where it has one.
	KafkaError string
	// Topic is the topic that the error is about, where there is one and the
	// request does not tell.
	Topic string
}

// Append appends the frame:
//
//	{"type":"error","id":7,"code":"unavailable","message":"kafka is unreachable","retriable":true,"outcome":"failed","kafka_error":"NOT_ENOUGH_REPLICAS","topic":"orders"}
//
// where id, outcome, kafka_error and topic are left out if there are none.
func (f *Failure) Append(dst []byte) []byte {
	dst = appendReply(dst, "error", f.ID)
	dst = appendTextMember(dst, "code", string(f.Code))
	dst = appendTextMember(dst, "message", cut(f.Message, maxMessage))
	dst = append(dst, `,"retriable":`...)
	dst = strconv.AppendBool(dst, f.Code.Retriable() && !f.Final)
	dst = appendOptional(dst, "outcome", string(f.Outcome))
	dst = appendOptional(dst, "kafka_error", f.KafkaError)
	dst = appendOptional(dst, "topic", f.Topic)
	return append(dst, '}')
}

// cut returns at most n bytes of s, and no part of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
