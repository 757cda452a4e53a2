package gateway

import (
	"errors"

	"github.com/kafkaws/kafkaws/record"
)

// Close codes that the gateway sends (RFC 6455 §7.4 and the registry of IANA).
// Those of its own tell a client by their range what to do next: 4000 to 4499
// connect again, 4500 to 4999 do not.
const (
	CloseNormal        = 1000 // what a client that is done sends; echoed
	CloseGoingAway     = 1001 // the server stops
	CloseProtocolError = 1002 // a frame that RFC 6455 forbids
	CloseUnsupported   = 1003 // a message of a kind that the session does not take
	CloseNotDecodable  = 1007 // not UTF-8, or not what the subprotocol says
	ClosePolicy        = 1008 // something that the site does not allow
	CloseTooBig        = 1009 // a message over the limit
	CloseInternal      = 1011 // our own fault
	CloseRestart       = 1012 // the configuration changed; connect again
	CloseTryLater      = 1013 // Kafka is unreachable

	CloseRecordsLost    = 4000 // records passed that the session can no longer be given
	CloseUnknownOutcome = 4001 // a published record may have been written or not
	CloseUnknownTopic   = 4500 // a record was published to a topic that does not exist
	CloseRefused        = 4501 // Kafka refused a record, or the membership in a group

	// closeGone is logged, never sent: the connection ended without a Close
	// frame (RFC 6455 §7.1.5).
	closeGone = 1006
)

// maxReason is what the length limit of control frames leaves for a Close
// frame's reason, in bytes (RFC 6455 §5.5).
const maxReason = 123

// publishFailure returns the code and the sentence that tell a client why one
// of its records was not published. Errors of Kafka's clients name brokers and
// other things that are none of the client's business, so none of their text
// is passed on.
func publishFailure(err error) (int, string) {
	switch {
	case errors.Is(err, record.ErrUnknownTopic):
		return CloseUnknownTopic, "the topic of a published record does not exist"
	case errors.Is(err, record.ErrTooLarge):
		return CloseTooBig, "a published record is larger than kafka takes"
	case errors.Is(err, record.ErrUnknownOutcome):
		return CloseUnknownOutcome, "kafka did not answer in time; a published record may have been written or not"
	case errors.Is(err, record.ErrUnavailable), errors.Is(err, record.ErrClosed):
		return CloseTryLater, "a record could not be published: kafka is unreachable"
	default:
		return CloseRefused, "kafka refused a published record"
	}
}
