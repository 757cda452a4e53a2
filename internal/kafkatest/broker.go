package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/internal/tcpproxy"
)

const (
	// startTimeout is long because several test binaries share few cores.
	startTimeout = 90 * time.Second
	stopTimeout  = 20 * time.Second
)

// Broker is one running node of Apache Kafka.
type Broker struct {
	inst     *installed
	settings settings
	flags    []string // further flags for Java
	id       int
	dir      string
	peers    []*Broker // all nodes of the cluster, this one too

	port, secondPort int // secondPort: the KRaft controller's, or ZooKeeper's
	proxiedPort      int // only what Proxied asks for
	proxy            *tcpproxy.Proxy

	mu        sync.Mutex // guards the processes
	kafka     *process
	paused    bool
	zookeeper *process
}

// Start starts a broker of the newest release for this test alone and waits
// until it answers. It is gone when the test ends.
func Start(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	return startOne(t, install(t, current), opts)
}

// StartOld is [Start] with the oldest release that is supported, see
// [OldVersion]. It brings its ZooKeeper with it.
func StartOld(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	return startOne(t, install(t, oldest), opts)
}

func startOne(t testing.TB, inst *installed, opts []Option) *Broker {
	t.Helper()
	b := newBroker(inst, tempDir(t), newSettings(opts))
	b.startProxy(t)
	t.Cleanup(func() { b.cleanUp(t) })
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := b.start(ctx); err != nil {
		t.Fatalf("starting Apache Kafka %s: %v", inst.version, err)
	}
	return b
}

// tempDir is not the test's own: a log should outlive the test that failed.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kafkatest-")
	if err != nil {
		t.Fatalf("making a directory for a broker: %v", err)
	}
	return dir
}

func newBroker(inst *installed, dir string, s settings) *Broker {
	b := &Broker{inst: inst, settings: s, id: 1, dir: dir}
	b.peers = []*Broker{b}
	return b
}

// Addr is the host and port that clients dial.
func (b *Broker) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port)) }

// ID is the node's number in its cluster.
func (b *Broker) ID() int { return b.id }

// Version is the release of Apache Kafka that the broker runs.
func (b *Broker) Version() string { return b.inst.version }

// Log is the path of the broker's log. After a failed test it is kept.
func (b *Broker) Log() string { return filepath.Join(b.dir, "kafka.log") }

// Kill ends the broker as a power cut would (SIGKILL) and returns when it is
// gone. What it had written is still there after [Broker.Restart].
func (b *Broker) Kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kafka.kill()
}

// Stop shuts the broker down in an orderly way (SIGTERM) and returns when it is
// gone.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.kafka.stop(stopTimeout); err != nil {
		t.Errorf("stopping Kafka: %v", err)
	}
}

// Running tells whether the broker's process is there.
func (b *Broker) Running() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kafka.running()
}

// answers tells whether there is a process that is not paused.
func (b *Broker) answers() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kafka.running() && !b.paused
}

// Pause freezes the broker (SIGSTOP): its connections stay open and nothing
// answers, as when a machine hangs. On Windows the test is skipped.
func (b *Broker) Pause(t testing.TB) {
	t.Helper()
	b.signal(t, "pausing", pause, true)
}

// Resume lets a paused broker go on (SIGCONT).
func (b *Broker) Resume(t testing.TB) {
	t.Helper()
	b.signal(t, "resuming", resume, false)
}

func (b *Broker) signal(t testing.TB, what string, send func(*os.Process) error, paused bool) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.kafka.running() {
		t.Fatalf("%s a broker that is not running", what)
	}
	if err := send(b.kafka.cmd.Process); errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("skipped: %s a process is not possible on this system", what)
	} else if err != nil {
		t.Fatalf("%s the broker: %v", what, err)
	}
	b.paused = paused
}

// Restart starts the broker again on the same port with the same data, after
// [Broker.Kill] or [Broker.Stop], and waits until it answers. A running broker
// is stopped first.
func (b *Broker) Restart(t testing.TB) {
	t.Helper()
	b.StartAgain(t)
	b.WaitReady(t)
}

// StartAgain is [Broker.Restart] without the wait.
func (b *Broker) StartAgain(t testing.TB) {
	t.Helper()
	if b.Running() {
		b.Stop(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := b.waitForgotten(ctx); err != nil {
		t.Fatalf("waiting until ZooKeeper gives up the broker that was killed: %v", err)
	}
	if err := b.launch(); err != nil {
		t.Fatalf("starting Kafka again: %v", err)
	}
}

// WaitReady waits until the broker answers, is part of its cluster, and has a
// leader for every partition.
func (b *Broker) WaitReady(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := b.waitReady(ctx); err != nil {
		t.Fatalf("waiting for Kafka: %v", err)
	}
}

// start brings up a cluster of which this broker is the only node.
func (b *Broker) start(ctx context.Context) error { return startAll(ctx, b.peers) }

// startAll gives the nodes of a new cluster their ports and empty data
// directories, starts them, and waits for all.
func startAll(ctx context.Context, nodes []*Broker) error {
	var err error
	// Ports found free may be taken when Kafka wants them.
	for range 5 {
		if err = prepare(nodes); err != nil {
			return err
		}
		for _, b := range nodes {
			if err = b.launch(); err != nil {
				return err
			}
		}
		for _, b := range nodes {
			if err = b.waitReady(ctx); err != nil {
				break
			}
		}
		if err == nil || !portTaken(nodes) {
			return err
		}
		for _, b := range nodes {
			b.killAll()
		}
	}
	return err
}

func portTaken(nodes []*Broker) bool {
	for _, b := range nodes {
		for _, name := range []string{b.Log(), b.zookeeperLog()} {
			log, _ := os.ReadFile(name)
			if strings.Contains(string(log), "Address already in use") {
				return true
			}
		}
	}
	return false
}

func prepare(nodes []*Broker) error {
	ports, err := freePorts(3 * len(nodes))
	if err != nil {
		return err
	}
	var voters []string
	for i, b := range nodes {
		b.port, b.secondPort, b.proxiedPort = ports[3*i], ports[3*i+1], ports[3*i+2]
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", b.id, b.secondPort))
	}
	cluster := newUUID()
	for _, b := range nodes {
		if err := b.prepare(cluster, strings.Join(voters, ",")); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) dataDir() string { return filepath.Join(b.dir, "data") }

func (b *Broker) zookeeperLog() string { return filepath.Join(b.dir, "zookeeper.log") }

// prepare writes what the node's first start needs.
func (b *Broker) prepare(cluster, voters string) error {
	if err := os.RemoveAll(b.dir); err != nil {
		return fmt.Errorf("clearing the broker's directory: %w", err)
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return fmt.Errorf("making the broker's directory: %w", err)
	}
	var config map[string]string
	if b.inst.zookeeper {
		config = zookeeperProperties(b.dataDir(), b.port, b.secondPort)
		if err := b.write("zookeeper.properties", zookeeperConfig(b.dir, b.secondPort)); err != nil {
			return err
		}
	} else {
		config = kraftProperties(kraftNode{
			id: b.id, port: b.port, controllerPort: b.secondPort, dataDir: b.dataDir(), voters: voters,
		}, len(b.peers))
		if err := os.CopyFS(b.dataDir(), os.DirFS(b.inst.formatted())); err != nil {
			return fmt.Errorf("copying the formatted data directory: %w", err)
		}
		if err := b.write("data/meta.properties", map[string]string{
			"version": "1", "cluster.id": cluster, "node.id": strconv.Itoa(b.id), "directory.id": newUUID(),
		}); err != nil {
			return err
		}
	}
	b.listenBehindProxy(config)
	maps.Copy(config, b.settings.properties)
	return b.write("server.properties", config)
}

func (b *Broker) write(name string, properties map[string]string) error {
	if err := os.WriteFile(filepath.Join(b.dir, name), propertiesFile(properties), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// launch starts the processes that are not running. It does not wait.
func (b *Broker) launch() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	java := func(log string, heapMiB int, args ...string) (*process, error) {
		flags := append(jvmFlags(heapMiB, b.settings.jvm), b.flags...)
		if archive, err := os.Stat(b.inst.classArchive()); err == nil && archive.Size() > 0 {
			flags = append(flags, "-XX:SharedArchiveFile="+b.inst.classArchive())
		}
		return startProcess(log, b.inst.java.path, append(append(flags, "-cp", b.inst.classPath()), args...)...)
	}
	var err error
	if b.inst.zookeeper && !b.zookeeper.running() {
		b.zookeeper, err = java(b.zookeeperLog(), 64,
			"org.apache.zookeeper.server.ZooKeeperServerMain", filepath.Join(b.dir, "zookeeper.properties"))
		if err != nil {
			return err
		}
	}
	b.paused = false
	b.kafka, err = java(b.Log(), b.settings.heapMiB, "kafka.Kafka", filepath.Join(b.dir, "server.properties"))
	return err
}

func (b *Broker) killAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kafka.kill()
	b.zookeeper.kill()
}

// release ends the broker for good and removes what it left.
func (b *Broker) release() {
	b.killAll()
	_ = os.RemoveAll(b.dir)
}

// cleanUp is the end of a test: its log stays if the test failed.
func (b *Broker) cleanUp(t testing.TB) {
	if !t.Failed() {
		b.release()
		return
	}
	b.keepLog()
	t.Logf("the log of Kafka at %s: %s", b.Addr(), b.Log())
}

// keepLog ends the broker and leaves its log, without its data.
func (b *Broker) keepLog() {
	b.killAll()
	_ = os.RemoveAll(b.dataDir())
	_ = os.RemoveAll(filepath.Join(b.dir, "zookeeper"))
}
