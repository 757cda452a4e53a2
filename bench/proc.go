package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stat returns the fields of /proc/<pid>/stat from the third on: those after
// the command, which may contain anything.
func stat(pid int) ([]string, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 2 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

// rss is the memory of a process that is resident, in bytes. What stat says is
// cheaper to read, but off by some hundred KiB.
func rss(pid int) (int64, error) { return memoryOf(pid, "smaps_rollup", "Rss:") }

// peakRSS is the most that was resident since forgetPeak, or since the process
// began.
func peakRSS(pid int) (int64, error) { return memoryOf(pid, "status", "VmHWM:") }

// forgetPeak has the peak be counted from now on.
func forgetPeak(pid int) error {
	return os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "clear_refs"), []byte("5"), 0)
}

// memoryOf is a line of what the kernel tells of a process's memory, in bytes.
func memoryOf(pid int, name, key string) (int64, error) {
	file := filepath.Join("/proc", strconv.Itoa(pid), name)
	b, err := os.ReadFile(file) //nolint:gosec // of a process of ours
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == key {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, key)
}

// child finds a process that this one started, by its name. 0 is none.
func child(name string) int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		fields, err := stat(pid)
		if err != nil || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		if comm, _ := os.ReadFile(filepath.Join(dir, "comm")); strings.TrimSpace(string(comm)) == name {
			return pid
		}
	}
	return 0
}

// runtimeStats is what a Go process tells of itself.
type runtimeStats struct {
	goroutines  int64
	mallocs     int64
	heldMemory  int64 // that the heap has, does not use and has not given back
	idle, given int64
}

// inspect collects the process's garbage and asks it.
func (p *process) inspect(ctx context.Context) (s runtimeStats, err error) {
	// A second collection frees what the first one's finalizers let go.
	for range 2 {
		err = p.profile(ctx, "heap?gc=1&debug=1", func(line string) {
			numberAfter(line, "# Mallocs = ", &s.mallocs)
			numberAfter(line, "# HeapIdle = ", &s.idle)
			numberAfter(line, "# HeapReleased = ", &s.given)
		})
		if err != nil {
			return s, err
		}
	}
	s.heldMemory = s.idle - s.given
	return s, p.profile(ctx, "goroutine?debug=1", func(line string) {
		numberAfter(line, "goroutine profile: total ", &s.goroutines)
	})
}

func numberAfter(line, prefix string, n *int64) {
	if after, ok := strings.CutPrefix(line, prefix); ok {
		*n, _ = strconv.ParseInt(after, 10, 64)
	}
}

// profile goes through the lines of a profile.
func (p *process) profile(ctx context.Context, name string, each func(line string)) error {
	profile, err := p.pprof(ctx, name)
	if err != nil {
		return err
	}
	return eachLine(profile, each)
}

// eachLine goes through the lines of an answer and closes it.
func eachLine(answer io.ReadCloser, each func(line string)) error {
	defer answer.Close()
	r := bufio.NewReader(answer)
	for {
		line, err := r.ReadString('\n')
		each(strings.TrimSuffix(line, "\n"))
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pprof asks the process for a profile.
func (p *process) pprof(ctx context.Context, name string) (io.ReadCloser, error) {
	return p.ask(ctx, "/debug/pprof/"+name)
}

// metrics asks the product for its metrics that have no labels, without what all
// their names begin with.
func (p *process) metrics(ctx context.Context) (map[string]float64, error) {
	answer, err := p.ask(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	metrics := map[string]float64{}
	err = eachLine(answer, func(line string) {
		name, value, _ := strings.Cut(line, " ")
		if name, ok := strings.CutPrefix(name, "caddy_kafka_websocket_"); ok {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				metrics[name] = v
			}
		}
	})
	return metrics, err
}

func (p *process) ask(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.debug+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s: %s", request.URL, response.Status), response.Body.Close())
	}
	return response.Body, nil
}
