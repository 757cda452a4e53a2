package main

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"sync"
)

// deflateEnd is what RFC 7692 (section 7.2.2) has a receiver add to a message,
// and an empty last block, so that the reader sees its end.
const deflateEnd = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// maxInflated bounds the messages that are remembered, in bytes.
const maxInflated = 128 << 20

// inflater inflates messages. A gateway that compresses once for all sends the
// same bytes to all, so a message is inflated once and then found by its bytes:
// every delivery is checked, for the cost of a look-up.
type inflater struct {
	readers  sync.Pool
	mu       sync.RWMutex
	messages map[string][]byte
	held     int
}

func newInflater() *inflater {
	return &inflater{
		readers:  sync.Pool{New: func() any { return flate.NewReader(nil) }},
		messages: map[string][]byte{},
	}
}

func (i *inflater) inflate(payload []byte) ([]byte, error) {
	i.mu.RLock()
	message, ok := i.messages[string(payload)]
	i.mu.RUnlock()
	if ok {
		return message, nil
	}
	r := i.readers.Get().(io.ReadCloser)
	defer i.readers.Put(r)
	err := r.(flate.Resetter).Reset(io.MultiReader(bytes.NewReader(payload), strings.NewReader(deflateEnd)), nil)
	if err == nil {
		message, err = io.ReadAll(r)
	}
	if err != nil {
		return nil, fmt.Errorf("inflating a message: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.held < maxInflated {
		i.messages[string(payload)] = message
		i.held += len(payload) + len(message)
	}
	return message, nil
}
