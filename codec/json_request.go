package codec

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/kafkaws/kafkaws/record"
)

// MaxRequests is how many requests a client may send in one message, as an array.
const MaxRequests = 1000

// maxID is how long a request's id may be, in bytes as it was written.
const maxID = 64

// keptHeaders is for how many headers a Request keeps the room.
const keptHeaders = 32

// The types of requests.
const (
	// TypeSubscribe begins to read topics, or begins anew: Topics, Start, Filter.
	TypeSubscribe = "subscribe"
	// TypeUnsubscribe ends to read topics: Topics.
	TypeUnsubscribe = "unsubscribe"
	// TypePublish writes a record: Record, and with Producer also Sequence.
	TypePublish = "publish"
	// TypeAck tells what a member of a group is done with: Positions.
	TypeAck = "ack"
	// TypeNack has a record delivered again: Record's Topic, Partition and
	// Offset, and Delay.
	TypeNack = "nack"
	// TypeResume goes on with the series of records that an earlier session has
	// numbered: Secret.
	TypeResume = "resume"
	// TypePing wants a pong.
	TypePing = "ping"
)

// Request is one request of a client. Which fields are set depends on its type;
// the others are zero.
type Request struct {
	// Type is one of the constants above, or what the client wrote, shortened.
	// Then Failure is set.
	Type string
	// ID is the request's id, a JSON string or number as it was written, to be
	// repeated in the answer. Nil is none. It aliases the message.
	ID []byte
	// Failure, where it is not nil, is the answer to a request that is not as
	// the protocol has it. Nothing but Type and ID is to be relied on then.
	Failure *Failure

	// Record is the record to publish. Its bytes and headers are good for as
	// long as the message is left alone and the Request not used again.
	Record record.Record
	// Producer names the series that the record is numbered in; empty is none.
	Producer string
	// Sequence is the record's number in that series, 0 or more.
	Sequence int64

	// Topics are the topics of a subscription, each once, in their order.
	Topics []string
	// Start says where it begins.
	Start record.Start
	// Filter is a CEL expression; empty takes all records.
	Filter string

	// Secret is what the earlier session's welcome has had.
	Secret string

	// Positions are what the member of a group is done with: the offsets behind
	// it.
	Positions record.Positions
	// Delay is how long the record is not to be delivered again.
	Delay time.Duration

	// What requests before have allocated, to be used again.
	topic, producer string
	headers         []record.Header
}

var (
	errNotRequest   = &Error{`the message must be a request, {"type":"...",...}, or an array of requests`}
	errManyRequests = &Error{fmt.Sprintf("the message has more than %d requests", MaxRequests)}
)

// DecodeRequests reads a client's message, a request or an array of them, and
// appends the requests to dst. It returns an *Error, and no request, when the
// message as a whole cannot be read: then nothing of it is to be done, and one
// error without an id is the answer. A request that is JSON and yet wrong is in
// the list with its Failure. Members that the type does not have are ignored; one
// that it has and that is there twice is such a failure.
//
// The elements that dst has room for are used again, and what they have allocated
// with them: a client that publishes to one topic costs no allocation for a
// record without escapes. Everything of a Request that is bytes may alias
// message. Whoever keeps the list for the next message keeps message and up to
// MaxRequests requests of some hundred bytes with it: drop a long one.
func DecodeRequests(dst []Request, message []byte) ([]Request, error) {
	if !utf8.Valid(message) {
		return nil, errNotUTF8
	}
	s := scanner{data: message}
	var err error
	s.space()
	switch s.peek() {
	case '{':
		dst, err = appendRequest(dst, &s)
	case '[':
		dst, err = appendRequests(dst, &s)
	default:
		if s.pos == len(message) {
			return nil, errEndsEarly
		}
		return nil, errNotRequest
	}
	if err != nil {
		return nil, err
	}
	s.space()
	if s.pos < len(message) {
		return nil, s.unexpected()
	}
	return dst, nil
}

// appendRequests reads the array that begins at the position.
func appendRequests(dst []Request, s *scanner) ([]Request, error) {
	s.pos++
	s.space()
	if s.take(']') {
		return dst, nil
	}
	for n := 1; ; n++ {
		if n > MaxRequests {
			return nil, errManyRequests
		}
		s.space()
		var err error
		if dst, err = appendRequest(dst, s); err != nil {
			return nil, err
		}
		s.space()
		if s.take(']') {
			return dst, nil
		}
		if !s.take(',') {
			return nil, s.unexpected()
		}
	}
}

// appendRequest reads the request that begins at the position.
func appendRequest(dst []Request, s *scanner) ([]Request, error) {
	if len(dst) < cap(dst) {
		dst = dst[:len(dst)+1]
	} else {
		dst = append(dst, Request{})
	}
	q := &dst[len(dst)-1]
	if s.peek() != '{' {
		if _, err := s.value(); err != nil {
			return nil, err
		}
		*q = Request{Failure: &Failure{Code: CodeBadRequest, Message: "a request must be an object"}}
		return dst, nil
	}
	var m requestMembers
	if err := m.scan(s); err != nil {
		return nil, err
	}
	q.set(&m)
	return dst, nil
}

// set makes q the request of m.
func (q *Request) set(m *requestMembers) {
	if cap(q.headers) > keptHeaders {
		q.headers = nil
	}
	*q = Request{topic: q.topic, producer: q.producer, headers: q.headers}
	var typeErr, err error
	q.Type, typeErr = m.requestType()
	if q.ID, err = m.requestID(); err == nil {
		err = typeErr
	}
	if err != nil {
		q.fail(CodeBadRequest, err)
		return
	}
	// Where readers of a message differ in which of two they take, one of them
	// may have been a check.
	if twice := m.givenTwice(q.Type); twice != notKnown {
		q.fail(CodeBadRequest, &Error{fmt.Sprintf("the request has %q twice", memberNames[twice])})
		return
	}
	switch q.Type {
	case TypePublish:
		err = q.setPublish(m)
	case TypeSubscribe:
		err = q.setSubscribe(m)
	case TypeUnsubscribe:
		q.Topics, err = m.topicList()
	case TypeAck:
		q.Positions, err = m.ackPositions()
	case TypeNack:
		err = q.setNack(m)
	case TypeResume:
		err = q.setResume(m)
	case TypePing:
	default:
		q.fail(CodeUnknownType, &Error{fmt.Sprintf("there is no request of the type %q", q.Type)})
		return
	}
	if err != nil {
		q.fail(CodeBadRequest, err)
	}
}

// fail makes q a request that is answered with an error.
func (q *Request) fail(code ErrorCode, err error) {
	q.Failure = &Failure{ID: q.ID, Code: code, Message: err.Error()}
	if q.Type == TypePublish {
		q.Failure.Outcome = OutcomeFailed
	}
}

// setSubscribe reads the members of a subscribe request.
func (q *Request) setSubscribe(m *requestMembers) (err error) {
	if q.Topics, err = m.topicList(); err != nil {
		return err
	}
	if q.Start, err = m.start(); err != nil {
		return err
	}
	filter, err := m.text(memberFilter)
	q.Filter = string(filter)
	return err
}

// again returns the string of s, which is *before if that is the same, and keeps it
// there.
func again(before *string, s []byte) string {
	if *before != string(s) {
		*before = string(s)
	}
	return *before
}

// setResume reads the members of a resume request.
func (q *Request) setResume(m *requestMembers) error {
	secret, err := m.text(memberSecret)
	if err != nil {
		return err
	}
	if len(secret) == 0 {
		return &Error{`a resume request needs "producer_secret"`}
	}
	q.Secret = string(secret)
	return nil
}

// setNack reads the members of a nack.
func (q *Request) setNack(m *requestMembers) error {
	topic, err := m.topic()
	if err != nil {
		return err
	}
	q.Record.Topic = again(&q.topic, topic)
	for _, required := range [...]member{memberPartition, memberOffset} {
		if !m.given(required) {
			return &Error{fmt.Sprintf("a nack needs %q", memberNames[required])}
		}
	}
	partition, err := m.integer(memberPartition, 0, maxPartition)
	if err != nil {
		return err
	}
	q.Record.Partition = int32(partition)
	if q.Record.Offset, err = m.integer(memberOffset, 0, maxInteger); err != nil {
		return err
	}
	delay, err := m.integer(memberDelay, 0, maxDelay)
	q.Delay = time.Duration(max(delay, 0)) * time.Millisecond
	return err
}
