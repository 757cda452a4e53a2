package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// profileSeconds is how long a profile takes, which floods are shorter than.
const profileSeconds = 4

// record writes a profile of what the process does in the next seconds into a
// file. Its own cost is part of what is measured meanwhile.
func (p *process) record(ctx context.Context, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.debug, profileSeconds), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", request.URL, response.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, response.Body)
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
