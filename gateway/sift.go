package gateway

import (
	"slices"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

// siftLimit is for how long a filter is asked about the records of a block at a time.
// Then it is somebody else's turn, and time to see whether the session has ended.
const siftLimit = 10 * time.Millisecond

// siftedSize is about what a blockSifted takes in memory beside its bitmaps.
const siftedSize = 256

// blockSifted is which of a form's entries a filter lets pass, as far as somebody
// wanted to know. It does not have the filter: whoever asks does.
type blockSifted struct {
	id string
	// turn holds a token while somebody uses what follows.
	turn          chan struct{}
	asked, wanted bitmap
	box           timebox
}

// size is what it takes in memory.
func (s *blockSifted) size() int64 {
	return int64(siftedSize + len(s.id) + 8*(len(s.asked)+len(s.wanted)))
}

// sift returns what is known of a filter, and how much memory that took. Where there
// are more filters than can be in use, the one that was not asked for longest is
// forgotten. The lock is held.
func (f *form) sift(id string, records int) (found *blockSifted, grown int64) {
	i := slices.IndexFunc(f.sifted, func(s *blockSifted) bool { return s.id == id })
	switch {
	case i >= 0:
		found = f.sifted[i]
		f.sifted = slices.Delete(f.sifted, i, i+1)
	default:
		words := (records + 63) / 64
		found = &blockSifted{id: id, turn: make(chan struct{}, 1), asked: make(bitmap, words), wanted: make(bitmap, words)}
		grown = found.size()
		if len(f.sifted) == maxFilters {
			grown -= f.sifted[0].size()
			f.sifted = slices.Delete(f.sifted, 0, 1)
		}
	}
	f.sifted = append(f.sifted, found)
	return found, grown
}

// sift asks the filter about the entries of a piece, one after the other, as many as
// there is time for but at least one. It returns about how many of them the filter was
// asked by now, and which of the form's entries it lets pass. What the chain made of the
// records is not kept, so it is made once more, once for each filter.
func (s *blockSifted) sift(b *block, t *tail, p piece, filter Filter, done <-chan struct{}) (upto int, wanted bitmap) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-done:
		return 0, nil
	}
	known := func() bool {
		for upto < len(p.entries) && s.asked.has(p.first+upto) {
			upto++
		}
		return upto == len(p.entries)
	}
	if known() {
		return upto, slices.Clone(s.wanted)
	}
	h := t.topic.hub
	turn, taken := h.blocks.sifters.take(done)
	if !taken {
		return upto, slices.Clone(s.wanted)
	}
	defer h.blocks.sifters.end(turn)
	chain := t.encoding.Chain
	for begin, work := h.now(), 0; !known(); {
		r := within(b.records, p.entries[upto].offset, b.next)[0]
		work += s.ask(chain, p.first+upto, &r, filter)
		if chain == nil && work < filterLook {
			continue
		}
		if work = 0; h.now()-begin >= siftLimit {
			break
		}
	}
	known()
	return upto, slices.Clone(s.wanted)
}

// ask asks the filter about one record, which is that of an entry.
func (s *blockSifted) ask(chain *Chain, entry int, r *record.Record, filter Filter) (work int) {
	s.asked.add(entry)
	if keep, err := chain.run(&s.box, r); err != nil || !keep {
		return 0
	}
	wanted, _, work := filter.Match(r, nil)
	if wanted {
		s.wanted.add(entry)
	}
	return work
}
