package supervise_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/ctl/internal/supervise"
)

// running is a supervisor at work and what it told.
type running struct {
	sup    *supervise.Supervisor
	events chan supervise.Event
	ready  chan struct{}
	result chan error
	stop   context.CancelFunc
}

func start(t *testing.T, opts supervise.Options, specs ...supervise.Spec) *running {
	t.Helper()
	r := &running{events: make(chan supervise.Event, 1000), ready: make(chan struct{}), result: make(chan error, 1)}
	opts.Notify = func(e supervise.Event) { r.events <- e }
	sup, err := supervise.New(specs, opts)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.sup, r.stop = sup, cancel
	go func() { r.result <- sup.Run(ctx, func() { close(r.ready) }) }()
	t.Cleanup(func() { cancel(); sup.Kill() })
	return r
}

// await returns the next event of name that has the state.
func (r *running) await(t *testing.T, name string, state supervise.State) supervise.Event {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e := <-r.events:
			if e.Name == name && e.State == state {
				return e
			}
		case <-limit:
			t.Fatalf("%s did not become %s", name, state)
		}
	}
}

// end waits for Run and returns the order in which the states were reached.
func (r *running) end(t *testing.T) []string {
	t.Helper()
	if err := <-r.result; err != nil {
		t.Fatalf("Run: %v", err)
	}
	close(r.events)
	var order []string
	for e := range r.events {
		if e.State == supervise.Ready || e.State == supervise.Stopped {
			order = append(order, e.Name+" "+string(e.State))
		}
	}
	return order
}

func quiet(s supervise.Spec) supervise.Spec {
	s.Output = lines(make(chan string, 100))
	return s
}

func TestSupervisor_order(t *testing.T) {
	t.Parallel()
	r := start(t, supervise.Options{},
		quiet(spec("web", "serve", "api")), quiet(spec("api", "serve", "db")), quiet(spec("db", "serve")))
	<-r.ready
	r.stop()
	want := []string{"db ready", "api ready", "web ready", "web stopped", "api stopped", "db stopped"}
	if diff := cmp.Diff(want, r.end(t)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestSupervisor_restartsWhatCrashed(t *testing.T) {
	t.Parallel()
	r := start(t, supervise.Options{Delays: supervise.Delays{Min: time.Millisecond}}, quiet(spec("a", "serve")))
	for i := range 3 {
		e := r.await(t, "a", supervise.Ready)
		if e.Restarts != i {
			t.Fatalf("start %d: %d restarts reported", i, e.Restarts)
		}
		if err := syscall.Kill(e.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		back := r.await(t, "a", supervise.Backoff)
		if want := time.Millisecond << i; back.Delay != want || back.Err == nil {
			t.Errorf("end %d: delay %v, error %v; want %v and an error", i, back.Delay, back.Err, want)
		}
	}
	r.await(t, "a", supervise.Ready)
	r.stop()
	r.end(t)
}

func TestSupervisor_startFails(t *testing.T) {
	t.Parallel()
	notYet := errors.New("not yet")
	crash := quiet(spec("crash", "crash", "db"))
	crash.Ready = func(context.Context, int) error { return notYet }
	slow := quiet(spec("slow", "serve", "db"))
	slow.Ready = func(context.Context, int) error { return notYet }
	missing := quiet(spec("missing", "serve", "db"))
	missing.Path = "/does/not/exist"
	unprepared := quiet(spec("unprepared", "serve", "db"))
	unprepared.Before = func(context.Context) error { return notYet }
	tests := []struct {
		spec supervise.Spec
		want string
	}{
		{crash, "crash: ended by itself, exit status 3"},
		{slow, "slow: not ready after 1s: not yet"},
		{missing, "missing: start missing: fork/exec /does/not/exist: no such file or directory"},
		{unprepared, "unprepared: prepare: not yet"},
	}
	for _, tc := range tests {
		t.Run(tc.spec.Name, func(t *testing.T) {
			t.Parallel()
			last := quiet(spec("last", "serve", tc.spec.Name))
			r := start(t, supervise.Options{StartLimit: time.Second}, quiet(spec("db", "serve")), tc.spec, last)
			if err := <-r.result; err == nil || err.Error() != tc.want {
				t.Errorf("Run: %v, want %q", err, tc.want)
			}
			close(r.events)
			for e := range r.events {
				if e.Name == "last" && e.PID != 0 {
					t.Error("what needs the failed process was started")
				}
				if e.Name == "db" && e.PID != 0 {
					awaitGone(t, e.PID)
				}
			}
		})
	}
}

func TestSupervisor_stopWhileStarting(t *testing.T) {
	t.Parallel()
	never := quiet(spec("a", "serve"))
	never.Ready = func(context.Context, int) error { return errors.New("never") }
	r := start(t, supervise.Options{}, never, quiet(spec("b", "serve", "a")))
	pid := r.await(t, "a", supervise.Starting).PID
	r.stop()
	r.end(t)
	awaitGone(t, pid)
}

func TestSupervisor_stubbornIsKilled(t *testing.T) {
	t.Parallel()
	out := lines(make(chan string, 10))
	stubborn := spec("a", "stubborn")
	stubborn.Output, stubborn.Grace = out, 50*time.Millisecond
	r := start(t, supervise.Options{}, stubborn)
	pid := r.await(t, "a", supervise.Ready).PID
	out.await(t, "up") // from here on it ignores SIGTERM
	r.stop()
	r.end(t)
	awaitGone(t, pid)
}

func TestSupervisor_Kill(t *testing.T) {
	t.Parallel()
	out := lines(make(chan string, 10))
	stubborn := spec("a", "stubborn")
	stubborn.Output, stubborn.Grace = out, time.Hour
	r := start(t, supervise.Options{}, stubborn)
	out.await(t, "up")
	r.stop()
	r.sup.Kill()
	r.sup.Kill() // a third Ctrl-C does no harm
	r.end(t)
}

func TestNew_badOrder(t *testing.T) {
	t.Parallel()
	tests := map[string][]supervise.Spec{
		`process "a" is defined twice`:                {spec("a", "serve"), spec("a", "serve")},
		`process "a" needs "b", which does not exist`: {spec("a", "serve", "b")},
		`processes wait for each other: [a a]`:        {spec("a", "serve", "a")},
	}
	for want, specs := range tests {
		if _, err := supervise.New(specs, supervise.Options{}); err == nil || err.Error() != want {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
}

// A supervisor that is killed cannot stop anything; the kernel does. It does so for
// the processes that were started, who look after children of their own.
func TestSupervisor_killedLeavesNothing(t *testing.T) {
	t.Parallel()
	cmd, pids := startSupervisor(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"serve", "parent", "stubborn"} {
		awaitGone(t, pids[what])
	}
}

// What a crashed process leaves running in a group of its own is ended too.
func TestSupervisor_orphansAreEnded(t *testing.T) {
	t.Parallel()
	_, pids := startSupervisor(t)
	if err := syscall.Kill(pids["parent"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, pids["child"])
}
