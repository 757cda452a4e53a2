package record

import (
	"testing"
	"time"
)

func TestPointAt(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	for _, x := range []struct {
		at   time.Time
		want Point
	}{
		{at, 1_700_000_000_123},
		{at.Add(time.Nanosecond), 1_700_000_000_124},
		{at.Add(-time.Nanosecond), 1_700_000_000_123},
		{time.Unix(0, 0), 0},
		{time.Unix(-1, 1), 0}, // negative ones have other meanings
		{time.Time{}, 0},
	} {
		if got := PointAt(x.at); got != x.want {
			t.Errorf("%v: %d, want %d", x.at, got, x.want)
		}
	}
}
