package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestMain has the process be what it was started as.
func TestMain(m *testing.M) {
	if was, err := beAnother(); was {
		if err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEveryScenario is a small run of all that make bench does. It looks at what
// was delivered and at what was reported, never at a time.
func TestEveryScenario(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: not building Caddy")
	}
	o := &options{
		targets: targetNames(), scenarios: scenarioNames(), transports: transportNames(), rounds: 1, sizes: []int{10}, partitions: 2, size: 200,
		records: 500, rate: 1000, duration: 300 * time.Millisecond, warmUp: 5, settle: 0,
		publishers: 4, published: 2000, acks: 20, consumed: 900, samples: 5, behind: 400, out: filepath.Join(t.TempDir(), "results.json"),
	}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	if err := allowFiles(o.mostConnections()); err != nil {
		t.Fatal(err)
	}
	if _, err := cpu(os.Getpid()); err != nil {
		kafkatest.Lack(t, "no CPU clock to read: %v", err)
	}
	k := startKafka(t)
	binaries, err := buildAll(t.Context(), o, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	runs, err := measureAll(t.Context(), k, o, binaries)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, name := range o.scenarios {
		s := scenarioNamed(name)
		for _, l := range s.cases(o) {
			want += len(s.columns(o, l))
		}
	}
	if len(runs) != want {
		t.Fatalf("%d runs, want %d", len(runs), want)
	}
	for _, r := range runs {
		for _, m := range scenarioNamed(r.Scenario).metrics {
			if _, ok := r.Figures[m.key]; !ok && (targetNamed(r.Target).manyTopics || !strings.HasPrefix(m.key, "unread_")) {
				t.Errorf("%s of %s has no %s", r.Scenario, r.Target, m.title)
			}
		}
		checkRequests(t, r)
	}
	report := newReport(o, k, runs)
	report.print(t.Output(), o)
	if err := report.save(o.out); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(o.out); err != nil || len(b) == 0 {
		t.Fatalf("the results: %q, %v", b, err)
	}
}

// checkRequests sees to it that nothing gets past the proxy that counts.
func checkRequests(t *testing.T, r result) {
	t.Helper()
	if r.Scenario != "requests" {
		return
	}
	if r.Figures["connections"] < 1 || r.Figures["steady_requests_per_s"] <= 0 {
		t.Errorf("the proxy counted this: %v", r.Figures)
	}
}
