package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// profileSeconds is how long a profile takes, which floods are shorter than.
const profileSeconds = 4

// record writes a profile of what the process does in the next seconds into a
// file. Its own cost is part of what is measured meanwhile.
func (p *process) record(ctx context.Context, file string) error {
	profile, err := p.pprof(ctx, fmt.Sprintf("profile?seconds=%d", profileSeconds))
	if err != nil {
		return err
	}
	defer profile.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, profile)
	return err
}

// profiling begins a profile if profiles are wanted, and returns what waits for
// its end.
func (r *run) profiling(ctx context.Context) (wait func() error) {
	if r.o.profiles == "" {
		return func() error { return nil }
	}
	name := strings.NewReplacer(" ", "-", ",", "").Replace(r.name)
	done := make(chan error, 1)
	go func() { done <- r.process.record(ctx, filepath.Join(r.o.profiles, name+".pprof")) }()
	return func() error { return <-done }
}
