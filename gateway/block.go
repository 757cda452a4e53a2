package gateway

import (
	"cmp"
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// recordSize is what a record takes in memory beside its bytes.
const recordSize = 128

// block is a range of a partition's records, and the frames that were made of
// them for each encoding in use.
type block struct {
	key         topicPartition
	first, next int64 // the offsets it has: from first on, before next
	records     []record.Record
	unreadable  bool // as record.Batch has it
	// place and held are guarded by the lock of blocks. place is nil once the
	// block was let go of; whoever has it may still use it.
	place *list.Element
	held  int64

	mu    sync.Mutex
	forms map[encodingKey]*form
}

// form is a block's records in one encoding.
type form struct {
	mu       sync.Mutex
	encoding *Encoding
	deflater *deflater
	box      timebox
	done     int // how many of the records are encoded
	payload  []byte
	frames   []byte
	entries  []blockEntry
	sifted   []*blockSifted // the one used last behind
}

// blockEntry is where a record's frame ends.
type blockEntry struct {
	offset int64
	end    int
}

// newBlock makes a block of what was fetched. The records get memory of their
// own: they came in a response with those of others.
func newBlock(key topicPartition, first int64, batch record.Batch) *block {
	b := &block{key: key, first: first, next: batch.Next, unreadable: batch.Unreadable, forms: make(map[encodingKey]*form)}
	// What comes before first, and behind next, has been cut off.
	size := 0
	for i := range batch.Records {
		size += batch.Records[i].Size()
	}
	memory := make([]byte, 0, size)
	b.records = make([]record.Record, len(batch.Records))
	for i := range batch.Records {
		b.records[i], memory = batch.Records[i].CopyTo(memory)
	}
	return b
}

// cut leaves of a block that nobody else has yet what is from one offset on,
// before another.
func (b *block) cut(first, next int64) {
	b.first, b.next = max(b.first, first), min(b.next, next)
	b.records = within(b.records, b.first, b.next)
}

// within returns the records from one offset on, before another.
func within(records []record.Record, first, next int64) []record.Record {
	before := func(r record.Record, offset int64) int { return cmp.Compare(r.Offset, offset) }
	i, _ := slices.BinarySearchFunc(records, first, before)
	j, _ := slices.BinarySearchFunc(records, max(first, next), before)
	return records[i:j]
}

func (b *block) size() int64 {
	size := int64(recordSize * len(b.records))
	for i := range b.records {
		size += int64(b.records[i].Size())
	}
	return size
}

// piece is a part of a block, encoded.
type piece struct {
	stretch
	offset, next int64 // where it begins, and the offset behind it
	// first is the number of its first entry in the block, and wanted which of
	// the block's entries its filter lets pass.
	first  int
	wanted bitmap
}

// after returns the offset behind the first n bytes, which are whole frames.
func (p *piece) after(n int) int64 {
	if n == len(p.bytes) {
		return p.next
	}
	i, _ := slices.BinarySearchFunc(p.entries, int(p.pos)+n, func(e blockEntry, end int) int { return e.end - end })
	return p.entries[i].offset + 1
}

// piece returns what a tail's sessions get of the block from an offset on: all of
// it, unless its transforms, or the session's filter, take long. With a filter it is
// nothing where the session ends before, which done tells.
func (b *block) piece(t *tail, offset int64, filter *sieve, done <-chan struct{}) piece {
	p, sifted := b.encoded(t, offset, filter)
	if sifted == nil {
		return p
	}
	upto, wanted := sifted.sift(b, t, p, filter.Filter, done)
	if p.wanted = wanted; upto < len(p.entries) {
		p.next = max(p.entries[upto].offset, offset)
		p.entries = p.entries[:upto]
	}
	return p
}

// encoded returns the piece before a filter, and what is known of that one.
func (b *block) encoded(t *tail, offset int64, filter *sieve) (piece, *blockSifted) {
	f := b.form(t.encoding)
	f.mu.Lock()
	defer f.mu.Unlock()
	grown := f.encode(b, t, offset)
	p := piece{offset: offset, next: b.next}
	if f.done < len(b.records) {
		p.next = b.records[f.done].Offset
	}
	p.first, _ = slices.BinarySearchFunc(f.entries, offset, func(e blockEntry, offset int64) int { return int(min(max(e.offset-offset, -1), 1)) })
	begin := 0
	if p.first > 0 {
		begin = f.entries[p.first-1].end
	}
	p.stretch = stretch{bytes: f.frames[begin:len(f.frames):len(f.frames)], entries: f.entries[p.first:len(f.entries):len(f.entries)], pos: uint64(begin)}
	var sifted *blockSifted
	if filter != nil {
		var more int64
		sifted, more = f.sift(filter.ID(), len(b.records))
		grown += more
	}
	if grown != 0 {
		t.topic.hub.blocks.grown(b, grown)
	}
	return p, sifted
}

func (b *block) form(e *Encoding) *form {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.forms[e.key()]
	if f == nil {
		f = &form{encoding: e, deflater: newDeflater(e.Deflate)}
		b.forms[e.key()] = f
	}
	return f
}

// encode encodes what is not yet, for as long as the chain has for one record but
// at least one from offset on, and returns how much memory that took. While
// records are transformed here, the session's other topics and its pings wait.
func (f *form) encode(b *block, t *tail, offset int64) (grown int64) {
	if f.done == len(b.records) {
		return 0
	}
	before := cap(f.frames) + entrySize*cap(f.entries)
	if f.frames == nil {
		// A guess: what codecs add is less than what records take.
		f.frames = make([]byte, 0, int(b.size())-recordSize/2*len(b.records))
	}
	chain := f.encoding.Chain
	begin, from := time.Now(), f.done
	for ; f.done < len(b.records); f.done++ {
		own := b.records[f.done]
		if chain != nil && f.done > 0 && b.records[f.done-1].Offset >= offset && time.Since(begin) >= chain.limit() {
			break
		}
		f.add(t, &own)
	}
	if f.done == len(b.records) {
		f.payload, f.deflater = nil, nil
	}
	t.topic.hub.cfg.encoded(f.done - from)
	return int64(cap(f.frames) + entrySize*cap(f.entries) - before)
}

// add appends a record's frame.
func (f *form) add(t *tail, r *record.Record) {
	offset := r.Offset
	keep, err := f.encoding.Chain.run(&f.box, r)
	if err == nil && keep {
		f.payload, err = f.encoding.append(f.payload[:0], r)
	}
	if err != nil {
		t.topic.hub.cfg.skipped(t.topic.name, err)
	}
	if err != nil || !keep {
		return
	}
	first, payload := f.deflater.frame(f.encoding.firstByte(), f.payload)
	f.frames = appendFrame(f.frames, first, payload)
	f.entries = append(f.entries, blockEntry{offset, len(f.frames)})
}
