// Package supervise runs a set of processes as one thing: started in the order of
// their dependencies, each when those it needs are ready; started again with a
// growing delay when one ends; stopped in reverse, each within its grace. It knows
// nothing of what the processes do.
//
// Two ideas make "nothing stays behind" hold. Each process is the leader of its
// own process group, so a terminal's Ctrl-C reaches only the supervisor, and a
// group can be killed whole. And the kernel signals a process when the thread
// that started it ends (PR_SET_PDEATHSIG), so even kill -9 of the supervisor ends
// them all; for that, all are started by one thread that lives as long as the
// supervisor does.
package supervise

import (
	"context"
	"io"
	"syscall"
	"time"
)

// Spec says how one process is started, when it is ready, and how it is stopped.
type Spec struct {
	// Name is unique among the processes of a supervisor.
	Name string
	// Path is the program, Args what follows it. Never a secret.
	Path string
	Args []string
	// Env is the whole environment.
	Env []string
	// Dir is the working directory; empty means that of the supervisor.
	Dir string
	// User runs the process as someone else; nil means as the supervisor.
	User *syscall.Credential
	// After names the processes that must be ready before this one starts.
	After []string
	// Before, if set, runs before each start, to clear what a dead one left.
	Before func(ctx context.Context) error
	// Ready is one attempt to see whether the process, with this pid, serves. It
	// is called again and again until it returns nil.
	Ready func(ctx context.Context, pid int) error
	// Output receives stdout and stderr.
	Output io.Writer
	// Stop asks the process to end in order, and Orphan is what the kernel sends
	// it when the supervisor is gone. Both default to SIGTERM.
	Stop, Orphan syscall.Signal
	// Grace is how long an orderly end may take before the group is killed.
	Grace time.Duration
}

// State is what a process is doing.
type State string

// The states of a process.
const (
	Waiting  State = "waiting"  // for those it needs
	Starting State = "starting" // runs, not ready yet
	Ready    State = "ready"
	Backoff  State = "backoff" // ended by itself; waits to be started again
	Stopping State = "stopping"
	Stopped  State = "stopped"
)

// Event is a change of one process.
type Event struct {
	Name  string
	State State
	// PID is 0 unless the process runs.
	PID int
	// Started is when the process of this PID was started.
	Started time.Time
	// Restarts counts how often it was started again.
	Restarts int
	// Err and Delay are set with Backoff: how it ended, and when it is tried again.
	Err   error
	Delay time.Duration
}

// Options are the parts of a supervisor that a test or an operator may set.
type Options struct {
	// Notify is told of each change, one call at a time. It must not block long.
	Notify func(Event)
	// Delays between an end and the next start.
	Delays Delays
	// StartLimit bounds the time from the first start to ready. Default 60 s.
	StartLimit time.Duration
	// Adopt makes the supervisor the parent of what its processes leave behind
	// when they die, and kills that. It is a property of the whole operating
	// system process, so only a program that runs one supervisor sets it.
	Adopt bool
}
