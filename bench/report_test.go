package main

import (
	"io"
	"strings"
	"testing"
)

func TestTables(t *testing.T) {
	o, err := parseOptions([]string{"-scenarios", "publish,requests", "-subscribers", "100", "-targets", "floor,kafkaws"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	measured := func(scenario, kase, target, key string, v float64) result {
		return result{Scenario: scenario, Case: kase, Target: target, Round: 1, Figures: figures{key: v}}
	}
	failed := measured("publish", "all", "kafkaws", "records_per_s", 1)
	failed.Error = "it broke\nand said why"
	var b strings.Builder
	newReport(o, kafka{}, []result{
		measured("publish", "all", "floor", "records_per_s", 100),
		measured("publish", "all", "kafkaws", "records_per_s", 80),
		measured("publish", "all", "kafkaws", "records_per_s", 90),
		failed,
		measured("publish", "all", "floor", "cpu_us_per_record", 2),
		measured("publish", "all", "kafkaws", "cpu_us_per_record", 2.2),
		measured("requests", "1 session", "kafkaws", "connections", 4),
		measured("requests", "100 sessions", "kafkaws", "connections", 4),
		measured("requests", "1 session", "kafkaws", "idle_requests_per_s", 2),
		measured("requests", "100 sessions", "kafkaws", "idle_requests_per_s", 200),
	}).print(&b, o)
	for _, want := range []string{
		"85 (80–90) ×0.85 [≥ ×1: MISSED]\n",
		"2.200 ×1.10 [≤ ×1.2: met]\n",
		"connections: highest ≤ 1.2 × lowest: met\n",
		"requests/s, idle: highest ≤ 1.2 × lowest: MISSED\n",
		"FAILED, and in no median: publish, all, kafkaws, round 1: it broke\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}
