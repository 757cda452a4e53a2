//go:build !linux

package kafkatest

import "syscall"

// dieWithParent does nothing here: these systems have no such request, so a
// test process that is killed leaves its brokers behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
