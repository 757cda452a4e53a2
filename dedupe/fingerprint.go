package dedupe

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/kafkaws/kafkaws/record"
)

// Fingerprint tells records apart: 128 bits, which two records that differ have
// in common by no chance worth counting with. It is good for one process only.
//
// It is no cryptographic hash. Whoever found two records with the same
// fingerprint, without knowing the key, would have nothing but a record of
// their own that is taken for another of their own.
type Fingerprint [16]byte

// fingerprinter makes fingerprints: two 64-bit hashes with keys of their own,
// which are chosen at random.
type fingerprinter [2]maphash.Seed

func newFingerprinter() fingerprinter {
	return fingerprinter{maphash.MakeSeed(), maphash.MakeSeed()}
}

// Fingerprint returns the fingerprint of a record as the client sent it: of its
// topic, partition, timestamp, key, value and headers. The offset is none of
// that. No bytes and nil are not the same. It must be taken before transforms
// change the record, and by the Memory that it is given to.
func (m *Memory) Fingerprint(r *record.Record) Fingerprint {
	return m.prints.of(r)
}

func (p *fingerprinter) of(r *record.Record) (f Fingerprint) {
	for i := range p {
		var h maphash.Hash
		h.SetSeed(p[i])
		number(&h, int64(r.Partition))
		number(&h, r.Timestamp.UnixMilli()) // the zero time is in the year 1, which no client can say
		number(&h, int64(len(r.Topic)))
		_, _ = h.WriteString(r.Topic)
		piece(&h, r.Key)
		piece(&h, r.Value)
		number(&h, int64(len(r.Headers)))
		for j := range r.Headers {
			number(&h, int64(len(r.Headers[j].Key)))
			_, _ = h.WriteString(r.Headers[j].Key)
			piece(&h, r.Headers[j].Value)
		}
		binary.LittleEndian.PutUint64(f[8*i:], h.Sum64())
	}
	return f
}

// piece writes bytes behind their length, and -1 for nil: so no two records are
// the same when written one piece behind the other.
func piece(h *maphash.Hash, b []byte) {
	if b == nil {
		number(h, -1)
		return
	}
	number(h, int64(len(b)))
	_, _ = h.Write(b)
}

func number(h *maphash.Hash, n int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	_, _ = h.Write(b[:])
}
