package kafka

import (
	"errors"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
)

// namedError is one of the errors of package record, and the broker's own that it
// stands for.
type namedError struct {
	error
	code sarama.KError
}

// Unwrap gives the error of package record.
func (e *namedError) Unwrap() error { return e.error }

// KafkaError returns Kafka's name for the error, such as TOPIC_AUTHORIZATION_FAILED,
// as its protocol has it; empty for one that is newer than this list.
func (e *namedError) KafkaError() string {
	if known := kerr.TypedErrorForCode(int16(e.code)); known != nil {
		return known.Message
	}
	return ""
}

// named has err tell Kafka's name for its cause, if that is a broker's answer.
func named(err, cause error) error {
	var code sarama.KError
	if !errors.As(cause, &code) || code == sarama.ErrNoError {
		return err
	}
	return &namedError{err, code}
}
