package record

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// StartKind tells what says where a subscription begins.
type StartKind uint8

// The kinds of Start.
const (
	// StartDefault leaves it to the site's configuration.
	StartDefault StartKind = iota
	// StartEarliest is the first record that Kafka still has of each partition.
	StartEarliest
	// StartLatest is the end of each partition: what is written from now on.
	StartLatest
	// StartAgo is the first record of each partition that is not older than
	// Start.Ago.
	StartAgo
	// StartTime is the first record of each partition from Start.Time on.
	StartTime
	// StartPositions is where another session ended: Start.Positions.
	StartPositions
	// StartNewest is the Start.Newest newest offsets of each partition.
	StartNewest
)

// Start says where a subscription begins. The zero Start is the site's default.
type Start struct {
	// Kind tells which of the fields below counts.
	Kind StartKind
	// Ago is how far back StartAgo begins; more than zero.
	Ago time.Duration
	// Time is when StartTime begins.
	Time time.Time
	// Positions are those of StartPositions.
	Positions Positions
	// Newest is how many offsets before the end of each partition StartNewest
	// begins; 1 or more. Where offsets have no record (compaction,
	// transactions), these are fewer records.
	Newest int64
}

var (
	errStart       = errors.New("must be earliest, latest, a duration back such as -15m or -7d, a time such as 2026-01-31T12:00:00Z (RFC 3339), or positions")
	errFromAndLast = errors.New(`"from" and "last" cannot be given together`)
	errLast        = errors.New(`"last" must be an integer from 1`)
)

// ParseStart reads where a client asks to begin: from is "earliest", "latest", a
// duration back ("-15m"; the units of time.ParseDuration, and d for days before
// them), a time (RFC 3339), or positions as JSON; last is a number of the newest
// offsets of each partition. Both are empty where the client does not say, and
// one of them has to be. The errors are sentences for the client.
//
// It serves the request's parameters as well as the members of a subscribe
// request, where the positions are an object.
func ParseStart(from, last string) (Start, error) {
	switch {
	case from != "" && last != "":
		return Start{}, errFromAndLast
	case last != "":
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 1 {
			return Start{}, errLast
		}
		return Start{Kind: StartNewest, Newest: n}, nil
	case from == "":
		return Start{}, nil
	}
	start, err := parseFrom(from)
	if err != nil {
		return Start{}, fmt.Errorf(`"from": %w`, err)
	}
	return start, nil
}

func parseFrom(from string) (Start, error) {
	switch {
	case from == "earliest":
		return Start{Kind: StartEarliest}, nil
	case from == "latest":
		return Start{Kind: StartLatest}, nil
	case strings.HasPrefix(strings.TrimLeft(from, " \t\r\n"), "{"):
		positions, err := ParsePositions([]byte(from))
		if err != nil {
			return Start{}, err
		}
		return Start{Kind: StartPositions, Positions: positions}, nil
	case from[0] == '-':
		ago, ok := parseDuration(from[1:])
		if !ok {
			return Start{}, errStart
		}
		return Start{Kind: StartAgo, Ago: ago}, nil
	}
	if at, ok := parseTime(from); ok {
		return Start{Kind: StartTime, Time: at}, nil
	}
	if _, ok := parseDuration(from); ok {
		return Start{}, fmt.Errorf("a duration back has a minus: -%.20s", from)
	}
	return Start{}, errStart
}

// parseDuration reads a duration of more than zero and without a sign, in the
// units of time.ParseDuration and, before them, whole days.
func parseDuration(s string) (time.Duration, bool) {
	const day = 24 * time.Hour
	if strings.ContainsAny(s, "+-") {
		return 0, false
	}
	total := time.Duration(0)
	if days, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > uint64(1<<63-1)/uint64(day) {
			return 0, false
		}
		if total, s = time.Duration(n)*day, rest; s == "" {
			return total, total > 0
		}
	}
	d, err := time.ParseDuration(s)
	total += d
	return total, err == nil && d >= 0 && total > 0 // not where the sum overflows
}

// parseTime reads a time of RFC 3339.
func parseTime(s string) (time.Time, bool) {
	// A plus that stands in a query as it is has become a space.
	if at := len(s) - len("+02:00"); at > 0 && s[at] == ' ' {
		s = s[:at] + "+" + s[at+1:]
	}
	at, err := time.Parse(time.RFC3339, s)
	return at, err == nil
}

// Since returns the time from which on records are asked for, for StartAgo and
// StartTime. It is never before 1970: in Kafka's look-up of offsets by time,
// negative times have other meanings.
func (s Start) Since(now time.Time) time.Time {
	at := s.Time
	if s.Kind == StartAgo {
		at = now.Add(-s.Ago)
	}
	if epoch := time.Unix(0, 0); at.Before(epoch) {
		return epoch
	}
	return at
}
