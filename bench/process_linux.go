package main

import "syscall"

// dieWithParent has the kernel end the child when this process ends in whatever
// way.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
