package record

import "strings"

// MaxTopicLength is the longest name, in bytes, that Kafka takes for a topic
// (org.apache.kafka.common.internals.Topic).
const MaxTopicLength = 249

// ValidTopic reports whether Kafka would take name for a topic: 1 to 249 of the
// characters [A-Za-z0-9._-], and neither "." nor "..". Names from clients are
// checked before they come near Kafka, because a client library that is asked
// for the metadata of an illegal name may ask for ever.
func ValidTopic(name string) bool {
	if len(name) == 0 || len(name) > MaxTopicLength || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// InternalTopic reports whether name is one that Kafka and its tools keep for
// themselves by convention: names that begin with two underscores.
func InternalTopic(name string) bool {
	return strings.HasPrefix(name, "__")
}
