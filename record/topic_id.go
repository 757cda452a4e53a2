package record

import (
	"encoding/base64"
	"errors"
)

// TopicID tells one topic from another that was made later under the same name
// (KIP-516). The zero TopicID is none: brokers before Kafka 2.8 have no ids.
type TopicID [16]byte

// topicIDLength is how long an id is as text: 16 bytes in base64, not padded.
const topicIDLength = 22

// topicIDs is Kafka's own text form of ids (org.apache.kafka.common.Uuid).
var topicIDs = base64.RawURLEncoding.Strict()

var errTopicID = errors.New("a topic's id is 22 characters of URL-safe base64, without padding")

// String returns the id as Kafka's tools print it: 22 characters of URL-safe
// base64.
func (id TopicID) String() string { return topicIDs.EncodeToString(id[:]) }

// IsZero reports whether id is none.
func (id TopicID) IsZero() bool { return id == TopicID{} }

// ParseTopicID reads what String returns. The error is a sentence for whoever
// sent the text.
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	if len(s) != topicIDLength {
		return id, errTopicID
	}
	// The decoder passes over line ends, and then finds too few bytes.
	if n, err := topicIDs.Decode(id[:], []byte(s)); err != nil || n != len(id) {
		return TopicID{}, errTopicID
	}
	return id, nil
}
