package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// installed is a release of Kafka whose files are in place.
type installed struct {
	*distribution
	home string
	java javaInfo
}

func (i *installed) classPath() string { return filepath.Join(i.home, "libs", "*") }

// formatted is a formatted data directory that new brokers start from a copy
// of. Formatting takes a Java of its own and as long as a start.
func (i *installed) formatted() string { return filepath.Join(i.home, "formatted") }

// classArchive holds Kafka's classes as Java keeps them in memory. With it a
// broker is up in half the time.
func (i *installed) classArchive() string {
	return filepath.Join(i.home, "classes-"+i.java.id+".jsa")
}

var installs = struct {
	sync.Mutex
	done map[*distribution]func() (*installed, error)
}{done: map[*distribution]func() (*installed, error){}}

// ensure installs a release at most once in this process, so that a machine
// without a network pays for the attempt once and not in every test.
func ensure(d *distribution) (*installed, error) {
	installs.Lock()
	f := installs.done[d]
	if f == nil {
		f = sync.OnceValues(d.install)
		installs.done[d] = f
	}
	installs.Unlock()
	return f()
}

// install is [ensure] for tests.
func install(t testing.TB, d *distribution) *installed {
	t.Helper()
	inst, err := ensure(d)
	if err != nil {
		Lack(t, "no Apache Kafka %s for tests: %v", d.version, err)
	}
	return inst
}

// Install puts every release of Kafka that tests use in the cache, so that no
// test has to, and returns their directories.
func Install() ([]string, error) {
	var dirs []string
	for _, d := range []*distribution{current, oldest} {
		inst, err := ensure(d)
		if err != nil {
			return dirs, fmt.Errorf("installing Apache Kafka %s: %w", d.version, err)
		}
		dirs = append(dirs, inst.home)
	}
	return dirs, nil
}

func (d *distribution) install() (*installed, error) {
	java, err := findJava()
	if err != nil {
		return nil, err
	}
	home, err := d.home()
	if err != nil {
		return nil, err
	}
	inst := &installed{distribution: d, home: home, java: java}
	if inst.complete() {
		return inst, nil
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return nil, fmt.Errorf("making the cache directory: %w", err)
	}
	// Packages are tested at the same time: one installs, the others wait.
	unlock, err := lockFile(home + ".lock")
	if err != nil {
		return nil, fmt.Errorf("locking %s.lock against other test runs: %w", home, err)
	}
	defer unlock()

	// Each step leaves its result under its final name only when it is whole,
	// so an interrupted run costs no more than the step it was in.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := inst.step("libs", func(tmp string) error { return inst.download(ctx, tmp) }); err != nil {
		return nil, err
	}
	if !d.zookeeper {
		if err := inst.step("formatted", func(tmp string) error { return inst.format(ctx, tmp) }); err != nil {
			return nil, err
		}
	}
	// Without the archive brokers only start slower. An empty one says that it
	// was tried, so that the next run does not try again; Java ignores it.
	if err := inst.step(filepath.Base(inst.classArchive()), inst.archiveClasses); err != nil {
		return nil, err
	}
	return inst, nil
}

func (i *installed) complete() bool {
	return exists(filepath.Join(i.home, "libs")) && (i.zookeeper || exists(i.formatted())) && exists(i.classArchive())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// step makes one file or directory of the installation unless it is there.
func (i *installed) step(name string, produce func(tmp string) error) error {
	final := filepath.Join(i.home, name)
	if exists(final) {
		return nil
	}
	if err := os.MkdirAll(i.home, 0o755); err != nil {
		return fmt.Errorf("making the cache directory: %w", err)
	}
	dir, err := os.MkdirTemp(i.home, "unfinished-")
	if err != nil {
		return fmt.Errorf("making a temporary directory in the cache: %w", err)
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, name)
	if err := produce(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return fmt.Errorf("moving %s into the cache: %w", name, err)
	}
	return nil
}

// download gets the jars that the pom names.
func (i *installed) download(ctx context.Context, dir string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("no Maven (mvn) to download Kafka's jars with: %w", err)
	}
	// Maven writes beside the pom, so it gets a copy of its own.
	work := filepath.Dir(dir)
	pom := filepath.Join(work, "pom.xml")
	if err := os.WriteFile(pom, i.pom, 0o644); err != nil {
		return fmt.Errorf("writing Maven's project file: %w", err)
	}
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", pom,
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("Maven could not download Kafka's jars, is there a network? %w\n%s", err, lastLines(out, 8))
	}
	jars, err := filepath.Glob(filepath.Join(dir, "kafka_*.jar"))
	if err != nil || len(jars) == 0 {
		return errors.New("Maven downloaded no kafka_*.jar: does the pom still depend on org.apache.kafka:kafka_2.x?")
	}
	return nil
}

// format makes the data directory that new brokers start from, with the
// features that Kafka's own tool would switch on for a new cluster.
func (i *installed) format(ctx context.Context, dir string) error {
	props := filepath.Join(filepath.Dir(dir), "server.properties")
	config := kraftProperties(kraftNode{id: 1, dataDir: dir, port: 9092, controllerPort: 9093, voters: "1@127.0.0.1:9093"}, 1)
	if err := os.WriteFile(props, propertiesFile(config), 0o644); err != nil {
		return fmt.Errorf("writing server.properties: %w", err)
	}
	cmd := exec.CommandContext(ctx, i.java.path, append(jvmFlags(64, briefJVM), "-cp", i.classPath(),
		"kafka.tools.StorageTool", "format", "--cluster-id", newUUID(), "--config", props)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("formatting a data directory failed: %w\n%s", err, lastLines(out, 8))
	}
	// What names the node and the cluster is written anew for each broker.
	if err := os.Remove(filepath.Join(dir, "meta.properties")); err != nil {
		return fmt.Errorf("the formatted directory is not as expected: %w", err)
	}
	return nil
}

func lastLines(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
