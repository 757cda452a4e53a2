package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopTime is how long a process may take to end by itself.
const stopTime = 20 * time.Second

// process is a target that runs.
type process struct {
	cmd     *exec.Cmd
	exited  chan struct{}
	logFile string
	debug   string // where its profiles are, and its metrics if it has some
	// subscribe is the way to it for a subscriber, and reach makes that of any
	// endpoint of the target.
	subscribe func(topics []string) endpoint
	reach     func(endpoint) endpoint
}

func startProcess(cmd *exec.Cmd, logFile string) (*process, error) {
	out, err := os.Create(logFile) //nolint:gosec // in a directory of ours
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, exited: make(chan struct{}), logFile: logFile}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait()
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) awaitListening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-p.exited:
			return errors.New("it ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends the process.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// log is the end of what the process wrote.
func (p *process) log() string {
	b, _ := os.ReadFile(p.logFile)
	return string(b[max(0, len(b)-4096):])
}
