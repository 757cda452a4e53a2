package gateway

import "slices"

// What a member's client was given of its partitions and has not acknowledged yet:
// the window, in which there is room for so many records.

// held is a partition that a member has.
type held struct {
	next    int64   // behind what was delivered or passed over
	given   int64   // behind what is on its way to the client, or was
	unacked []int64 // the offsets that were delivered and not acknowledged
}

// awaitRoom waits until the client may be given more records, and carries out
// rewinds. Meanwhile it acts on what happens to the membership: the client cannot
// acknowledge what was taken from it, so that this makes room, too. It reports false
// when the session ends before.
func (m *member) awaitRoom() bool {
	for m.ByClient {
		m.mu.Lock()
		rewinds := m.rewinds
		m.rewinds = nil
		m.full = m.unacked >= m.MaxUnacked
		full := m.full
		m.mu.Unlock()
		for _, r := range rewinds {
			r.done(m.rewind(r))
		}
		if len(rewinds) > 0 {
			continue
		}
		if !full {
			break
		}
		if !m.act(m.NextChange) {
			return false
		}
	}
	return m.ctx.Err() == nil
}

// expect notes offsets that the client is to acknowledge, before it can.
func (m *member) expect(at topicPartition, offsets []int64) {
	if !m.ByClient {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.held[at]; h != nil && len(offsets) > 0 {
		h.unacked = append(h.unacked, offsets...)
		h.given = offsets[len(offsets)-1] + 1
		m.unacked += len(offsets)
	}
}

// passed notes that everything of a partition before next was delivered, is not
// shown, or is lost. It is done where nothing is left to be acknowledged.
func (m *member) passed(at topicPartition, next int64) {
	m.mu.Lock()
	h := m.held[at]
	done := h != nil && len(h.unacked) == 0
	if h != nil {
		h.next = next
	}
	m.mu.Unlock()
	if done {
		m.Done(at.topic, at.partition, next)
	}
}

// renounce forgets what the client was given of a partition from an offset on, since
// that log is no more.
func (m *member) renounce(at topicPartition, from int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.held[at]; h != nil {
		i, _ := slices.BinarySearch(h.unacked, from)
		m.unacked -= len(h.unacked) - i
		h.unacked = h.unacked[:i]
		h.given = min(h.given, from)
		m.signal()
	}
}

// forget forgets a partition. The lock is held.
func (m *member) forget(at topicPartition) {
	if h := m.held[at]; h != nil {
		m.unacked -= len(h.unacked)
		delete(m.held, at)
		m.signal()
	}
}

// signal tells that there may be room. The lock is held.
func (m *member) signal() {
	if m.full {
		m.interrupt()
	}
}

// ack removes the offsets before next, and returns how many they are.
func (h *held) ack(next int64) int {
	i, _ := slices.BinarySearch(h.unacked, next)
	h.unacked = slices.Delete(h.unacked, 0, i)
	return i
}
