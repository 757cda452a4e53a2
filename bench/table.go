package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// print writes the tables of all scenarios, and which runs failed.
func (r *report) print(out io.Writer, o *options) {
	for _, name := range o.scenarios {
		s := scenarioNamed(name)
		fmt.Fprintf(out, "\n%s: %s.\nMedians of %s (lowest–highest), × is the ratio to the floor.\n", name, s.about(o), plural(o.rounds, "round"))
		if s.note != "" {
			fmt.Fprintln(out, s.note)
		}
		if s.lines {
			r.printLines(out, o, s)
			continue
		}
		for _, l := range s.cases(o) {
			r.printCase(out, o, s, l)
		}
	}
	for _, run := range r.Runs {
		if run.Error != "" {
			what, _, _ := strings.Cut(run.Error, "\n")
			fmt.Fprintf(out, "\nFAILED, and in no median: %s, %s, %s, round %d: %s\n", run.Scenario, run.Case, run.Target, run.Round, what)
		}
	}
}

// printCase writes a table with a line for each metric and a column for each
// target. Nobody needs one of a case that was not measured.
func (r *report) printCase(out io.Writer, o *options, s scenario, l load) {
	targets := s.columns(o, l)
	if !slices.ContainsFunc(targets, func(target string) bool { return r.measured(s.name, l.name, target) }) {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s", l.name)
	for _, target := range targets {
		fmt.Fprintf(w, "\t%s", target)
	}
	fmt.Fprintln(w)
	for _, m := range s.metrics {
		fmt.Fprint(w, m.title)
		for _, target := range targets {
			fmt.Fprintf(w, "\t%s", r.cell(s, l, target, m))
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}

// printLines writes one table of the product with a line for each case and a
// column for each metric, and then whether the cases cost the same where they
// should.
func (r *report) printLines(out io.Writer, o *options, s scenario) {
	const target = "kafkaws"
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range s.metrics {
		fmt.Fprintf(w, "\t%s", m.title)
	}
	fmt.Fprintln(w)
	medians := map[string][]summary{}
	for _, l := range s.cases(o) {
		if !r.measured(s.name, l.name, target) {
			continue
		}
		fmt.Fprint(w, l.name)
		for _, m := range s.metrics {
			fmt.Fprintf(w, "\t%s", r.cell(s, l, target, m))
			if median, ok := r.find(s.name, l.name, target, m.key); ok {
				medians[m.key] = append(medians[m.key], median)
			}
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
	for _, m := range s.metrics {
		for _, g := range m.goals {
			if judged := g.judgeFlat(medians[m.key]); judged != "" {
				fmt.Fprintf(out, "%s: %s\n", m.title, judged)
			}
		}
	}
}

// cell is a median, its range and its ratio to the floor, and for the product how
// it stands to its goals.
func (r *report) cell(of scenario, l load, target string, m metric) string {
	s, ok := r.find(of.name, l.name, target, m.key)
	if !ok {
		return "-"
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', m.decimals, 64) }
	cell := number(s.Median)
	if s.Min != s.Max {
		cell += fmt.Sprintf(" (%s–%s)", number(s.Min), number(s.Max))
	}
	if target != "floor" && s.Ratio != 0 {
		cell += fmt.Sprintf(" ×%.2f", s.Ratio)
	}
	if !product(targetNamed(target)) {
		return cell
	}
	for _, g := range m.goals {
		if judged := g.judge(s, l); judged != "" {
			cell += " [" + judged + "]"
		}
	}
	return cell
}
