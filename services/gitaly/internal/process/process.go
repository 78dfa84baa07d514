// Package process runs a program in a process group of its own, so that ending
// one ends its children too. A process started here is always waited for, and
// when it has ended nothing of its group is left alive.
//
// The end of the context sends SIGTERM to the group, which lets git remove its
// lock files and quarantine, and SIGKILL after a grace (wire/gitaly.md §8.3).
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultGrace is the time between SIGTERM and SIGKILL.
const DefaultGrace = 3 * time.Second

// A group that was killed is gone within a moment; zombies of a container
// without an init process would stay, so waiting has an end.
const (
	groupPoll  = 2 * time.Millisecond
	groupPolls = 500
)

// Options describes what to run.
type Options struct {
	Path  string   // the program's file
	Args  []string // without the program's name
	Env   []string // the whole environment
	Dir   string   // working directory
	Grace time.Duration
	// Background gives the processor and the disk to others first.
	Background bool

	Files []*os.File // inherited besides the standard ones; the first is descriptor 3

	Cgroup *Cgroup // nil is that of this process
	// Memory bounds what the program and each of its children allocates, in bytes,
	// and CPU the time that each computes. 0 is no bound.
	Memory int64
	CPU    time.Duration

	// Stdin is copied to the program by a goroutine that ends when Read fails or
	// the program has ended and Read returns; the caller makes Read return.
	// Nil is an empty input.
	Stdin io.Reader
	// Stdout and Stderr receive the output; Wait returns when all of it is
	// written. An error of the writer ends the program. Nil discards.
	Stdout, Stderr io.Writer
}

// Process is a running program.
type Process struct {
	ctx     context.Context //nolint:containedctx // bounds the life of the process, not of a call
	cmd     *exec.Cmd
	grace   time.Duration
	exited  chan struct{} // closed when the program is dead
	copies  sync.WaitGroup
	mu      sync.Mutex
	reaped  bool
	copyErr error // first error of a writer
	started time.Time
	took    time.Duration // until the program was dead
}

// Start starts the program. Wait must be called.
func Start(ctx context.Context, o Options) (*Process, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p := &Process{ctx: ctx, grace: o.Grace, exited: make(chan struct{}), started: time.Now()}
	if p.grace <= 0 {
		p.grace = DefaultGrace
	}
	p.cmd = exec.Command(o.Path, o.Args...) //nolint:gosec,noctx // the context ends the group, not the leader alone
	p.cmd.Env, p.cmd.Dir, p.cmd.ExtraFiles = o.Env, o.Dir, o.Files
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if o.Cgroup != nil && o.Cgroup.Dir != nil {
		p.cmd.SysProcAttr.UseCgroupFD, p.cmd.SysProcAttr.CgroupFD = true, int(o.Cgroup.Dir.Fd())
	}

	var pipes pipeSet
	defer pipes.closeChildEnds()
	run, err := p.connect(&pipes, o)
	if err == nil {
		err = p.start(o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", o.Path, err), pipes.closeOurEnds())
	}
	p.yield(o.Background)
	for _, f := range run {
		f()
	}
	go p.endWithContext()
	return p, nil
}

// What ioprio_set(2) is told: whose priority, and the lowest one of the usual class.
const (
	ioprioGroup  = 2
	ioprioLowest = 2<<13 | 7
)

// What is added to our niceness. Where a hundred programs compute at once, each gets its turn after the others.
// The services between them and the clients compute little, but at each step: were they
// to wait as long each time, handshakes and hooks would run into their time limits.
const (
	foreground = 5
	background = 15
)

// yield lowers the priority of the group below ours. It is a courtesy: where the system
// refuses, the program runs like any other.
func (p *Process) yield(last bool) {
	more := foreground
	if last {
		more = background
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioGroup, uintptr(p.Pid()), ioprioLowest)
	}
	if ours, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil { // as the kernel gives it, 20 less the niceness
		_ = unix.Setpriority(unix.PRIO_PGRP, p.Pid(), min(20-ours+more, 19))
	}
}

// Pid is the process id, and the id of the group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Usage is what a program and the children it waited for have used.
type Usage struct {
	Real, User, System       time.Duration
	MinorFaults, MajorFaults int64
	Signals                  int64
	Voluntary, Involuntary   int64 // context switches
}

// Usage is known after Wait.
func (p *Process) Usage() Usage {
	u := Usage{Real: p.took}
	if p.cmd.ProcessState == nil {
		return u
	}
	if r, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.User, u.System = p.cmd.ProcessState.UserTime(), p.cmd.ProcessState.SystemTime()
		u.MinorFaults, u.MajorFaults, u.Signals, u.Voluntary, u.Involuntary = r.Minflt, r.Majflt, r.Nsignals, r.Nvcsw, r.Nivcsw
	}
	return u
}

// Exited reports whether the program has ended, without waiting. Wait must still be
// called.
func (p *Process) Exited() bool {
	var info unix.Siginfo // stays empty while it runs
	err := unix.Waitid(unix.P_PID, p.Pid(), &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err != nil || info.Signo != 0
}

// Wait waits until the program has ended, its group is gone and its output is
// written. The error is the context's if that ended first, then the writer's,
// then *exec.ExitError.
func (p *Process) Wait() error {
	p.awaitExit()
	p.took = time.Since(p.started)
	p.signal(syscall.SIGKILL) // what the leader left behind must not hold our pipes
	p.copies.Wait()
	err := p.reap()
	close(p.exited)
	p.awaitGroup()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(p.ctx), err)
	}
	if p.copyErr != nil {
		return p.copyErr
	}
	return err
}

// reap collects the dead leader; from then on its id is no longer ours.
func (p *Process) reap() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return p.cmd.Wait()
}

// awaitGroup waits until the members that were killed are gone, so that nobody
// writes into a directory that is being cleaned. Usually there are none.
func (p *Process) awaitGroup() {
	for range groupPolls {
		if syscall.Kill(-p.Pid(), 0) != nil {
			return
		}
		<-time.After(groupPoll)
	}
}

// awaitExit waits without reaping, so that the group's id stays ours.
func (p *Process) awaitExit() {
	for {
		err := unix.Waitid(unix.P_PID, p.Pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

func (p *Process) endWithContext() {
	select {
	case <-p.exited:
		return
	case <-p.ctx.Done():
		p.terminate()
	}
}

// terminate ends the group: politely, then not.
func (p *Process) terminate() {
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(p.grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.signal(syscall.SIGKILL)
	}
}

// signal reaches the whole group as long as the leader is not reaped: after that
// the id could belong to strangers.
func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.Pid(), sig) // ESRCH: it was faster
	}
}

// Signalled reports whether err says that a signal ended the program.
func Signalled(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// ExitCode returns the program's exit code: 0 for nil, 128 plus the number for a
// signal, -1 if err does not come from a program.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return -1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// pipeSet remembers the pipes of a start that may still fail.
type pipeSet struct{ child, ours []*os.File }

func (s *pipeSet) closeChildEnds() {
	for _, f := range s.child {
		_ = f.Close() // the child has its own copy
	}
}

func (s *pipeSet) closeOurEnds() error {
	var errs []error
	for _, f := range s.ours {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
