package main

import "fmt"

// goal is what the product is to reach in a metric. One of its bounds is set.
type goal struct {
	only  string // transport that it is for; all if it is empty
	ratio bool   // the bounds are of the ratio to the floor
	least float64
	most  float64
	// flat bounds the ratio of the largest to the smallest of all cases.
	flat float64
}

// judge says whether a figure of a case meets the goal, in words. It is empty
// where that cannot be known.
func (g goal) judge(s summary, l load) string {
	if g.only != "" && g.only != l.transport {
		return ""
	}
	value, of := s.Median, ""
	if g.ratio {
		if value, of = s.Ratio, "×"; value == 0 {
			return ""
		}
	}
	switch {
	case g.least > 0:
		return verdictOf(value >= g.least, fmt.Sprintf("≥ %s%v", of, g.least))
	case g.most > 0:
		return verdictOf(value <= g.most, fmt.Sprintf("≤ %s%v", of, g.most))
	}
	return ""
}

// judgeFlat says whether the cases of a scenario cost the same.
func (g goal) judgeFlat(all []summary) string {
	if g.flat == 0 || len(all) < 2 {
		return ""
	}
	low, high := all[0].Median, all[0].Median
	for _, s := range all {
		low, high = min(low, s.Median), max(high, s.Median)
	}
	return verdictOf(high <= low*g.flat, fmt.Sprintf("highest ≤ %v × lowest", g.flat))
}

func verdictOf(met bool, what string) string {
	if met {
		return what + ": met"
	}
	return what + ": MISSED"
}
