//go:build linux || darwin

package main

import (
	"fmt"
	"syscall"
)

// allowFiles raises the limit of open files, which the targets inherit, as far
// as it goes, and is an error if that is too few for so many connections.
func allowFiles(connections int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	const others = 500
	if need := uint64(connections + others); limit.Max < need {
		return fmt.Errorf("%d subscribers need %d open files, and the limit is %d: raise it (ulimit -Hn) or have fewer subscribers", connections, need, limit.Max)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	return nil
}
