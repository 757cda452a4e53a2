package gateway

import (
	"container/list"
	"context"
	"errors"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/kafkaws/kafkaws/record"
)

// blockFetches is how many blocks are fetched at a time, whatever the number of
// sessions that wait for some: those that follow the tails have a right to the
// brokers too.
const blockFetches = 4

// blocks holds ranges of the topics' records that sessions have asked for and
// that no tail holds, decoded, for whoever asks next: many sessions that come
// back together read the same.
//
// A partition's blocks do not overlap. Each begins where another one ends, or at
// a multiple of the partition's stride, so that sessions which begin at
// neighbouring offsets share their blocks.
type blocks struct {
	hub     *Hub
	fetches chan struct{}
	// writers are the turns of sessions to write blocks to their sockets: they
	// always have something to write. Over TLS, where nobody can write without
	// waiting, that is to copy what is written then.
	writers *turns
	// sifters are those of sessions to have filters look at blocks.
	sifters *turns

	mu      sync.Mutex
	shelves map[topicPartition]*shelf
	recent  list.List // of *block, the one used last in front
	held    int64
}

type topicPartition struct {
	topic     string
	partition int32
}

// shelf is what is held of a partition.
type shelf struct {
	stride  int64 // 0 before the first block
	blocks  []*block
	errands map[int64]*errand // by the offset that is being fetched
}

// errand is a fetch that is under way.
type errand struct {
	done chan struct{}
	err  error
}

func newBlocks(h *Hub) *blocks {
	return &blocks{
		hub: h, fetches: make(chan struct{}, blockFetches), writers: newTurns(h, writersRest), sifters: newTurns(h, siftersRest),
		shelves: make(map[topicPartition]*shelf),
	}
}

// get returns the block that an offset is in, fetched if need be. It fails as
// record.Source's Fetch does.
func (bs *blocks) get(ctx context.Context, topic string, partition int32, offset int64) (*block, error) {
	key := topicPartition{topic, partition}
	exact := false
	for {
		bs.mu.Lock()
		s := bs.shelves[key]
		if s == nil {
			s = &shelf{errands: make(map[int64]*errand)}
			bs.shelves[key] = s
		}
		if b := s.find(offset); b != nil {
			bs.recent.MoveToFront(b.place)
			bs.mu.Unlock()
			return b, nil
		}
		from := offset
		if !exact {
			from = s.begin(offset)
		}
		f, others := s.errands[from], false
		if f == nil && s.stride == 0 {
			// Where to begin is known when the first fetch is back.
			for _, f = range s.errands {
				others = true
			}
		}
		mine := f == nil
		if mine {
			f = &errand{done: make(chan struct{})}
			s.errands[from] = f
		}
		bs.mu.Unlock()
		if mine {
			f.err = bs.fetch(ctx, key, s, from)
			bs.mu.Lock()
			delete(s.errands, from)
			if len(s.blocks) == 0 && len(s.errands) == 0 && bs.shelves[key] == s {
				delete(bs.shelves, key)
			}
			bs.mu.Unlock()
			close(f.done)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case f.err == nil, others:
		case errors.Is(f.err, record.ErrOffsetGone) && from < offset:
			exact = true // the log begins behind the multiple of the stride
		case !mine && ctx.Err() == nil && errors.Is(f.err, context.Canceled):
			// It was somebody else who gave up.
		default:
			return nil, f.err
		}
	}
}

// fetch fetches what there is from an offset on, up to the next block that is
// held.
func (bs *blocks) fetch(ctx context.Context, key topicPartition, s *shelf, from int64) error {
	select {
	case bs.fetches <- struct{}{}:
		defer func() { <-bs.fetches }()
	case <-ctx.Done():
		return ctx.Err()
	}
	bs.mu.Lock()
	begin, end := s.gap(from)
	bs.mu.Unlock()
	if begin > from {
		return nil // it was fetched, from an offset before, while this waited
	}
	batch, err := bs.hub.cfg.Source.Fetch(ctx, key.topic, key.partition, from)
	if err != nil {
		return err
	}
	if batch.Next <= from {
		// There is nothing where there was something: the log was cut, which
		// the topic's reading will notice.
		return record.ErrUnavailable
	}
	bs.hub.cfg.fetched(len(batch.Records))
	stride := int64(1) << max(bits.Len64(uint64(batch.Next-from))-1, 4)
	batch.Next = min(batch.Next, end)
	batch.Records = within(batch.Records, from, batch.Next)
	// Copied without the lock, which all sessions that catch up need.
	b := newBlock(key, from, batch)
	size := b.size() // and what is cut off below stays in memory
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if bs.shelves[key] != s {
		return nil // forgotten meanwhile
	}
	if s.stride == 0 {
		s.stride = stride
	}
	b.cut(s.gap(from)) // others may have been fetched meanwhile
	if b.first >= b.next {
		return nil
	}
	b.place = bs.recent.PushFront(b)
	s.blocks = slices.Insert(s.blocks, s.after(b.first), b)
	bs.hold(b, size)
	bs.evict(b)
	return nil
}

// gap returns the first offset from one on that no block has, and where the next
// block begins.
func (s *shelf) gap(from int64) (begin, end int64) {
	i := s.after(from)
	if i > 0 {
		from = max(from, s.blocks[i-1].next)
	}
	if i == len(s.blocks) {
		return from, math.MaxInt64
	}
	return from, s.blocks[i].first
}

// find returns the block that an offset is in, or nil.
func (s *shelf) find(offset int64) *block {
	i := s.after(offset)
	if i == 0 || s.blocks[i-1].next <= offset {
		return nil
	}
	return s.blocks[i-1]
}

// after returns the number of the first block that begins behind an offset.
func (s *shelf) after(offset int64) int {
	i, _ := slices.BinarySearchFunc(s.blocks, offset, func(b *block, offset int64) int {
		if b.first > offset {
			return 1
		}
		return -1
	})
	return i
}

// begin returns where to begin to fetch in order to come by an offset that no
// block has.
func (s *shelf) begin(offset int64) int64 {
	if s.stride == 0 {
		return offset
	}
	from := offset - offset%s.stride
	if i := s.after(offset); i > 0 {
		from = max(from, s.blocks[i-1].next)
	}
	return from
}

// hold counts memory of a block. The lock is held.
func (bs *blocks) hold(b *block, n int64) {
	b.held += n
	bs.held += n
	bs.hub.held.Add(n)
}

// grown counts what was made of a block, or given up of that, if it is still there.
func (bs *blocks) grown(b *block, n int64) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if b.place != nil {
		bs.hold(b, n)
		bs.evict(b)
	}
}

// evict lets go of the blocks that were not used for the longest time, while
// there are more than a quarter of what all tails may hold, but not of keep. The
// lock is held.
func (bs *blocks) evict(keep *block) {
	for bs.held > bs.hub.cfg.BufferTotal/4 {
		last := bs.recent.Back().Value.(*block)
		if last == keep {
			return
		}
		bs.remove(last)
	}
}

// remove lets go of a block. The lock is held.
func (bs *blocks) remove(b *block) {
	s := bs.shelves[b.key]
	s.blocks = slices.DeleteFunc(s.blocks, func(other *block) bool { return other == b })
	if len(s.blocks) == 0 && len(s.errands) == 0 {
		delete(bs.shelves, b.key)
	}
	bs.recent.Remove(b.place)
	b.place = nil
	bs.hold(b, -b.held)
}

// forget lets go of all that is held of a topic.
func (bs *blocks) forget(topic string) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for key, s := range bs.shelves {
		if key.topic != topic {
			continue
		}
		for _, b := range slices.Clone(s.blocks) {
			bs.remove(b)
		}
		delete(bs.shelves, key)
	}
}
