package main

import (
	"context"
	"os"
	"os/exec"
)

// another is this program in a process of its own, with a variable in its
// environment that says what it is to be.
func another(ctx context.Context, variable string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program) //nolint:gosec // this one
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = dieWithParent()
	return cmd, nil
}

// beAnother has the process be what it was started as, if that was by another, and
// reports whether it was.
func beAnother() (was bool, err error) {
	switch {
	case os.Getenv(busyVariable) != "":
		beBusy(os.Stdin)
		return true, nil
	case os.Getenv(crowdVariable) != "":
		return true, beCrowd(os.Stdin, os.Stdout)
	default:
		return false, nil
	}
}
