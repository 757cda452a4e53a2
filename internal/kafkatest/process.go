package kafkatest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// process is a running Java.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; set before done is closed
}

var (
	// briefJVM is for a short life on a busy machine: one collector thread and the
	// quick compiler only.
	briefJVM = []string{"-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}
	// lastingJVM has the collector of Kafka's own scripts.
	lastingJVM = []string{"-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"}
)

func jvmFlags(heapMiB int, tuning []string) []string {
	return append([]string{
		fmt.Sprintf("-Xmx%dm", heapMiB), "-XX:-UsePerfData",
		"-Djava.awt.headless=true",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		// Hundreds of lines each, and what differs from the defaults stands in server.properties.
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
		"-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
		// ZooKeeper asks for log4j 1 otherwise.
		"-Dzookeeper.jmx.log4j.disable=true",
	}, tuning...)
}

// startProcess runs a command and appends what it prints to the file log.
func startProcess(log, name string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = dieWithParent()
	started := make(chan error, 1)
	go func() {
		// On Linux "the parent is gone" means that the thread which started the
		// child is gone, so that thread is kept for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer out.Close()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// kill ends the process without any warning and waits until it is gone.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // the only failure is that it has ended already
	<-p.done
}

// stop asks the process to end, and kills it if it does not in time.
func (p *process) stop(within time.Duration) error {
	if p == nil {
		return nil
	}
	if err := terminate(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.kill()
		return fmt.Errorf("asking %s to stop: %w", p.cmd.Path, err)
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		p.kill()
		return fmt.Errorf("still running %v after it was asked to stop, so it was killed", within)
	}
}

// running tells whether the process has not ended yet.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// tail returns the last lines of a log, those that complain first of all.
func tail(log string, n int) string {
	b, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	var bad []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, " ERROR ") || strings.Contains(line, " FATAL ") || strings.Contains(line, "Exception") {
			bad = append(bad, line)
		}
	}
	return strings.Join(bad[max(0, len(bad)-n):], "") + "...\n" + lastLines(b, n)
}
