package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"gitsplit/ctl/internal/banner"
	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/logs"
	"gitsplit/ctl/internal/services"
	"gitsplit/ctl/internal/status"
	"gitsplit/ctl/internal/supervise"
	"gitsplit/kit/fault"
)

// self is how gitsplit's own lines are marked among those of the services.
const self = "gitsplit"

// up is `gitsplit up`. It returns when every process is gone.
func up(ctx context.Context, sys System) error {
	began := time.Now()
	set, h, err := load(sys)
	if err != nil {
		return err
	}
	return alone(ctx, sys, h, func(ctx context.Context, insist <-chan struct{}) (err error) {
		if err := set.CheckPorts(ctx); err != nil {
			return err
		}
		plan, err := prepare(ctx, sys, set, h, true)
		if ctx.Err() != nil {
			return nil // stopped before anything was started
		}
		if err != nil {
			return err
		}
		r, err := newRunner(sys, plan, services.Names()...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.close()) }()
		return r.run(ctx, insist, func() { r.ready(time.Since(began)) })
	})
}

// alone calls do while no other gitsplit uses the home and nothing is left of one that
// was killed. The context of do ends at the first signal, insist is closed at the second.
func alone(ctx context.Context, sys System, h home.Home, do func(ctx context.Context, insist <-chan struct{}) error) error {
	if err := checkPrograms(sys.Bin); err != nil {
		return err
	}
	unlock, err := open(h)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, insist, cancel := onSignals(ctx, sys)
	defer cancel()
	if err := clearLeftovers(ctx, sys, h); err != nil {
		return err
	}
	return do(ctx, insist)
}

// onSignals ends the returned context at the first signal and closes insist at
// the second.
func onSignals(ctx context.Context, sys System) (stopped context.Context, insist <-chan struct{}, cancel func()) {
	stopped, stop := context.WithCancel(ctx)
	again, end := make(chan struct{}), make(chan struct{})
	signals := sys.Signals()
	wait := func() bool {
		select {
		case <-signals:
			return true
		case <-end:
			return false
		}
	}
	go func() {
		if !wait() {
			return
		}
		_, _ = fmt.Fprintf(sys.Stderr, "\n%s: stopping; again to kill at once\n", self)
		stop()
		if wait() {
			close(again)
		}
	}()
	return stopped, again, func() { stop(); close(end) }
}

// runner is a running gitsplit: the supervisor with what listens to it.
type runner struct {
	sys     System
	plan    services.Plan
	console *logs.Console
	board   *status.Board
	files   []*logs.File
	sinks   map[string]*logs.Sink
	sup     *supervise.Supervisor
}

// newRunner makes a runner of the named processes, which need no others.
func newRunner(sys System, plan services.Plan, names ...string) (_ *runner, err error) {
	r := &runner{
		sys: sys, plan: plan, sinks: map[string]*logs.Sink{},
		console: logs.NewConsole(sys.Stderr, sys.Colour, plan.Settings.Verbose, len(services.Workhorse)),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.closeFiles())
		}
	}()
	first := status.Status{
		PID: os.Getpid(), Started: time.Now(), URL: plan.Settings.ExternalURL,
		HTTPSURL: plan.Settings.HTTPSURL(), SSHURL: plan.Settings.SSHURL(),
		Database: plan.Postgres.Data(), Sockets: plan.Home.Sockets,
	}
	specs := slices.DeleteFunc(plan.Specs(), func(s supervise.Spec) bool { return !slices.Contains(names, s.Name) })
	for i := range specs {
		name := specs[i].Name
		file, err := logs.OpenFile(plan.Home.Log(name), logs.MaxFile)
		if err != nil {
			return nil, err
		}
		r.files = append(r.files, file)
		r.sinks[name] = logs.NewSink(name, file, r.console, format(name))
		specs[i].Output = r.sinks[name]
		first.Processes = append(first.Processes, status.Process{Name: name, Go: services.Ours(name), State: supervise.Waiting})
	}
	options := supervise.Options{Notify: r.notify, Adopt: true}
	if fault.Enabled { // where processes die by the dozen, none is to wait for half a minute
		options.Delays = supervise.Delays{Min: 200 * time.Millisecond, Max: time.Second}
	}
	if r.sup, err = supervise.New(specs, options); err != nil {
		return nil, err
	}
	r.board, err = status.NewBoard(plan.Home.Run(statusFile), first)
	return r, err
}

func format(name string) logs.Format {
	switch name {
	case services.Postgres:
		return logs.Postgres
	case services.Redis:
		return logs.Quiet
	}
	return logs.JSON
}

// run keeps everything running until ctx ends, and calls ready once all is.
func (r *runner) run(ctx context.Context, insist <-chan struct{}, ready func()) error {
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-insist:
			r.sup.Kill()
		case <-ended:
		}
	}()
	return r.sup.Run(ctx, ready)
}

func (r *runner) ready(took time.Duration) {
	if r.plan.Postgres.Dir != r.plan.Home.Data(services.Postgres) {
		r.console.Say(self, "the database is in %s, where user postgres can reach it", r.plan.Postgres.Dir)
	}
	if err := banner.Print(r.sys.Stdout, r.plan.Home, r.plan.Settings); err != nil {
		r.console.Warn(self, "%v", err)
	}
	r.console.Say(self, "gitsplit is ready after %.1f s, %d processes; Ctrl-C stops them, the data stay in %s",
		took.Seconds(), len(services.Names()), r.plan.Home.Root)
}

// notify shows what happens to the processes, and writes it down.
func (r *runner) notify(e supervise.Event) {
	switch {
	case e.State == supervise.Ready:
		r.console.Say(e.Name, "ready after %.2f s", time.Since(e.Started).Seconds())
	case e.State == supervise.Backoff:
		r.console.Warn(e.Name, "%v; will be started again in %v; see %s", e.Err, e.Delay, r.plan.Home.Log(e.Name))
	case e.State == supervise.Stopped && e.Err != nil:
		for _, line := range r.sinks[e.Name].LastWords() {
			r.console.Warn(e.Name, "%s", line)
		}
		r.console.Warn(e.Name, "%v; see %s", e.Err, r.plan.Home.Log(e.Name))
	case e.State == supervise.Stopped:
		r.console.Say(e.Name, "stopped")
	}
	if err := r.board.Set(e); err != nil {
		r.console.Warn(self, "%v", err)
	}
}

// close removes what says that gitsplit runs, and the sockets.
func (r *runner) close() error {
	return errors.Join(r.board.Remove(), r.plan.Home.ClearSockets(), r.closeFiles())
}

func (r *runner) closeFiles() error {
	var errs []error
	for _, file := range r.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}
