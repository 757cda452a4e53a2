package kafka

import "github.com/IBM/sarama"

// refusals are the answers by which a broker turns a record away for good.
var refusals = map[sarama.KError]string{
	sarama.ErrTopicAuthorizationFailed:    "the gateway has no right to write to the topic",
	sarama.ErrClusterAuthorizationFailed:  "the gateway has no right to write to the cluster (IDEMPOTENT_WRITE)",
	sarama.ErrInvalidTopic:                "the topic cannot be written to",
	sarama.ErrInvalidRecord:               "the broker holds it to be invalid; a compacted topic takes none without a key",
	sarama.ErrInvalidMessage:              "the broker found it damaged",
	sarama.ErrInvalidTimestamp:            "its timestamp is outside what the topic takes",
	sarama.ErrInvalidRequiredAcks:         "the broker does not take the producer's acks",
	sarama.ErrPolicyViolation:             "a policy of the cluster forbids it",
	sarama.ErrUnsupportedForMessageFormat: "the topic's message format is too old for it",
	sarama.ErrUnsupportedCompressionType:  "the broker does not take the producer's compression",
	sarama.ErrUnsupportedVersion:          "the broker is too old for it",
	sarama.ErrSecurityDisabled:            "the broker's security is switched off",
	sarama.ErrSASLAuthenticationFailed:    "the gateway's credentials are wrong",
}
