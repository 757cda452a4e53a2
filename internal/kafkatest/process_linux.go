package kafkatest

import "syscall"

// dieWithParent has the kernel kill the child when the test process ends, even
// by a signal or by the test's time limit, when no clean-up runs.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
