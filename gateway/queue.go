package gateway

import "github.com/kafkaws/kafkaws/record"

// maxQueued is how many bytes of records may wait for a topic's worker. While
// there are more, the topic is left out of the fetches.
const maxQueued = 4 << 20

// arrival is something that came from a topic's source: a batch, or, where these are
// set, what it says about the batches behind it.
type arrival struct {
	batch   record.Batch
	lost    *record.Loss
	started *record.Started
}

// Started is called by the source when it knows where reading begins.
func (t *topic) Started(s record.Started) {
	t.mu.Lock()
	if t.stands() != topicGone {
		t.stand(topicFound)
	}
	t.mu.Unlock()
	select {
	case <-t.settled:
		t.queueUp(arrival{started: &s}, 0)
	default:
		t.started(s) // there is nothing before it, and sessions wait for it
	}
}

// Deliver queues a batch for the worker.
func (t *topic) Deliver(b record.Batch) {
	size := 0
	for i := range b.Records {
		size += b.Records[i].Size()
	}
	t.queueUp(arrival{batch: b}, size)
}

// Lost queues a loss for the worker: what was read before it comes before it.
func (t *topic) Lost(l record.Loss) {
	t.hub.blocks.forget(t.name)
	t.queueUp(arrival{lost: &l}, 0)
}

// queueUp queues what has come, and has somebody work on it.
func (t *topic) queueUp(a arrival, size int) {
	t.qmu.Lock()
	defer t.qmu.Unlock()
	t.queue = append(t.queue, a)
	t.queued += size
	if !t.working {
		t.working = true
		go t.work()
	}
}

// Ready reports whether the queue has room.
func (t *topic) Ready() bool {
	t.qmu.Lock()
	defer t.qmu.Unlock()
	t.paused = t.queued >= maxQueued
	return !t.paused
}

// work empties the queue into the tails.
func (t *topic) work() {
	for {
		t.qmu.Lock()
		arrivals := t.queue
		t.queue, t.queued = nil, 0
		var resume record.Reading
		if t.paused {
			t.paused, resume = false, t.reading
		}
		if len(arrivals) == 0 {
			t.working = false
		}
		t.qmu.Unlock()
		if resume != nil {
			resume.Resume()
		}
		if len(arrivals) == 0 {
			return
		}
		for i := range arrivals {
			switch a := &arrivals[i]; {
			case a.lost != nil:
				t.lost(*a.lost)
			case a.started != nil:
				t.started(*a.started)
			default:
				t.take(&a.batch)
			}
			arrivals[i] = arrival{} // the records are not needed any more
		}
	}
}

// take puts a batch into the tails, a run at a time.
func (t *topic) take(b *record.Batch) {
	for records := b.Records; len(records) > 0; {
		n := run(records, int(min(maxRun, t.hub.cfg.Buffer/8)))
		t.pace()
		t.put(b.Partition, records[:n], records[n-1].Offset+1, records[n-1].Epoch)
		t.hub.reclaim()
		records = records[n:]
	}
	t.put(b.Partition, nil, b.Next, b.Epoch)
}

// maxRun is how many bytes of records are put into the tails at once: enough to
// make good writes of, few enough that sessions start on them soon. A small
// buffer has smaller runs, so that one run does not push anyone off the tail.
const maxRun = 128 << 10

// run returns how many of the records make up about that many bytes.
func run(records []record.Record, bytes int) int {
	size := 0
	for i := range records {
		if size += records[i].Size(); size >= bytes {
			return i + 1
		}
	}
	return len(records)
}
