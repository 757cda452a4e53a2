package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// kafka is what the targets read from.
type kafka struct {
	addr, version string
	pid           int
}

// startKafka starts a broker for a test, or for what acts as one.
func startKafka(t testing.TB) kafka {
	b := kafkatest.Start(t, kafkatest.HeapMiB(1024), kafkatest.Lasting())
	return kafka{addr: b.Addr(), version: b.Version(), pid: child("java")}
}

// command stands in for a test where there is none: it stops the program where
// a test would fail, and cleans up.
type command struct {
	testing.TB // for the methods that are not called
	cleanups   []func()
	failed     bool
}

// stopped is what a failure panics with.
type stopped struct{ why string }

func (c *command) Helper()          {}
func (c *command) Failed() bool     { return c.failed }
func (c *command) Cleanup(f func()) { c.cleanups = append(c.cleanups, f) }

func (c *command) Logf(format string, args ...any)   { fmt.Printf(format+"\n", args...) }
func (c *command) Skipf(format string, args ...any)  { c.Fatalf(format, args...) }
func (c *command) Fatalf(format string, args ...any) { panic(stopped{fmt.Sprintf(format, args...)}) }

// do runs f and then cleans up.
func (c *command) do(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s, ok := r.(stopped)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("%s", s.why)
		}
		c.failed = err != nil
		for _, cleanUp := range slices.Backward(c.cleanups) {
			cleanUp()
		}
	}()
	return f()
}
