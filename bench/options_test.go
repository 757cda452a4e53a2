package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", ""},
		{"-subscribers 1000,5000 -transport tls -scenarios flood,first -targets kafkaws", ""},
		{"-records 1000000", "does not stay within"},
		{"-subscribers 10,many", "takes numbers and commas"},
		{"-subscribers 10,0", "1 at least"},
		{"-transport tcp", `no transport "tcp": there are plain, tls, deflate`},
		{"-scenarios flod", `no scenario "flod"`},
		{"-targets flor", `no target "flor"`},
		{"-publishers 100 -published 99", "each publisher publishes something"},
		{"-acks 1000", "-acks is 900 at most"},
		{"-behind 7", "-behind is one for each partition"},
		{"-behind 200000", "would be fetched again"},
	} {
		_, err := parseOptions(strings.Fields(test.args), io.Discard)
		if got := ""; err != nil {
			got = err.Error()
			if test.want == "" || !strings.Contains(got, test.want) {
				t.Errorf("%q: got %q, want %q", test.args, got, test.want)
			}
		} else if test.want != "" {
			t.Errorf("%q: no error, want %q", test.args, test.want)
		}
	}
}

// TestCases looks at what the scenarios are made of, with the options that
// documentation is measured with.
func TestCases(t *testing.T) {
	o, err := parseOptions([]string{"-subscribers", "1000,5000"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{
		"flood": 6, "steady": 6, "idle": 4, "consume": 1, "publish": 1, "first": 1, "resume": 2, "requests": 4, "growth": 16,
	} {
		loads := scenarioNamed(name).cases(o)
		if len(loads) != want {
			t.Errorf("%s has %d cases, want %d", name, len(loads), want)
		}
		var names []string
		for _, l := range loads {
			names = append(names, l.name)
			if floodBytes(l.records/l.topics, l.size) > bufferMiB<<20 {
				t.Errorf("%s, %s: the flood is larger than the product's buffer", name, l.name)
			}
			if l.streams() > maxStreams || l.records < l.streams() {
				t.Errorf("%s, %s: %d streams, %d records", name, l.name, l.streams(), l.records)
			}
		}
		slices.Sort(names)
		if len(slices.Compact(names)) != want {
			t.Errorf("%s has cases of the same name: %q", name, names)
		}
	}
	s := scenarioNamed("flood")
	for _, l := range s.cases(o) {
		want := []string{"floor", "kafkaws", "centrifuge"}
		if l.transport == deflate {
			want = want[1:]
		}
		if got := s.columns(o, l); !slices.Equal(got, want) {
			t.Errorf("%s is for %q, want %q", l.name, got, want)
		}
	}
}
