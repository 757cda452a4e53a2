package kafkatest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// minJava is the oldest Java that a broker of Kafka 4 runs on.
const minJava = 17

type javaInfo struct {
	path string
	// id tells builds of Java apart: an archive of classes is good for one only.
	id string
}

var findJava = sync.OnceValues(func() (javaInfo, error) {
	name := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		name = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return javaInfo{}, fmt.Errorf("no Java on this machine, install version %d or newer: %w", minJava, err)
	}
	// macOS has a java that only says where to get one, so finding it is not enough.
	out, err := exec.Command(path, "-version").CombinedOutput()
	if err != nil {
		return javaInfo{}, fmt.Errorf("%s -version failed, is it a Java at all? %w: %s", path, err, bytes.TrimSpace(out))
	}
	if v := javaVersion(out); v < minJava {
		return javaInfo{}, fmt.Errorf("%s is Java %d, Kafka %s needs %d or newer", path, v, current.version, minJava)
	}
	sum := sha256.Sum256(append(out, path...))
	return javaInfo{path: path, id: hex.EncodeToString(sum[:4])}, nil
})

var javaVersionLine = regexp.MustCompile(`version "(\d+)`)

// javaVersion reads the major version from what java -version prints; 0 if it
// is not there.
func javaVersion(out []byte) int {
	m := javaVersionLine.FindSubmatch(out)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// Java runs Java with the jars of [Version] on the class path and returns what
// it prints. It is for comparing with Kafka's own client: args name a class of
// Kafka's, or a single source file (which needs a JDK), and its arguments.
func Java(t testing.TB, args ...string) string {
	t.Helper()
	inst := install(t, current)
	cmd := exec.CommandContext(t.Context(), inst.java.path, append([]string{"-cp", inst.classPath()}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("java %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}
