package dialog

import (
	"slices"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/gateway"
	"github.com/kafkaws/kafkaws/record"
)

// ack commits what a member of a group is done with.
func (d *Dialog) ack(s *gateway.Session, q *codec.Request) {
	next := make(map[string]map[int32]int64, len(q.Positions))
	for topic, at := range q.Positions {
		if name, ok := d.Inward(topic); ok {
			next[name] = at.Offsets
		}
	}
	id, positions := slices.Clone(q.ID), q.Positions
	strange := len(next) < len(positions)
	s.Ack(next, func(err error) {
		if err == nil && strange {
			err = record.ErrNotAssigned // what the member has counts, as for partitions
		}
		if err == nil {
			d.reply(s, &codec.Acked{ID: id, Positions: positions})
			return
		}
		code, message := failure(err)
		d.fail(s, id, code, message)
	})
}

// nack has a record, and all behind it in its partition, delivered again.
func (d *Dialog) nack(s *gateway.Session, q *codec.Request) {
	id := slices.Clone(q.ID)
	topic, ok := d.Inward(q.Record.Topic)
	if !ok {
		code, message := failure(record.ErrNotAssigned)
		d.fail(s, id, code, message)
		return
	}
	s.Nack(topic, q.Record.Partition, q.Record.Offset, q.Delay, func(err error) {
		if err == nil {
			d.reply(s, &codec.Acked{ID: id})
			return
		}
		code, message := failure(err)
		d.fail(s, id, code, message)
	})
}

// partitions has partitions be by the names that clients know their topics by.
func (d *Dialog) partitions(held map[string][]int32) codec.Partitions {
	named := make(codec.Partitions, len(held))
	for topic, list := range held {
		named[d.name(topic)] = list
	}
	return named
}
