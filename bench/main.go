package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	if was, err := beAnother(); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = bench(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bench measures everything and prints it.
func bench(o *options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := allowFiles(o.mostConnections()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binaries, err := buildAll(ctx, o, dir)
	if err != nil {
		return err
	}
	var c command
	return c.do(func() error {
		k := startKafka(&c)
		runs, err := measureAll(ctx, k, o, binaries)
		if len(runs) == 0 {
			return err
		}
		r := newReport(o, k, runs)
		r.print(os.Stdout, o)
		return errors.Join(err, r.save(o.out))
	})
}

// buildAll builds the targets and returns their programs.
func buildAll(ctx context.Context, o *options, dir string) (map[string]string, error) {
	binaries := map[string]string{}
	for _, name := range o.targets {
		var err error
		if binaries[name], err = targetNamed(name).build(ctx, dir); err != nil {
			return nil, err
		}
	}
	return binaries, nil
}

// measureAll has the targets take turns. A run that fails is reported and is in
// no median.
func measureAll(ctx context.Context, k kafka, o *options, binaries map[string]string) (runs []result, err error) {
	for _, name := range o.scenarios {
		s := scenarioNamed(name)
		if others := s.others(o); len(others) > 0 {
			fmt.Fprintf(os.Stderr, "%s is not for %s\n", name, strings.Join(others, " and "))
		}
		for _, l := range s.cases(o) {
			for round := range o.rounds {
				for _, target := range s.columns(o, l) {
					if ctx.Err() != nil {
						return runs, errors.Join(err, ctx.Err())
					}
					what := fmt.Sprintf("%s, %s, %s, round %d", name, l.name, target, round+1)
					res, errRun := measure(ctx, k, o, s, l, targetNamed(target), binaries[target])
					if res.Round = round + 1; errRun != nil {
						res.Error = errRun.Error()
						errRun = fmt.Errorf("%s: %w", what, errRun)
						err = errors.Join(err, errRun)
						fmt.Fprintln(os.Stderr, errRun)
					} else {
						fmt.Fprintf(os.Stderr, "%s: nothing lost, repeated or out of order\n", what)
					}
					runs = append(runs, res)
				}
			}
		}
	}
	return runs, err
}
