package codec

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

const (
	// maxHeaders is how many headers a client may give a record.
	maxHeaders = 1000
	// maxProducer is how long a producer's name may be, in bytes.
	maxProducer = 128
	// maxTimestamp is the end of the year 9999 in milliseconds since 1970. Times
	// in microseconds are beyond it.
	maxTimestamp = 253402300799999
)

var (
	errNoValue       = &Error{`a publish request needs "value"; null is a tombstone`}
	errTombstoneKey  = &Error{`a tombstone needs a key: "value" is null and there is no "key"`}
	errKeyEncoding   = &Error{`"key_encoding" must be "base64", or be left out`}
	errValueEncoding = &Error{`"value_encoding" must be "base64" or "json", or be left out`}
	errHeaders       = &Error{`"headers" must be an array of ["name","value"] or ["name","value","base64"]`}
	errManyHeaders   = &Error{fmt.Sprintf(`"headers" has more than %d headers`, maxHeaders)}
	errTimestamp     = &Error{`"timestamp" must be milliseconds since 1970, an integer, or a time such as "2026-01-31T12:00:00Z" (RFC 3339)`}
	errProducerAlone = &Error{`"producer" and "sequence" need each other`}
	errProducerName  = &Error{fmt.Sprintf(`"producer" must be 1 to %d bytes`, maxProducer)}
)

// setPublish reads the members of a publish request.
func (q *Request) setPublish(m *requestMembers) error {
	topic, err := m.topic()
	if err != nil {
		return err
	}
	var u unescaper
	u.reserve(m.values[memberKey], m.values[memberValue])
	key, err := u.key(m)
	if err != nil {
		return err
	}
	val, err := u.value(m)
	if err != nil {
		return err
	}
	if key == nil && val == nil {
		return errTombstoneKey
	}
	q.Record = record.Record{Topic: again(&q.topic, topic), Partition: record.AnyPartition, Key: key, Value: val}
	if partition, err := m.integer(memberPartition, 0, maxPartition); err != nil {
		return err
	} else if partition >= 0 {
		q.Record.Partition = int32(partition)
	}
	if q.Record.Timestamp, err = m.timestamp(); err != nil {
		return err
	}
	if q.headers, err = u.headers(q.headers[:0], m.values[memberHeaders]); err != nil {
		return err
	}
	if n := len(q.headers); n > 0 {
		q.Record.Headers = q.headers[:n:n]
	}
	return q.setSequence(m)
}

// setSequence reads what numbers a record.
func (q *Request) setSequence(m *requestMembers) error {
	name, err := m.text(memberProducer)
	if err != nil {
		return err
	}
	sequence, err := m.integer(memberSequence, 0, maxInteger)
	switch {
	case err != nil:
		return err
	case (name == nil) != (sequence < 0):
		return errProducerAlone
	case name == nil:
		return nil
	case len(name) == 0 || len(name) > maxProducer:
		return errProducerName
	}
	q.Producer, q.Sequence = again(&q.producer, name), sequence
	return nil
}

// key returns the key of a publish request.
func (u *unescaper) key(m *requestMembers) ([]byte, error) {
	encoding, err := m.text(memberKeyEncoding)
	if err != nil {
		return nil, err
	}
	v := m.values[memberKey]
	switch string(encoding) {
	case "":
		return u.bytes(v), nil
	case "base64":
		return u.base64(v, `"key"`)
	default:
		return nil, errKeyEncoding
	}
}

// value returns the value of a publish request.
func (u *unescaper) value(m *requestMembers) ([]byte, error) {
	encoding, err := m.text(memberValueEncoding)
	if err != nil {
		return nil, err
	}
	v := m.values[memberValue]
	if v.kind == absent {
		return nil, errNoValue
	}
	switch string(encoding) {
	case "":
		return u.bytes(v), nil
	case "base64":
		return u.base64(v, `"value"`)
	case "json":
		return m.valueJSON, nil
	default:
		return nil, errValueEncoding
	}
}

// base64 returns the bytes that a string of base64 stands for.
func (u *unescaper) base64(v value, name string) ([]byte, error) {
	switch v.kind {
	case absent, null:
		return nil, nil
	case text:
	default:
		return nil, &Error{fmt.Sprintf("%.40s is marked as base64, so it must be a string", name)}
	}
	encoded := u.bytes(v)
	start := len(u.buf)
	buf, err := base64.StdEncoding.AppendDecode(u.buf, encoded)
	if err != nil {
		return nil, &Error{fmt.Sprintf("%.40s is marked as base64 and is not: the standard alphabet, with padding", name)}
	}
	if len(buf) == start {
		return []byte{}, nil // nil would be a tombstone
	}
	u.buf = buf
	return buf[start:len(buf):len(buf)], nil
}

// timestamp returns the time of a record, the zero time where there is none.
func (m *requestMembers) timestamp() (time.Time, error) {
	v := m.values[memberTimestamp]
	switch v.kind {
	case absent, null:
		return time.Time{}, nil
	case literal:
		if ms, ok := parseDigits(v); ok && ms <= maxTimestamp {
			return time.UnixMilli(ms), nil
		}
	case text:
		if t, err := time.Parse(time.RFC3339, string(v.raw)); err == nil && t.UnixMilli() >= 0 {
			return t, nil
		}
	case nested:
	}
	return time.Time{}, errTimestamp
}

// headers appends the headers of a publish request to those of the one before,
// of which dst has the room; a name that is the same as before keeps its string.
func (u *unescaper) headers(dst []record.Header, v value) ([]record.Header, error) {
	if v.kind == absent || v.kind == null {
		return dst, nil
	}
	if !isArray(v) {
		return dst, errHeaders
	}
	for all := (scanner{data: v.raw}); ; {
		element, ok := all.element()
		if !ok {
			return dst, nil
		}
		if !isArray(element) {
			return dst, errHeaders
		}
		if len(dst) == maxHeaders {
			return dst, errManyHeaders
		}
		if len(dst) < cap(dst) {
			dst = dst[:len(dst)+1]
		} else {
			dst = append(dst, record.Header{})
		}
		if err := u.header(&dst[len(dst)-1], element); err != nil {
			return dst, err
		}
	}
}

// header reads one header.
func (u *unescaper) header(h *record.Header, v value) error {
	var parts [4]value
	n := 0
	for s := (scanner{data: v.raw}); n < len(parts); n++ {
		var ok bool
		if parts[n], ok = s.element(); !ok {
			break
		}
	}
	if n < 2 || n > 3 || parts[0].kind != text {
		return errHeaders
	}
	if name := u.bytes(parts[0]); h.Key != string(name) {
		h.Key = string(name)
	}
	var err error
	switch encoding := parts[2]; {
	case n == 2:
		h.Value = u.bytes(parts[1])
	case encoding.kind == text && string(encoding.raw) == "base64":
		h.Value, err = u.base64(parts[1], "a header")
	default:
		err = errHeaders
	}
	return err
}
