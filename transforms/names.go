package transforms

import (
	"slices"

	"github.com/kafkaws/kafkaws/record"
)

// Names are the outward names of topics: those by which clients and the site know
// them, where a chain's Renamers give them others than Kafka's. They are one to
// one: a topic whose name went to another has no outward name, and is out of
// reach. The zero Names leave all names as they are.
//
// The host keeps the Names of both of its chains, and only it speaks to Kafka by
// Kafka's names. To the client everything is outward: what it asks for, records,
// positions, replies and errors; and so is what the site writes, in `subscribe`
// and `publish`.
//
//   - A subscription is to an outward name. The policy is asked about that name as
//     it is. Then Inward of the chain that goes out says which topic to read; a
//     name that has none is answered like one of a topic that does not exist. The
//     records take their outward names in that chain.
//   - A record that is published names its topic by an outward name, which becomes
//     Kafka's in the chain that goes in. What comes out of the chain is what will
//     be written, so that is what the policy judges: it is asked about Outward of
//     the record's topic, and one that has no outward name is refused like one
//     that the policy does not allow. The reply repeats the client's name.
//
// A site that renames topics in both directions writes a line for each:
//
//	transform out topic internal.* *
//	transform in  topic * internal.*
type Names struct {
	// renamers are in the order from Kafka to clients.
	renamers []Renamer
}

// NewNames returns the names that a chain of the direction makes.
func NewNames(d Direction, chain []Transform) Names {
	var n Names
	for i := range chain {
		if d == DirectionIn { // its end is the one at Kafka
			i = len(chain) - 1 - i
		}
		if renamer, ok := chain[i].(Renamer); ok {
			n.renamers = append(n.renamers, renamer)
		}
	}
	return n
}

// Outward returns the outward name of a topic of Kafka's; ok is false if it has
// none, because its name went to another topic.
func (n Names) Outward(kafka string) (outward string, ok bool) {
	outward = n.outward(kafka)
	return outward, outward != "" && n.inward(outward) == kafka
}

// Inward returns Kafka's name of the topic with an outward name; ok is false if
// no topic has it.
func (n Names) Inward(outward string) (kafka string, ok bool) {
	kafka = n.inward(outward)
	return kafka, kafka != "" && n.outward(kafka) == outward
}

// outward takes a name past all renamers, and returns an empty one if one of them
// puts it out of reach.
func (n Names) outward(name string) string {
	for _, renamer := range n.renamers {
		if renamed, ok := renamer.Outward(name); ok {
			name = renamed
		}
		if !record.ValidTopic(name) {
			return ""
		}
	}
	return name
}

// inward is the way back.
func (n Names) inward(name string) string {
	for _, renamer := range slices.Backward(n.renamers) {
		if renamed, ok := renamer.Inward(name); ok {
			name = renamed
		}
		if !record.ValidTopic(name) {
			return ""
		}
	}
	return name
}
