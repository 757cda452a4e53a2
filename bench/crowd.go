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

// yielding is what the variable says in a process that yields the processors.
const yielding = "yielding"

// crowd is clients that resume in a process of their own. Beside them in one
// process, the few whose latency is measured, and who writes, would wait for
// their turn among a thousand that always have something to read. And because
// these are on other machines than a gateway, theirs is the time of the
// processors that nobody else wants (where that can be had).
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

// caughtUp is what a crowd says when a tenth of its clients have, and when all
// have.
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
	cmd, err := another(ctx, crowdVariable)
	if err != nil {
		return nil, err
	}
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

// resume has the crowd resume, calls some when a tenth of the clients have caught
// up, and returns how long it took until all had, in seconds.
func (c *crowd) resume(o order, some func()) (float64, error) {
	if err := c.tell.Encode(o); err != nil {
		return 0, fmt.Errorf("telling clients to resume: %w", err)
	}
	if _, err := c.hearCaughtUp(); err != nil {
		return 0, err
	}
	some()
	return c.hearCaughtUp()
}

func (c *crowd) hearCaughtUp() (seconds float64, err error) {
	var said caughtUp
	if err := c.hear.Decode(&said); err != nil {
		return 0, fmt.Errorf("hearing from clients that resume: %w", err)
	}
	if said.Error != "" {
		return 0, errors.New(said.Error)
	}
	return said.Seconds, nil
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

// beCrowd is what a crowd does.
func beCrowd(in io.Reader, out io.Writer) error {
	if os.Getenv(crowdVariable) != yielding {
		if err := os.Setenv(crowdVariable, yielding); err != nil {
			return err
		}
		if err := yieldProcessors(); err != nil {
			return fmt.Errorf("yielding the processors: %w", err)
		}
	}
	hear, tell := json.NewDecoder(in), json.NewEncoder(out)
	var o order
	if err := hear.Decode(&o); err != nil {
		return hungUp(err)
	}
	f := newFleet(load{topics: 1, partitions: o.Partitions, size: o.Size})
	start := time.Now()
	err := f.join(o.Sessions, func(i int) (endpoint, []int64) { return o.at(o.First + int64(i%resumeSpread)) })
	for _, await := range []func(context.Context, int64) error{f.awaitSome, f.awaitEach} {
		if err == nil {
			err = await(context.Background(), o.Missed)
		}
		if err := tell.Encode(caughtUp{time.Since(start).Seconds(), trouble(err, f)}); err != nil {
			return err
		}
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
