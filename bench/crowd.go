package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// crowdVariable is set in the environment of a process that is to be a crowd.
const crowdVariable = "KAFKAWS_BENCH_CROWD"

// crowd is clients that resume in a process of their own. Beside them in one
// process, the few whose latency is measured, and who writes, would wait for
// their turn among a thousand that always have something to read.
type crowd struct {
	cmd  *exec.Cmd
	tell *json.Encoder
	in   io.Closer
	hear *json.Decoder
}

// order is what a crowd is to do.
type order struct {
	Addr, Path, Subprotocol string // of the way to the target
	Topic                   string
	Partitions, Size        int
	Sessions                int
	// First is the offset in each partition of what the client that is furthest
	// back wants first.
	First int64
	// Missed is how many records the topic has: who has as many has caught up.
	Missed int64
}

// caughtUp is what a crowd says when all its clients have.
type caughtUp struct {
	Seconds float64
	Error   string
}

// parted is what a crowd says in the end.
type parted struct {
	Verdict  verdict
	Received int64 // values, by all
	Error    string
}

// startCrowd starts a crowd that waits for its order.
func startCrowd(ctx context.Context) (*crowd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program) //nolint:gosec // this one
	cmd.Env = append(os.Environ(), crowdVariable+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = dieWithParent()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a process for clients: %w", err)
	}
	return &crowd{cmd: cmd, tell: json.NewEncoder(in), in: in, hear: json.NewDecoder(out)}, nil
}

func (c *crowd) pid() int { return c.cmd.Process.Pid }

// resume has the crowd resume and returns how long that took, in seconds.
func (c *crowd) resume(o order) (float64, error) {
	if err := c.tell.Encode(o); err != nil {
		return 0, fmt.Errorf("telling clients to resume: %w", err)
	}
	var done caughtUp
	if err := c.hear.Decode(&done); err != nil {
		return 0, fmt.Errorf("hearing from clients that resume: %w", err)
	}
	if done.Error != "" {
		return 0, errors.New(done.Error)
	}
	return done.Seconds, nil
}

// part has the crowd wait for all that was written, and end.
func (c *crowd) part(written []int64) (p parted, err error) {
	if err = c.tell.Encode(written); err == nil {
		err = c.hear.Decode(&p)
	}
	if err != nil {
		return p, fmt.Errorf("hearing what clients that resumed got: %w", err)
	}
	if p.Error != "" {
		err = errors.New(p.Error)
	}
	return p, err
}

// stop ends the process, which ends by itself when nobody tells it anything.
func (c *crowd) stop() {
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

// isCrowd tells whether this process is to be a crowd.
func isCrowd() bool { return os.Getenv(crowdVariable) != "" }

// beCrowd is what a crowd does.
func beCrowd(in io.Reader, out io.Writer) error {
	hear, tell := json.NewDecoder(in), json.NewEncoder(out)
	var o order
	if err := hear.Decode(&o); err != nil {
		return hungUp(err)
	}
	f := newFleet(load{topics: 1, partitions: o.Partitions, size: o.Size})
	start := time.Now()
	err := f.join(o.Sessions, func(i int) (endpoint, []int64) { return o.at(o.First + int64(i%resumeSpread)) })
	if err == nil {
		err = f.awaitEach(context.Background(), o.Missed)
	}
	if err := tell.Encode(caughtUp{time.Since(start).Seconds(), trouble(err, f)}); err != nil {
		return err
	}
	var written []int64
	if err := hear.Decode(&written); err != nil {
		return hungUp(err)
	}
	err = f.await(context.Background(), f.wanted(written))
	f.close()
	p := parted{Verdict: f.judge(written), Error: trouble(err, f)}
	for _, c := range f.clients {
		p.Received += c.received.Load() - c.began
	}
	return tell.Encode(p)
}

// hungUp is no error of a crowd that is not wanted any more.
func hungUp(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// trouble is what went wrong, in words.
func trouble(err error, f *fleet) string {
	if err == nil {
		return ""
	}
	for _, c := range f.clients {
		select {
		case <-c.done:
			if !errors.Is(c.err, os.ErrDeadlineExceeded) {
				return fmt.Sprintf("%v; a session ended: %v", err, c.err)
			}
		default:
		}
	}
	return err.Error()
}

// at is the way to the target for who wants each partition from an offset on.
func (o order) at(offset int64) (endpoint, []int64) {
	next := make([]int64, o.Partitions)
	offsets := make([]string, o.Partitions)
	for p := range next {
		next[p] = offset
		offsets[p] = fmt.Sprintf(`"%d":%d`, p, offset)
	}
	from := fmt.Sprintf(`{%q:{"offsets":{%s}}}`, o.Topic, strings.Join(offsets, ","))
	return endpoint{addr: o.Addr, path: o.Path + "&from=" + url.QueryEscape(from), subprotocol: o.Subprotocol}, next
}
