package kafka

import "slices"

// maxLineage bounds how many changes of the leader epoch are remembered of a
// partition.
const maxLineage = 16

// lineage is what is known of the leader epochs of a log that was read. The
// leader of an epoch gives out each offset once, so two logs that have the same
// epoch at an offset have the same records up to it (KIP-101). Epochs only grow
// along a log.
type lineage struct {
	// base is what the epochs before those that were read are at most; noEpoch
	// where that is not known.
	base int32
	// starts are the offsets from which on each epoch was read, in order.
	starts []epochStart
}

type epochStart struct {
	offset int64
	epoch  int32
}

// known reports whether there is anything to compare a log with.
func (l *lineage) known() bool { return l.base != noEpoch || len(l.starts) > 0 }

// last returns the epoch of what was read last, or noEpoch.
func (l *lineage) last() int32 {
	if len(l.starts) == 0 {
		return noEpoch
	}
	return l.starts[len(l.starts)-1].epoch
}

// add notes the epoch of what was read from an offset on.
func (l *lineage) add(offset int64, epoch int32) {
	if epoch == noEpoch || len(l.starts) > 0 && epoch == l.last() {
		return
	}
	if len(l.starts) == maxLineage {
		l.base = l.starts[0].epoch
		l.starts = slices.Delete(l.starts, 0, 1)
	}
	l.starts = append(l.starts, epochStart{offset, epoch})
}

// agrees reports whether the log that was read may have had an epoch at an
// offset.
func (l *lineage) agrees(offset int64, epoch int32) bool {
	for _, s := range slices.Backward(l.starts) {
		if s.offset <= offset {
			return s.epoch == epoch
		}
	}
	return l.base == noEpoch || epoch <= l.base
}

// cut forgets what was read from an offset on.
func (l *lineage) cut(offset int64) {
	l.starts = slices.DeleteFunc(l.starts, func(s epochStart) bool { return s.offset >= offset })
}

// reset forgets what was read. From now on nothing is known but base.
func (l *lineage) reset(base int32) { *l = lineage{base: base} }

func (l *lineage) clone() lineage { return lineage{l.base, slices.Clone(l.starts)} }
