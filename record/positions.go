package record

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// Positions are a client's place in the topics that it reads: by topic, the
// offsets at which it goes on. They are all that has to be kept of a client;
// whoever has them can serve it. Their JSON is
//
//	{"orders":{"topic_id":"AAECAwQFBgcICQoLDA0ODw","offsets":{"0":18,"1":4},"epochs":{"0":3}}}
type Positions map[string]TopicPosition

// TopicPosition is a client's place in one topic.
type TopicPosition struct {
	// TopicID is the id of the topic that the offsets are of, so that they are
	// not applied to another that has its name now. The zero TopicID is not
	// known, and not checked.
	TopicID TopicID
	// Offsets are the next offset to be read, by partition. A partition that is
	// not named begins at 0: it did not exist when the position was taken.
	Offsets map[int32]int64
	// Epochs are the leader epochs of the records before those offsets, by
	// partition, where they are known. With them a log is noticed that was cut
	// and written anew (KIP-320). Each partition in it is in Offsets too.
	Epochs map[int32]int32
}

// Clone returns a copy that shares no map with p. Nil stays nil.
func (p Positions) Clone() Positions {
	if p == nil {
		return nil
	}
	c := make(Positions, len(p))
	for topic, at := range p {
		c[topic] = at.Clone()
	}
	return c
}

// Clone returns a copy that shares no map with p.
func (p TopicPosition) Clone() TopicPosition {
	return TopicPosition{TopicID: p.TopicID, Offsets: maps.Clone(p.Offsets), Epochs: maps.Clone(p.Epochs)}
}

// Append appends the positions as JSON, without white space, the topics in the
// order of their names and the partitions in that of their numbers: equal
// positions are equal text. What is not known is left out.
func (p Positions) Append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, topic := range slices.Sorted(maps.Keys(p)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendName(dst, topic)
		dst = append(dst, ':')
		dst = p[topic].append(dst)
	}
	return append(dst, '}')
}

func (p TopicPosition) append(dst []byte) []byte {
	dst = append(dst, '{')
	if !p.TopicID.IsZero() {
		dst = append(dst, `"topic_id":"`...)
		dst = topicIDs.AppendEncode(dst, p.TopicID[:])
		dst = append(dst, `",`...)
	}
	dst = append(dst, `"offsets":`...)
	dst = appendByPartition(dst, p.Offsets)
	if len(p.Epochs) > 0 {
		dst = append(dst, `,"epochs":`...)
		dst = appendByPartition(dst, p.Epochs)
	}
	return append(dst, '}')
}

// appendByPartition appends a JSON object of numbers by partition.
func appendByPartition[N int32 | int64](dst []byte, numbers map[int32]N) []byte {
	dst = append(dst, '{')
	for i, partition := range slices.Sorted(maps.Keys(numbers)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = strconv.AppendInt(dst, int64(partition), 10)
		dst = append(dst, `":`...)
		dst = strconv.AppendInt(dst, int64(numbers[partition]), 10)
	}
	return append(dst, '}')
}

// appendName appends a topic's name as a JSON string.
func appendName(dst []byte, name string) []byte {
	if ValidTopic(name) { // nothing to escape
		dst = append(dst, '"')
		dst = append(dst, name...)
		return append(dst, '"')
	}
	quoted, err := json.Marshal(name)
	if err != nil {
		return append(dst, `""`...) // cannot be: every string can be encoded
	}
	return append(dst, quoted...)
}
