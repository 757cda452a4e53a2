package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/bench/internal/reference"
)

const (
	// maxInFlight is the product's default.
	maxInFlight = 256
	// readSize is the longest frame that is taken.
	readSize = 64 << 10

	opText = 1
	opPing = 9
)

// newProducer makes what all connections produce with: idempotent, acknowledged
// by all replicas, and without a wait for more.
func newProducer(brokers string) *kgo.Client {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0),
		// The topic is new, and may have no leader yet: 5 seconds by default.
		kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(100))
	reference.Must(err)
	return cl
}

// publish produces what comes, with no more than a window of records that are
// not acknowledged, and answers pings.
func publish(c net.Conn, cl *kgo.Client, window int) {
	r := bufio.NewReaderSize(c, readSize)
	room := make(chan struct{}, window)
	for {
		op, payload, err := readFrame(r)
		if err != nil {
			return
		}
		switch op {
		case opText:
			record, err := parse(payload)
			reference.Must(err)
			room <- struct{}{}
			cl.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
				reference.Must(err)
				<-room
			})
		case opPing: // shorter than 126 bytes, as all control frames
			if _, err := c.Write(append([]byte{0x8a, byte(len(payload))}, payload...)); err != nil {
				return
			}
		}
		_, _ = r.Discard(len(payload))
	}
}

// readFrame reads a frame and unmasks it where it was read.
func readFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	head, err := r.Peek(6)
	if err != nil {
		return 0, nil, err
	}
	op = head[0] & 0x0f
	size, used := int(head[1]&0x7f), 2
	if size == 126 {
		if head, err = r.Peek(8); err != nil {
			return 0, nil, err
		}
		size, used = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	var mask [8]byte
	copy(mask[:], head[used:used+4])
	copy(mask[4:], head[used:used+4])
	_, _ = r.Discard(used + 4)
	if payload, err = r.Peek(size); err != nil {
		return 0, nil, err
	}
	unmask(payload, binary.NativeEndian.Uint64(mask[:]), mask)
	return op, payload, nil
}

func unmask(b []byte, word uint64, mask [8]byte) {
	for ; len(b) >= 8; b = b[8:] {
		binary.NativeEndian.PutUint64(b, binary.NativeEndian.Uint64(b)^word)
	}
	for i := range b {
		b[i] ^= mask[i]
	}
}

var (
	topicMember   = []byte(`{"topic":"`)
	keyMember     = []byte(`","key":"`)
	messageMember = []byte(`","message":"`)
	end           = []byte(`"}`)
)

// parse takes a message apart that has its members in this order and in which
// nothing is escaped. The record lives longer than the message.
func parse(message []byte) (*kgo.Record, error) {
	rest, ok := bytes.CutPrefix(bytes.Clone(message), topicMember)
	topic, rest, okTopic := bytes.Cut(rest, keyMember)
	key, rest, okKey := bytes.Cut(rest, messageMember)
	value, okEnd := bytes.CutSuffix(rest, end)
	if !ok || !okTopic || !okKey || !okEnd {
		return nil, errors.New("a message of another form than the generator's")
	}
	return &kgo.Record{Topic: string(topic), Key: key, Value: value}, nil
}
