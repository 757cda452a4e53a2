package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
)

// busyVariable is set in the environment of a process that is to keep the processors
// busy.
const busyVariable = "KAFKAWS_BENCH_BUSY"

// startBusy starts a process that keeps all processors busy until it is stopped, with
// nothing that anybody has to do with.
func startBusy(ctx context.Context) (stop func(), err error) {
	cmd, err := another(ctx, busyVariable)
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a process that is busy: %w", err)
	}
	return func() {
		_ = in.Close()
		_ = cmd.Wait()
	}, nil
}

// beBusy keeps the processors busy until in ends.
func beBusy(in io.Reader) {
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for { //nolint:staticcheck // it is to use up the time
			}
		}()
	}
	_, _ = io.Copy(io.Discard, in)
}
