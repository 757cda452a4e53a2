package kafkaws_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// TestIdleSessions measures what an idle session takes of the system's memory.
// docs/performance.md has the figures of:
//
//	go test -count=1 -v -run TestIdleSessions .
func TestIdleSessions(t *testing.T) {
	const (
		sessions = 5000
		limit    = 16 << 10
	)
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "shared"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	addr := freeAddr(t)
	s := &site{caddyProcess: plain.start(t, siteConfig(addr, kafka.ListenAddrs()[0], open)), addr: addr, path: brokerPath}
	// What is made once, for the first session.
	s.dialFleet(100, "topics=shared")
	resident, memory := s.resident(), s.memory()
	before := goroutines(s, func(int) bool { return true })
	s.dialFleet(sessions, "topics=shared")
	// Those that only looked things up for the first sessions may have ended since.
	goroutines(s, func(n int) bool { return n <= before+sessions })
	grown := (s.resident() - resident) / sessions
	t.Logf("an idle session: %d bytes of RSS, %d of them in use", grown, (s.memory()-memory)/sessions)
	if grown > limit {
		t.Errorf("an idle session takes %d bytes of RSS, want at most %d", grown, limit)
	}
}
