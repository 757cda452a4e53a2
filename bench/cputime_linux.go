package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpu is the user and system time that a process has used, to the nanosecond.
// The times of /proc come in hundredths of a second, too coarse for short runs.
func cpu(pid int) (time.Duration, error) {
	// The clock of a process, as clock_getcpuclockid(3) makes it.
	const sched = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0, fmt.Errorf("reading the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
