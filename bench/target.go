package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// target is something that is measured.
type target struct {
	name string
	pkg  string // its main package, relative to dir
	dir  string // of its module, relative to this one
	// command says how it is started to serve a topic.
	command func(binary, dir, brokers, topic, addr, debug string) (*exec.Cmd, error)
	// endpoint is the way to it.
	endpoint func(topic string) endpoint
}

var targets = []target{
	{name: "floor", pkg: "./floor", dir: ".", command: referenceCommand, endpoint: func(string) endpoint {
		return endpoint{path: "/"}
	}},
	{name: "kafkaws", pkg: "./cmd/caddy", dir: "..", command: caddyCommand, endpoint: func(topic string) endpoint {
		return endpoint{path: "/kafka?topics=" + topic, subprotocol: "kafka-text"}
	}},
	{name: "centrifuge", pkg: "./centrifuge", dir: ".", command: referenceCommand, endpoint: func(string) endpoint {
		return endpoint{path: "/", hello: `{"id":1,"connect":{}}`, welcome: `"connect":{`}
	}},
}

func targetNames() (names []string) {
	for _, t := range targets {
		names = append(names, t.name)
	}
	return names
}

func targetNamed(name string) target {
	for _, t := range targets {
		if t.name == name {
			return t
		}
	}
	panic("no target " + name)
}

// build builds the target's program into a directory.
func (t target) build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, t.name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, t.pkg) //nolint:gosec // from the list above
	cmd.Dir = t.dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", t.name, err, out)
	}
	return binary, nil
}

func referenceCommand(binary, _, brokers, topic, addr, debug string) (*exec.Cmd, error) {
	return exec.Command(binary, "-brokers", brokers, "-topic", topic, "-listen", addr, "-debug", debug), nil //nolint:gosec // built above
}

func caddyCommand(binary, dir, brokers, _, addr, debug string) (*exec.Cmd, error) {
	config := fmt.Sprintf(`{
	admin %s
	persist_config off
}
http://%s {
	kafka_websocket /kafka {
		brokers %s
		subscribe *
		consumer {
			buffer %dMiB
		}
	}
}
`, debug, addr, brokers, bufferMiB)
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "run", "--config", file) //nolint:gosec // built above
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	return cmd, nil
}

// start starts the target in a directory of its own and waits until it listens.
func (t target) start(ctx context.Context, binary, dir, brokers, topic string) (*process, error) {
	addr, debug, err := freeAddrs()
	if err != nil {
		return nil, err
	}
	cmd, err := t.command(binary, dir, brokers, topic, addr, debug)
	if err != nil {
		return nil, err
	}
	p, err := startProcess(cmd, filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	p.debug, p.endpoint = debug, t.endpoint(topic)
	p.endpoint.addr = addr
	for _, a := range []string{addr, debug} {
		if err := p.awaitListening(ctx, a); err != nil {
			p.stop()
			return nil, fmt.Errorf("%s did not start: %w\n%s", t.name, err, p.log())
		}
	}
	return p, nil
}

// freeAddrs returns two addresses that nobody listens on.
func freeAddrs() (a, b string, err error) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer first.Close()
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer second.Close()
	return first.Addr().String(), second.Addr().String(), nil
}

// topicName is no other run's.
func topicName(scenario, target string) string {
	return strings.Join([]string{scenario, target, fmt.Sprint(time.Now().UnixNano())}, "-")
}
