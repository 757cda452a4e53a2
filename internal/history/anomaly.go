package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Kind is what is wrong.
type Kind uint8

const (
	// LostWrite is a record that was acknowledged and is not in the log, or,
	// where no log was loaded, that a reader passed and nobody got.
	LostWrite Kind = iota
	// Duplicate is a value that stands at more offsets than it was sent, or a
	// record that an ExactlyOnce reader got twice.
	Duplicate
	// InconsistentOffsets are two values at one offset, or a value that was
	// acknowledged at another offset than it has.
	InconsistentOffsets
	// IntNonmonotonic is a record that came after a later one of its partition,
	// within a session.
	IntNonmonotonic
	// ExtNonmonotonic is the same from one session to the next.
	ExtNonmonotonic
	// IntSkipped are records that a reader should have got between two that it
	// got, within a session.
	IntSkipped
	// ExtSkipped is the same from one session to the next.
	ExtSkipped
	// AbortedRead is a record that came, and whose send failed or whose
	// transaction was aborted or is open. The log counts as a reader here.
	AbortedRead
	// Unseen are records that never came at the end: to a reader that had the
	// time, or to anybody.
	Unseen
	// WrongContent is a record with another content, topic or partition than
	// was sent.
	WrongContent
	// Phantom is a record that came and that nobody sent, nor is it in the log.
	Phantom
	// Vanished is a record that came from an offset where the log has nothing.
	Vanished
	// Unwanted is a record that the reader's filter should have held back.
	Unwanted
	// AckedAgain is a record that came again after it was acknowledged.
	AckedAgain

	kinds = iota
)

var kindNames = [kinds]string{
	"lost-write", "duplicate", "inconsistent-offsets",
	"int-nonmonotonic-poll", "ext-nonmonotonic-poll", "int-poll-skip", "ext-poll-skip",
	"aborted-read", "unseen", "wrong-content", "phantom", "vanished", "unwanted", "acked-again",
}

// String is the kind's name, Jepsen's where it has one.
func (k Kind) String() string { return kindNames[k] }

// Anomaly is one thing that is wrong.
type Anomaly struct {
	// Kind is what is wrong.
	Kind Kind
	// Reader is who noticed; empty where the log, a sender, or nobody did.
	// Session counts the reader's sessions from 1.
	Reader  string
	Session int
	// Topic, Partition, Offset and Value are the record, or the first of them.
	// Offset is -1 where it is not known.
	Topic     string
	Partition int32
	Offset    int64
	Value     Value
	// Count is the number of records concerned.
	Count int
	// Detail says the rest: neighbours, the other value, who sent it.
	Detail string
}

// String is the anomaly in a line.
func (a Anomaly) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s/%d offset %d value %s", a.Kind, a.Topic, a.Partition, a.Offset, a.Value)
	if a.Count > 1 {
		fmt.Fprintf(&b, " and %d more", a.Count-1)
	}
	if a.Reader != "" {
		fmt.Fprintf(&b, ", reader %s session %d", a.Reader, a.Session)
	}
	if a.Detail != "" {
		b.WriteString(": " + a.Detail)
	}
	return b.String()
}

// maxKept bounds the anomalies of a kind that a report holds.
const maxKept = 1000

// Report is what a check found.
type Report struct {
	// Anomalies are sorted by kind, partition, offset and reader, at most 1000
	// of each kind.
	Anomalies []Anomaly
	// Sends, Acked, Reads, Records and Sessions count what was checked, so that
	// a test notices when it checked nothing. Records are those at distinct
	// offsets.
	Sends, Acked, Reads, Records, Sessions int
	// Told counts the records that readers did not get and were told of.
	Told int

	counts [kinds]int
}

func (r *Report) add(a Anomaly) {
	r.counts[a.Kind]++
	if r.counts[a.Kind] <= maxKept {
		a.Count = max(a.Count, 1)
		r.Anomalies = append(r.Anomalies, a)
	}
}

// Count is the number of anomalies of a kind, those left out too.
func (r *Report) Count(k Kind) int { return r.counts[k] }

// OK tells whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Anomalies) == 0 }

func (r *Report) sort() {
	slices.SortStableFunc(r.Anomalies, func(a, b Anomaly) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition),
			cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Reader, b.Reader))
	})
}

// maxPrinted bounds the anomalies of a kind that are printed.
const maxPrinted = 10

// String lists the first anomalies of each kind.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sends, %d acknowledged, %d records in the log, %d reads in %d sessions, %d records told lost\n",
		r.Sends, r.Acked, r.Records, r.Reads, r.Sessions, r.Told)
	var printed [kinds]int
	for i, a := range r.Anomalies {
		if printed[a.Kind]++; printed[a.Kind] <= maxPrinted {
			fmt.Fprintln(&b, a)
		}
		last := i+1 == len(r.Anomalies) || r.Anomalies[i+1].Kind != a.Kind
		if more := r.counts[a.Kind] - maxPrinted; last && more > 0 {
			fmt.Fprintf(&b, "%s: %d more\n", a.Kind, more)
		}
	}
	return b.String()
}

// Verify fails the test with the report if anything is wrong, and returns it.
func (h *History) Verify(t testing.TB) *Report {
	t.Helper()
	r := h.Check()
	if !r.OK() {
		t.Errorf("the history is not consistent: %s", r)
	}
	return r
}
