package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// TestEveryTargetDeliversEverything is a small run of all that make bench does.
// It looks at what was delivered, never at a time.
func TestEveryTargetDeliversEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: not building Caddy")
	}
	o := &options{
		targets: targetNames(), scenarios: scenarioNames(), rounds: 1, subscribers: 50, partitions: 4, size: 200,
		records: 2000, rate: 1000, duration: 2 * time.Second, warmUp: 20, settle: 100 * time.Millisecond,
		out: filepath.Join(t.TempDir(), "results.json"),
	}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	if _, err := cpu(os.Getpid()); err != nil {
		kafkatest.Lack(t, "no /proc to read: %v", err)
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
	if want := len(o.targets) * len(o.scenarios); len(runs) != want {
		t.Fatalf("%d runs, want %d", len(runs), want)
	}
	for _, r := range runs {
		for _, m := range scenarioNamed(r.Scenario).metrics {
			if _, ok := r.Figures[m.key]; !ok {
				t.Errorf("%s of %s has no %s", r.Scenario, r.Target, m.title)
			}
		}
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
