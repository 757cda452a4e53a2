package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// target is something that is measured.
type target struct {
	name       string
	pkg        string // its main package, relative to dir
	dir        string // of its module, relative to this one
	transports []string
	// command says how it is started.
	command func(launch) (*exec.Cmd, error)
	// subscribe is the way to it for a subscriber of topics.
	subscribe func(topics []string) endpoint
	// publish is the way for who publishes, and one for who may have one record
	// unacknowledged.
	publish, one *endpoint
	// manyTopics tells that it serves any topic, not only the one that it is
	// started with.
	manyTopics bool
}

var targets = []target{
	{
		name: "floor", pkg: "./floor", dir: ".", transports: []string{plain, overTLS}, command: referenceCommand,
		subscribe: func([]string) endpoint { return endpoint{path: "/"} },
		publish:   &endpoint{path: "/publish"},
		one:       &endpoint{path: "/one"},
	},
	{
		name: "kafkaws", pkg: "./cmd/caddy", dir: "..", transports: transportNames(), command: caddyCommand,
		subscribe: func(topics []string) endpoint {
			return endpoint{path: "/kafka?topics=" + strings.Join(topics, ","), subprotocol: "kafka-text"}
		},
		publish:    &endpoint{path: "/kafka", subprotocol: "kafka-text"},
		one:        &endpoint{path: "/one", subprotocol: "kafka-text"},
		manyTopics: true,
	},
	{
		name: "centrifuge", pkg: "./centrifuge", dir: ".", transports: transportNames(), command: referenceCommand,
		subscribe: func([]string) endpoint {
			return endpoint{path: "/", hello: `{"id":1,"connect":{}}`, welcome: `"connect":{`}
		},
	},
}

func targetNames() (names []string) {
	for _, t := range targets {
		names = append(names, t.name)
	}
	return names
}

func targetNamed(name string) target {
	i := slices.IndexFunc(targets, func(t target) bool { return t.name == name })
	return targets[i] // options have been checked
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

// start starts the target in a directory of its own and waits until it listens.
func (t target) start(ctx context.Context, l launch) (p *process, err error) {
	// A port that was free may be taken by the time that it is wanted.
	for range 3 {
		if p, err = t.tryStart(ctx, l); err == nil || !strings.Contains(err.Error(), "address already in use") {
			return p, err
		}
	}
	return nil, err
}

func (t target) tryStart(ctx context.Context, l launch) (*process, error) {
	pair, err := l.prepare()
	if err != nil {
		return nil, err
	}
	cmd, err := t.command(l)
	if err != nil {
		return nil, err
	}
	p, err := startProcess(cmd, filepath.Join(l.dir, "log"))
	if err != nil {
		return nil, err
	}
	p.debug = l.debug
	p.reach = func(e endpoint) endpoint {
		e.addr, e.deflate, e.tls = l.listen, l.transport == deflate, pair
		return e
	}
	p.subscribe = func(topics []string) endpoint { return p.reach(t.subscribe(topics)) }
	for _, a := range []string{l.listen, l.debug} {
		if err := p.awaitListening(ctx, a); err != nil {
			p.stop()
			return nil, fmt.Errorf("%s did not start: %w\n%s", t.name, err, p.log())
		}
	}
	return p, nil
}

// topicName is no other run's.
func topicName(scenario, target string) string {
	return strings.Join([]string{scenario, target, fmt.Sprint(time.Now().UnixNano())}, "-")
}
