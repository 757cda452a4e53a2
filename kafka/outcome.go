package kafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"github.com/eapache/go-resiliency/breaker"

	"github.com/kafkaws/kafkaws/record"
)

// classify turns sarama's reason for giving up a record into one of the errors
// of package record. sent says that the record may have been on its way to a
// broker: then a reason that does not say what the broker made of it leaves that
// open. The text names no broker, as it may be shown to clients; sarama's own
// may.
func classify(err error, sent bool) error {
	var k sarama.KError
	switch {
	case errors.Is(err, sarama.ErrMessageSizeTooLarge), errors.Is(err, sarama.ErrMessageSetSizeTooLarge),
		errors.Is(err, sarama.ErrInvalidMessageSize):
		return fmt.Errorf("writing a record: the broker or the topic takes none of its size (max.message.bytes): %w", record.ErrTooLarge)
	case errors.Is(err, sarama.ErrInvalidPartition):
		return fmt.Errorf("writing a record: the topic has no such partition: %w", record.ErrRefused)
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition) && !sent:
		return fmt.Errorf("writing a record: %w", record.ErrUnknownTopic)
	case errors.As(err, &k) && refusals[k] != "":
		return fmt.Errorf("writing a record: %s: %w", refusals[k], record.ErrRefused)
	case sent:
		return fmt.Errorf("writing a record: no acknowledgement came: %w", record.ErrUnknownOutcome)
	case errors.Is(err, sarama.ErrShuttingDown), errors.Is(err, sarama.ErrClosedClient):
		return fmt.Errorf("writing a record: %w", record.ErrClosed)
	case errors.Is(err, breaker.ErrBreakerOpen):
		return fmt.Errorf("writing a record: the partition's leader was not found lately: %w", record.ErrUnavailable)
	}
	if _, ok := errors.AsType[sarama.ConfigurationError](err); ok {
		return fmt.Errorf("writing a record: the producer cannot write it: %w", record.ErrRefused)
	}
	return fmt.Errorf("writing a record: no leader of the partition was found: %w", record.ErrUnavailable)
}

// refusals are the answers by which a broker turns a record away for good.
var refusals = map[sarama.KError]string{
	sarama.ErrTopicAuthorizationFailed:    "the gateway has no right to write to the topic",
	sarama.ErrClusterAuthorizationFailed:  "the gateway has no right to write to the cluster (IDEMPOTENT_WRITE)",
	sarama.ErrInvalidTopic:                "the topic cannot be written to",
	sarama.ErrInvalidRecord:               "the broker holds it to be invalid; a compacted topic takes none without a key",
	sarama.ErrInvalidTimestamp:            "its timestamp is outside what the topic takes",
	sarama.ErrInvalidRequiredAcks:         "the broker does not take the producer's acks",
	sarama.ErrPolicyViolation:             "a policy of the cluster forbids it",
	sarama.ErrUnsupportedForMessageFormat: "the topic's message format is too old for it",
	sarama.ErrUnsupportedCompressionType:  "the broker does not take the producer's compression",
	sarama.ErrUnsupportedVersion:          "the broker is too old for it",
	sarama.ErrSecurityDisabled:            "the broker's security is switched off",
	sarama.ErrSASLAuthenticationFailed:    "the gateway's credentials are wrong",
}
