// Command bench measures gitsplit beside what it is compared with. `make bench` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gitsplit/bench/internal/machine"
	"gitsplit/bench/internal/meter"
	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/suite"
)

func main() {
	if len(os.Args) > 3 && os.Args[1] == "-meter" { // around git, see meter.Wrap
		code, err := meter.Wrap(os.Args[2], os.Args[3:])
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		}
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func options() (o suite.Options, record bool, err error) {
	var rows string
	flag.BoolVar(&o.Quick, "quick", false, "small repositories and few rounds")
	flag.StringVar(&rows, "rows", "", "only these rows, as 1,3")
	flag.StringVar(&o.Local, "repo", "", "a repository on disk to clone and push too")
	flag.IntVar(&o.Profile, "profile", 0, "3 leaves profiles and traces beside the result")
	flag.StringVar(&o.Root, "root", ".", "the checkout")
	flag.StringVar(&o.Bin, "bin", "bin", "programs under test")
	flag.StringVar(&o.Out, "out", ".bench", "where the result and the repositories go")
	flag.BoolVar(&record, "record", false, "write bench/RESULTS.md and the README's table")
	flag.Parse()
	for _, field := range strings.FieldsFunc(rows, func(r rune) bool { return r == ',' }) {
		n, bad := strconv.Atoi(field)
		o.Rows, err = append(o.Rows, n), errors.Join(err, bad)
	}
	for _, path := range []*string{&o.Root, &o.Bin, &o.Out} {
		abs, bad := filepath.Abs(*path)
		*path, err = abs, errors.Join(err, bad)
	}
	self, bad := os.Executable()
	o.Self, err = self, errors.Join(err, bad)
	o.Cache, o.Log = filepath.Join(o.Out, "repositories"), os.Stderr
	return o, record, err
}

func run(ctx context.Context) (err error) {
	o, record, err := options()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil { //nolint:gosec // peers run as other users
		return err
	}
	began := time.Now()
	r := &report.Run{Quick: o.Quick, Started: began.UTC().Format("2006-01-02 15:04 UTC"), Machine: machine.Describe(ctx, os.TempDir())}
	r.Commit, r.Dirty = commit(ctx, o.Root)
	s, err := suite.New(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	sections, failed := s.Run(ctx)
	r.Sections, r.Took = sections, time.Since(began).Round(time.Second).String()
	return errors.Join(failed, write(o, r, record))
}
