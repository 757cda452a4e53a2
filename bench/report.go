package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// report is everything that was measured.
type report struct {
	Time    time.Time      `json:"time"`
	Machine map[string]any `json:"machine"`
	Options map[string]any `json:"options"`
	Medians []summary      `json:"medians"`
	Runs    []result       `json:"runs"`
}

// summary is a figure over the rounds.
type summary struct {
	Scenario string  `json:"scenario"`
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
			"rounds": o.rounds, "subscribers": o.subscribers, "partitions": o.partitions, "size": o.size, "records": o.records,
			"rate": o.rate, "duration": o.duration.String(), "warm_up": o.warmUp, "settle": o.settle.String(), "buffer_mib": bufferMiB,
		},
		Runs: runs,
	}
	for _, scenario := range o.scenarios {
		for _, m := range scenarioNamed(scenario).metrics {
			for _, target := range o.targets {
				if s, ok := r.summarize(scenario, target, m.key); ok {
					if floor, ok := r.summarize(scenario, "floor", m.key); ok && floor.Median != 0 {
						s.Ratio = s.Median / floor.Median
					}
					r.Medians = append(r.Medians, s)
				}
			}
		}
	}
	return r
}

func (r *report) summarize(scenario, target, metric string) (summary, bool) {
	var values []float64
	for _, run := range r.Runs {
		if v, ok := run.Figures[metric]; ok && run.Scenario == scenario && run.Target == target {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return summary{}, false
	}
	slices.Sort(values)
	n := len(values)
	return summary{
		Scenario: scenario, Target: target, Metric: metric,
		Median: (values[(n-1)/2] + values[n/2]) / 2, Min: values[0], Max: values[n-1],
	}, true
}

func (r *report) find(scenario, target, metric string) (summary, bool) {
	i := slices.IndexFunc(r.Medians, func(s summary) bool {
		return s.Scenario == scenario && s.Target == target && s.Metric == metric
	})
	if i < 0 {
		return summary{}, false
	}
	return r.Medians[i], true
}

// print writes a table for each scenario.
func (r *report) print(out io.Writer, o *options) {
	for _, name := range o.scenarios {
		s := scenarioNamed(name)
		fmt.Fprintf(out, "\n%s: %s. Medians of %d rounds (lowest–highest), × is the ratio to the floor.\n", name, s.about(o), o.rounds)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, target := range o.targets {
			fmt.Fprintf(w, "\t%s", target)
		}
		fmt.Fprintln(w)
		for _, m := range s.metrics {
			fmt.Fprint(w, m.title)
			for _, target := range o.targets {
				fmt.Fprintf(w, "\t%s", r.cell(name, target, m))
			}
			fmt.Fprintln(w)
		}
		_ = w.Flush()
	}
}

func (r *report) cell(scenario, target string, m metric) string {
	s, ok := r.find(scenario, target, m.key)
	if !ok {
		return "-"
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', m.decimals, 64) }
	cell := fmt.Sprintf("%s (%s–%s)", number(s.Median), number(s.Min), number(s.Max))
	if target != "floor" && s.Ratio != 0 {
		cell += fmt.Sprintf(" ×%.2f", s.Ratio)
	}
	return cell
}

// save writes the report as JSON.
func (r *report) save(file string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o600) //nolint:gosec // where the user says
}
