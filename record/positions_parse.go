package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Limits on the positions that are taken from a client. They are far beyond what
// one session reads and bound what a message can make of itself in memory.
const (
	// MaxPositionTopics is how many topics positions may have.
	MaxPositionTopics = 10_000
	// MaxPositionPartitions is how many partitions the topics of positions may
	// have together.
	MaxPositionPartitions = 100_000
)

var errPositionsNotJSON = errors.New(`positions must be a JSON object: {"orders":{"offsets":{"0":18}}}`)

// ParsePositions reads positions as a client sends them: what Append writes, with
// white space and in any order. A topic must have offsets, which may be empty;
// topic_id and epochs may be left out or null, and members that are not known
// are ignored. Refused are topics that Kafka could not have, a topic, a
// partition or a known member that is there twice, numbers that are negative or
// no integers, and more than MaxPositionTopics or MaxPositionPartitions. The
// errors are sentences for whoever sent the positions.
func ParsePositions(data []byte) (Positions, error) {
	// With this behind it, the parser below meets no syntax error.
	if !json.Valid(data) {
		return nil, errPositionsNotJSON
	}
	p := positionsParser{d: json.NewDecoder(bytes.NewReader(data))}
	p.d.UseNumber()
	return p.positions()
}

// positionsParser reads token by token, because json.Unmarshal into maps takes
// the last of two equal members in silence.
type positionsParser struct {
	d               *json.Decoder
	offsets, epochs int // how many there have been
}

func (p *positionsParser) positions() (Positions, error) {
	if p.open() != isObject {
		return nil, errPositionsNotJSON
	}
	all := make(Positions)
	err := p.members(func(topic string) error {
		switch _, twice := all[topic]; {
		case !ValidTopic(topic):
			return fmt.Errorf("positions name a topic that Kafka could not have: %.40q", topic)
		case twice:
			return fmt.Errorf("positions name topic %q twice", topic)
		case len(all) == MaxPositionTopics:
			return fmt.Errorf("positions name more than %d topics", MaxPositionTopics)
		}
		at, err := p.topic(topic)
		all[topic] = at
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (p *positionsParser) topic(topic string) (TopicPosition, error) {
	var at TopicPosition
	if p.open() != isObject {
		return at, fmt.Errorf(`the position in topic %q must be an object: {"offsets":{"0":18}}`, topic)
	}
	seen := make(map[string]bool, 3)
	err := p.members(func(name string) error {
		switch name {
		case "topic_id", "offsets", "epochs":
			if seen[name] {
				return fmt.Errorf("the position in topic %q has %q twice", topic, name)
			}
			seen[name] = true
		}
		var err error
		switch name {
		case "topic_id":
			at.TopicID, err = p.topicID(topic)
		case "offsets":
			at.Offsets, err = byPartition[int64](p, &p.offsets, topic, name, math.MaxInt64)
		case "epochs":
			at.Epochs, err = byPartition[int32](p, &p.epochs, topic, name, math.MaxInt32)
		default:
			err = p.skip()
		}
		return err
	})
	if err != nil {
		return at, err
	}
	if at.Offsets == nil {
		return at, fmt.Errorf(`the position in topic %q has no "offsets"`, topic)
	}
	for partition := range at.Epochs {
		if _, ok := at.Offsets[partition]; !ok {
			return at, fmt.Errorf(`"epochs" of topic %q names partition %d, which "offsets" does not`, topic, partition)
		}
	}
	return at, nil
}

func (p *positionsParser) topicID(topic string) (TopicID, error) {
	token, _ := p.d.Token()
	switch token := token.(type) {
	case nil:
		return TopicID{}, nil
	case string:
		id, err := ParseTopicID(token)
		if err != nil {
			return id, fmt.Errorf(`"topic_id" of topic %q is none: %w`, topic, err)
		}
		return id, nil
	default:
		return TopicID{}, fmt.Errorf(`"topic_id" of topic %q must be a string`, topic)
	}
}

// byPartition reads an object of numbers from 0 to limit by partition, and nil
// for null. It adds their number to count.
func byPartition[N int32 | int64](p *positionsParser, count *int, topic, name string, limit int64) (map[int32]N, error) {
	switch p.open() {
	case isObject:
	case isNull:
		return nil, nil
	default:
		return nil, fmt.Errorf(`%q of topic %q must be an object of numbers by partition: {"0":18}`, name, topic)
	}
	numbers := make(map[int32]N)
	err := p.members(func(key string) error {
		if *count++; *count > MaxPositionPartitions {
			return fmt.Errorf("positions name more than %d partitions", MaxPositionPartitions)
		}
		// Only in the one form that Append writes, so that no partition has
		// two names.
		partition, err := strconv.ParseInt(key, 10, 32)
		if err != nil || partition < 0 || strconv.FormatInt(partition, 10) != key {
			return fmt.Errorf("%q of topic %q has a partition that is no number: %.20q", name, topic, key)
		}
		if _, twice := numbers[int32(partition)]; twice {
			return fmt.Errorf("%q of topic %q names partition %d twice", name, topic, partition)
		}
		token, _ := p.d.Token()
		digits, _ := token.(json.Number)
		n, err := strconv.ParseInt(digits.String(), 10, 64)
		if err != nil || n < 0 || n > limit {
			return fmt.Errorf("%q of topic %q must be an integer from 0 to %d for partition %d", name, topic, limit, partition)
		}
		numbers[int32(partition)] = N(n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return numbers, nil
}

// opening is what a value begins as.
type opening int

const (
	isOther opening = iota
	isNull
	isObject
)

// open reads the first token of a value.
func (p *positionsParser) open() opening {
	switch token, _ := p.d.Token(); token {
	case json.Delim('{'):
		return isObject
	case nil:
		return isNull
	default:
		return isOther
	}
}

// members reads the members of an object that is open, and its end. It calls
// value with the name of each, which has to read what belongs to it.
func (p *positionsParser) members(value func(name string) error) error {
	for p.d.More() {
		token, _ := p.d.Token()
		name, _ := token.(string)
		if err := value(name); err != nil {
			return err
		}
	}
	_, _ = p.d.Token() // the closing brace
	return nil
}

// skip passes over a value.
func (p *positionsParser) skip() error {
	var raw json.RawMessage
	return p.d.Decode(&raw)
}
