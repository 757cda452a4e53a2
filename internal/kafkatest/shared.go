package kafkatest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

var shared struct {
	sync.Mutex
	main   bool // M runs the tests, so there is somebody to stop the broker
	broker *Broker
	err    error
}

// Main runs a package's tests and then stops the broker that they shared.
type Main struct{ m interface{ Run() int } }

// M is for a package's TestMain, where [Shared] wants it. Alone it is
//
//	func TestMain(m *testing.M) { os.Exit(kafkatest.M(m).Run()) }
//
// and it may be handed to whatever takes a testing.M, for instance goleak.
func M(m interface{ Run() int }) *Main { return &Main{m} }

// Run runs the tests and returns the exit code.
func (m *Main) Run() int {
	shared.Lock()
	shared.main = true
	shared.Unlock()
	code := m.m.Run()
	shared.Lock()
	defer shared.Unlock()
	if b := shared.broker; b != nil {
		if code == 0 {
			b.release()
		} else {
			b.keepLog()
			fmt.Fprintf(os.Stderr, "the log of the Kafka that these tests shared: %s\n", b.Log())
		}
		shared.broker = nil
	}
	return code
}

// Shared returns the one broker that the tests of a package share, and starts
// it for the first that asks. Tests keep out of each other's way by the names
// of their topics, see [Topic], and leave the broker running. The package's
// TestMain has to use [M].
func Shared(t testing.TB) *Broker {
	t.Helper()
	inst := install(t, current)
	shared.Lock()
	defer shared.Unlock()
	if !shared.main {
		t.Fatal("kafkatest.Shared needs a TestMain that runs kafkatest.M(m), to stop the broker after the last test")
	}
	if shared.broker == nil && shared.err == nil {
		b := newBroker(inst, tempDir(t), newSettings(nil))
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		shared.broker, shared.err = b, b.start(ctx)
	}
	if shared.err != nil {
		t.Fatalf("starting Apache Kafka %s: %v", inst.version, shared.err)
	}
	b := shared.broker
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of Kafka at %s: %s", b.Addr(), b.Log())
		}
	})
	return b
}
