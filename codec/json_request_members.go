package codec

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/kafkaws/kafkaws/record"
)

// member is a member that requests may have.
type member uint8

const (
	memberType member = iota
	memberID
	memberTopic
	memberTopics
	memberFrom
	memberLast
	memberFilter
	memberKey
	memberKeyEncoding
	memberValue
	memberValueEncoding
	memberHeaders
	memberPartition
	memberTimestamp
	memberProducer
	memberSequence
	memberPositions
	memberOffset
	memberDelay
	memberSecret
	memberCount

	notKnown = memberCount
)

// memberNames are the members' names.
var memberNames = [memberCount]string{
	"type", "id", "topic", "topics", "from", "last", "filter", "key", "key_encoding", "value", "value_encoding", "headers",
	"partition", "timestamp", "producer", "sequence", "positions", "offset", "delay_ms",
	"producer_secret",
}

// memberOf returns which member a name is. Names are case-sensitive, and may be
// written with escapes as well.
func memberOf(name value) member {
	var buf [len("value_encoding") * len(`\u0000`)]byte
	raw := name.raw
	if name.escaped {
		if len(raw) > len(buf) {
			return notKnown
		}
		raw = appendUnescaped(buf[:0], raw)
	}
	switch string(raw) {
	case "type":
		return memberType
	case "id":
		return memberID
	case "topic":
		return memberTopic
	case "topics":
		return memberTopics
	case "from":
		return memberFrom
	case "last":
		return memberLast
	case "filter":
		return memberFilter
	case "key":
		return memberKey
	case "key_encoding":
		return memberKeyEncoding
	case "value":
		return memberValue
	case "value_encoding":
		return memberValueEncoding
	case "headers":
		return memberHeaders
	case "partition":
		return memberPartition
	case "timestamp":
		return memberTimestamp
	case "producer":
		return memberProducer
	case "sequence":
		return memberSequence
	case "positions":
		return memberPositions
	case "offset":
		return memberOffset
	case "delay_ms":
		return memberDelay
	case "producer_secret":
		return memberSecret
	default:
		return notKnown
	}
}

// belongsTo reports whether requests of a type have the member.
func (m member) belongsTo(requestType string) bool {
	switch m {
	case memberType, memberID:
		return true
	case memberTopics:
		return requestType == TypeSubscribe || requestType == TypeUnsubscribe
	case memberTopic:
		return requestType != TypeAck && requestType != TypePing && requestType != TypeResume
	case memberFrom, memberLast, memberFilter:
		return requestType == TypeSubscribe
	case memberPartition:
		return requestType == TypePublish || requestType == TypeNack
	case memberPositions:
		return requestType == TypeAck
	case memberSecret:
		return requestType == TypeResume
	case memberOffset, memberDelay:
		return requestType == TypeNack
	default:
		return requestType == TypePublish
	}
}

// requestMembers are the members of a request, as they stand in the message.
type requestMembers struct {
	values [memberCount]value
	// id and valueJSON are the id and the value as they were written, strings
	// with their quotes.
	id, valueJSON []byte
	// twice has a bit for each member that is there twice.
	twice uint32
}

// givenTwice returns a member of a type's that is there twice, or notKnown.
func (m *requestMembers) givenTwice(requestType string) member {
	for left := m.twice; left != 0; left &= left - 1 {
		if at := member(bits.TrailingZeros32(left)); at.belongsTo(requestType) {
			return at
		}
	}
	return notKnown
}

// scan reads the object that begins at the position.
func (m *requestMembers) scan(s *scanner) error {
	s.pos++
	s.space()
	for first := true; !s.take('}'); first = false {
		if !first {
			if !s.take(',') {
				return s.unexpected()
			}
			s.space()
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		start := s.pos
		v, err := s.value()
		if err != nil {
			return err
		}
		if at := memberOf(name); at != notKnown {
			if m.values[at].kind != absent {
				m.twice |= 1 << at
			}
			m.values[at] = v
			switch at {
			case memberID:
				m.id = s.data[start:s.pos:s.pos]
			case memberValue:
				m.valueJSON = s.data[start:s.pos:s.pos]
			default:
			}
		}
		s.space()
	}
	return nil
}

const (
	maxInteger   = math.MaxInt64
	maxPartition = math.MaxInt32
	// maxDelay is a day, in milliseconds.
	maxDelay = 24 * 60 * 60 * 1000
)

var (
	errID         = &Error{fmt.Sprintf(`"id" must be a string or a number of at most %d bytes`, maxID)}
	errNoType     = &Error{`the request has no "type"`}
	errTypeType   = &Error{`"type" must be a string`}
	errNoTopic    = &Error{`the request has no "topic"`}
	errNoTopics   = &Error{`the request has neither "topics" nor "topic"`}
	errBothTopics = &Error{`"topics" and "topic" cannot be given together`}
	errTopicsType = &Error{`"topics" must be an array of strings, and not empty`}
	errManyTopics = &Error{fmt.Sprintf(`"topics" has more than %d topics`, record.MaxPositionTopics)}
	errFromType   = &Error{`"from" must be a string, or positions`}
	errPositions  = &Error{`an ack needs "positions": {"orders":{"offsets":{"0":18}}}`}
)

// given reports whether a member is there and not null, which for most of them
// is the same as if they were left out.
func (m *requestMembers) given(at member) bool {
	kind := m.values[at].kind
	return kind != absent && kind != null
}

// requestID returns the id as it was written.
func (m *requestMembers) requestID() ([]byte, error) {
	switch v := m.values[memberID]; {
	case !m.given(memberID):
		return nil, nil
	case len(m.id) > maxID, v.kind == nested, v.kind == literal && (m.id[0] == 't' || m.id[0] == 'f'):
		return nil, errID
	default:
		return m.id, nil
	}
}

// requestType returns the type: one of the constants, or the beginning of what
// the client wrote.
func (m *requestMembers) requestType() (string, error) {
	v := m.values[memberType]
	switch v.kind {
	case absent:
		return "", errNoType
	case text:
	default:
		return "", errTypeType
	}
	raw := v.raw
	if v.escaped {
		raw = appendUnescaped(nil, raw)
	}
	switch string(raw) {
	case TypePublish:
		return TypePublish, nil
	case TypeSubscribe:
		return TypeSubscribe, nil
	case TypeUnsubscribe:
		return TypeUnsubscribe, nil
	case TypeAck:
		return TypeAck, nil
	case TypeNack:
		return TypeNack, nil
	case TypePing:
		return TypePing, nil
	default:
		return cut(string(raw), maxID), nil
	}
}

// text returns the bytes of a member that is a string, and nil where there is
// none or it is null.
func (m *requestMembers) text(at member) ([]byte, error) {
	if !m.given(at) {
		return nil, nil
	}
	v := m.values[at]
	if v.kind != text {
		return nil, &Error{fmt.Sprintf("%q must be a string", memberNames[at])}
	}
	var u unescaper
	return u.bytes(v), nil
}

// integer returns a member that is an integer from least to most, and -1 where
// there is none or it is null.
func (m *requestMembers) integer(at member, least, most int64) (int64, error) {
	if !m.given(at) {
		return -1, nil
	}
	n, ok := parseDigits(m.values[at])
	if !ok || n < least || n > most {
		return -1, &Error{fmt.Sprintf("%q must be an integer from %d to %d", memberNames[at], least, most)}
	}
	return n, nil
}

// parseDigits reads a number that is digits and nothing else, and that an int64
// holds.
func parseDigits(v value) (int64, bool) {
	if v.kind != literal {
		return 0, false
	}
	n := int64(0)
	for _, c := range v.raw {
		if !isDigit(c) || n > (maxInteger-int64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// topic returns the member "topic", which must be there.
func (m *requestMembers) topic() ([]byte, error) {
	topic, err := m.text(memberTopic)
	if topic == nil && err == nil {
		err = errNoTopic
	}
	return topic, err
}

// topicList returns the topics of "topics" or of "topic", each once.
func (m *requestMembers) topicList() ([]string, error) {
	list, one := m.given(memberTopics), m.given(memberTopic)
	switch {
	case list && one:
		return nil, errBothTopics
	case one:
		topic, err := m.topic()
		if err != nil {
			return nil, err
		}
		return []string{string(topic)}, nil
	case !list:
		return nil, errNoTopics
	}
	raw := m.values[memberTopics].raw
	if !isArray(m.values[memberTopics]) {
		return nil, errTopicsType
	}
	var topics []string
	seen := make(map[string]bool)
	var u unescaper
	for s := (scanner{data: raw}); ; {
		v, ok := s.element()
		if !ok {
			break
		}
		if v.kind != text {
			return nil, errTopicsType
		}
		topic := string(u.bytes(v))
		if seen[topic] {
			continue
		}
		if len(topics) == record.MaxPositionTopics {
			return nil, errManyTopics
		}
		seen[topic] = true
		topics = append(topics, topic)
	}
	if len(topics) == 0 {
		return nil, errTopicsType
	}
	return topics, nil
}

// start returns what "from" and "last" say.
func (m *requestMembers) start() (record.Start, error) {
	last := ""
	switch v := m.values[memberLast]; v.kind {
	case absent, null:
	case literal:
		last = string(v.raw)
	default:
		last = "none" // which ParseStart refuses, with the sentence for it
	}
	from := ""
	switch v := m.values[memberFrom]; {
	case !m.given(memberFrom):
	case v.kind == text:
		var u unescaper
		from = string(u.bytes(v))
	case v.kind == nested && !isArray(v):
		from = string(v.raw)
	default:
		return record.Start{}, errFromType
	}
	start, err := record.ParseStart(from, last)
	return start, sentence(err)
}

// ackPositions returns the positions of an ack.
func (m *requestMembers) ackPositions() (record.Positions, error) {
	v := m.values[memberPositions]
	if v.kind != nested {
		return nil, errPositions
	}
	positions, err := record.ParsePositions(v.raw)
	if err == nil && len(positions) == 0 {
		return nil, errPositions
	}
	return positions, sentence(err)
}

// sentence makes an error of package record's, which is for clients, an Error.
func sentence(err error) error {
	if err == nil {
		return nil
	}
	return &Error{err.Error()}
}

// isArray reports whether a value is an array.
func isArray(v value) bool { return v.kind == nested && v.raw[0] == '[' }

// element reads the next element of an array in which nothing is wrong, whose
// opening bracket is where the scanner began. It returns false at the end.
func (s *scanner) element() (value, bool) {
	s.space()
	if s.peek() == ']' {
		return value{}, false
	}
	s.pos++ // the opening bracket, or a comma
	s.space()
	if s.peek() == ']' {
		return value{}, false
	}
	v, err := s.value()
	return v, err == nil
}
