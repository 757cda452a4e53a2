package record_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/record"
)

func TestParseStart(t *testing.T) {
	ago := func(d time.Duration) record.Start { return record.Start{Kind: record.StartAgo, Ago: d} }
	at := func(s string) record.Start {
		parsed, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return record.Start{Kind: record.StartTime, Time: parsed}
	}
	orders := record.Start{Kind: record.StartPositions, Positions: record.Positions{"orders": {Offsets: map[int32]int64{0: 18}}}}
	for _, c := range []struct {
		from, last string
		want       record.Start
	}{
		{"", "", record.Start{}},
		{"earliest", "", record.Start{Kind: record.StartEarliest}},
		{"latest", "", record.Start{Kind: record.StartLatest}},
		{"-15m", "", ago(15 * time.Minute)},
		{"-1h30m0.5s", "", ago(90*time.Minute + 500*time.Millisecond)},
		{"-7d", "", ago(7 * 24 * time.Hour)},
		{"-1d12h", "", ago(36 * time.Hour)},
		{"-0d1ms", "", ago(time.Millisecond)},
		{"2026-01-31T12:00:00Z", "", at("2026-01-31T12:00:00Z")},
		{"2026-01-31T12:00:00.123+02:00", "", at("2026-01-31T12:00:00.123+02:00")},
		{"2026-01-31T12:00:00 02:00", "", at("2026-01-31T12:00:00+02:00")}, // a plus in a query
		{"2026-01-31T12:00:00-02:00", "", at("2026-01-31T12:00:00-02:00")},
		{`{"orders":{"offsets":{"0":18}}}`, "", orders},
		{` {"orders":{"offsets":{"0":18}}}`, "", orders},
		{`{}`, "", record.Start{Kind: record.StartPositions, Positions: record.Positions{}}},
		{"", "1", record.Start{Kind: record.StartNewest, Newest: 1}},
		{"", "9223372036854775807", record.Start{Kind: record.StartNewest, Newest: 1<<63 - 1}},
	} {
		got, err := record.ParseStart(c.from, c.last)
		if err != nil || !got.Time.Equal(c.want.Time) {
			t.Errorf("%q, %q: got %+v (%v), want %+v", c.from, c.last, got, err, c.want)
			continue
		}
		got.Time, c.want.Time = time.Time{}, time.Time{}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q, %q: got %+v, want %+v", c.from, c.last, got, c.want)
		}
	}
}

func TestParseStartRefuses(t *testing.T) {
	const other = `"from": must be earliest, latest, a duration back such as -15m or -7d, a time such as 2026-01-31T12:00:00Z (RFC 3339), or positions`
	for _, c := range []struct{ from, last, err string }{
		{"Earliest", "", other},
		{"-", "", other},
		{"--1m", "", other},
		{"-0s", "", other},
		{"-0d", "", other},
		{"-1d-2h", "", other},
		{"-1.5d", "", other},
		{"-1h1d", "", other},
		{"-9999999d", "", other},
		{"-106751d24h", "", other}, // more than a Duration holds
		{"-15", "", other},
		{"18", "", other},
		{"2026-01-31", "", other},
		{"2026-01-31T12:00:00", "", other},
		{" 02:00", "", other},
		{"15m", "", `"from": a duration back has a minus: -15m`},
		{"{", "", `"from": positions must be a JSON object: {"orders":{"offsets":{"0":18}}}`},
		{`{"a":{}}`, "", `"from": the position in topic "a" has no "offsets"`},
		{"", "0", `"last" must be an integer from 1`},
		{"", "-1", `"last" must be an integer from 1`},
		{"", "1e2", `"last" must be an integer from 1`},
		{"", "9223372036854775808", `"last" must be an integer from 1`},
		{"", "all", `"last" must be an integer from 1`},
		{"latest", "5", `"from" and "last" cannot be given together`},
	} {
		got, err := record.ParseStart(c.from, c.last)
		if err == nil || err.Error() != c.err || !reflect.DeepEqual(got, record.Start{}) {
			t.Errorf("%q, %q: got %+v, %v\nwant %s", c.from, c.last, got, err, c.err)
		}
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ from, want string }{
		{"-15m", "2026-01-31T11:45:00Z"},
		{"-36500d", "1970-01-01T00:00:00Z"}, // Kafka has other uses for negative times
		{"1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"},
		{"2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
	} {
		start, err := record.ParseStart(c.from, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := start.Since(now).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%s: got %s, want %s", c.from, got, c.want)
		}
	}
}

func FuzzParseStart(f *testing.F) {
	for _, seed := range []string{"earliest", "-15m", "-1d1h", "15m", "2026-01-31T12:00:00 02:00", `{"a":{"offsets":{"0":1}}}`, "-9223372036854775807ns"} {
		f.Add(seed, "")
	}
	f.Add("", "5")
	f.Fuzz(func(t *testing.T, from, last string) {
		s, err := record.ParseStart(from, last)
		if err != nil {
			if !reflect.DeepEqual(s, record.Start{}) {
				t.Fatalf("%+v and %v", s, err)
			}
			return
		}
		now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
		switch s.Kind {
		case record.StartDefault:
			if from != "" || last != "" {
				t.Fatalf("%q and %q say nothing", from, last)
			}
		case record.StartAgo:
			if s.Ago <= 0 || !s.Since(now).Before(now) {
				t.Fatalf("%q is %v back", from, s.Ago)
			}
		case record.StartTime:
			if s.Since(now).UnixMilli() < 0 {
				t.Fatalf("%q is since %v", from, s.Since(now))
			}
		case record.StartPositions:
			if s.Positions == nil {
				t.Fatalf("%q has no positions", from)
			}
		case record.StartNewest:
			if s.Newest < 1 {
				t.Fatalf("%q is %d offsets", last, s.Newest)
			}
		}
	})
}
