package main

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"time"
)

// report is everything that was measured.
type report struct {
	Time    time.Time      `json:"time"`
	Machine map[string]any `json:"machine"`
	Options map[string]any `json:"options"`
	Medians []summary      `json:"medians"`
	Runs    []result       `json:"runs"` // those that failed, too
}

// summary is a figure over the rounds.
type summary struct {
	Scenario string  `json:"scenario"`
	Case     string  `json:"case"`
	Target   string  `json:"target"`
	Metric   string  `json:"metric"`
	Median   float64 `json:"median"`
	Min      float64 `json:"min"`
	Max      float64 `json:"max"`
	Ratio    float64 `json:"ratio_to_floor,omitempty"`
}

func newReport(o *options, k kafka, runs []result) *report {
	r := &report{
		Time:    time.Now().UTC(),
		Machine: map[string]any{"os": runtime.GOOS, "arch": runtime.GOARCH, "cpus": runtime.NumCPU(), "go": runtime.Version(), "kafka": k.version},
		Options: map[string]any{
			"targets": o.targets, "scenarios": o.scenarios, "transports": o.transports,
			"rounds": o.rounds, "subscribers": o.sizes, "partitions": o.partitions, "size": o.size, "records": o.records,
			"rate": o.rate, "duration": o.duration.String(), "warm_up": o.warmUp, "settle": o.settle.String(), "buffer_mib": bufferMiB,
			"publishers": o.publishers, "published": o.published, "acks": o.acks, "consumed": o.consumed, "samples": o.samples, "behind": o.behind,
		},
		Runs: runs,
	}
	for _, name := range o.scenarios {
		s := scenarioNamed(name)
		for _, l := range s.cases(o) {
			for _, m := range s.metrics {
				for _, target := range s.columns(o, l) {
					r.summarize(summary{Scenario: name, Case: l.name, Target: target, Metric: m.key})
				}
			}
		}
	}
	return r
}

// summarize adds the median of a figure, if there is one.
func (r *report) summarize(s summary) {
	values := r.values(s)
	if len(values) == 0 {
		return
	}
	s.Median, s.Min, s.Max = median(values), values[0], values[len(values)-1]
	floor := s
	floor.Target = "floor"
	if values := r.values(floor); len(values) > 0 && median(values) != 0 {
		s.Ratio = s.Median / median(values)
	}
	r.Medians = append(r.Medians, s)
}

// values are a figure's in all rounds that did not fail, in order of size.
func (r *report) values(of summary) (values []float64) {
	for _, run := range r.Runs {
		v, ok := run.Figures[of.Metric]
		if ok && run.Error == "" && run.Scenario == of.Scenario && run.Case == of.Case && run.Target == of.Target {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return values
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// find returns a median.
func (r *report) find(scenario, loadName, target, metric string) (summary, bool) {
	i := slices.IndexFunc(r.Medians, func(s summary) bool {
		return s.Scenario == scenario && s.Case == loadName && s.Target == target && s.Metric == metric
	})
	if i < 0 {
		return summary{}, false
	}
	return r.Medians[i], true
}

// measured tells whether there is any figure of a target in a case.
func (r *report) measured(scenario, loadName, target string) bool {
	return slices.ContainsFunc(r.Medians, func(s summary) bool {
		return s.Scenario == scenario && s.Case == loadName && s.Target == target
	})
}

// save writes the report as JSON.
func (r *report) save(file string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o600) //nolint:gosec // where the user says
}
