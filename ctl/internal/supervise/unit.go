package supervise

import (
	"context"
	"fmt"
	"time"
)

// Intervals of readiness attempts: quick at first, since most services need only
// some tens of milliseconds, then slower. attemptLimit bounds a single one.
const (
	firstInterval = 5 * time.Millisecond
	lastInterval  = 100 * time.Millisecond
	attemptLimit  = 2 * time.Second
)

// unit keeps one process running.
type unit struct {
	spec     Spec
	opts     Options
	starter  *starter
	family   *family
	hurry    <-chan struct{} // closed: kill, do not ask
	notify   func(Event)
	restarts int
	// ready is closed when the process was ready for the first time, done when
	// the unit has ended; failed is set before done and only if it never was ready.
	ready, done chan struct{}
	failed      error
}

// run starts the process and keeps it running until ctx ends, then stops it. A
// process that ends or is not ready in time on its very first start is not tried
// again: something is wrong that only a person can put right.
func (u *unit) run(ctx context.Context) {
	defer close(u.done)
	var delay time.Duration
	for {
		started := time.Now()
		err := u.once(ctx)
		u.family.sweep()
		if ctx.Err() != nil {
			u.notify(Event{Name: u.spec.Name, State: Stopped, Restarts: u.restarts})
			return
		}
		if !closed(u.ready) {
			u.failed = fmt.Errorf("%s: %w", u.spec.Name, err)
			u.notify(Event{Name: u.spec.Name, State: Stopped, Err: err})
			return
		}
		delay = u.opts.Delays.next(delay, time.Since(started))
		u.notify(Event{Name: u.spec.Name, State: Backoff, Restarts: u.restarts, Err: err, Delay: delay})
		pause(ctx, delay)
		u.restarts++
	}
}

// once runs the process one time: to its end, or until ctx ends.
func (u *unit) once(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if u.spec.Before != nil {
		if err := u.spec.Before(ctx); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	p, err := launch(u.spec, u.starter, u.family)
	if err != nil {
		return err
	}
	u.tell(p, Starting)
	if err := u.awaitReady(ctx, p); err != nil {
		p.stop(u.spec.Stop, u.spec.Grace, u.hurry)
		return err
	}
	u.tell(p, Ready)
	if !closed(u.ready) {
		close(u.ready)
	}
	select {
	case <-p.ended:
		p.kill() // members of its group that outlived it
		return exitText(p.err)
	case <-ctx.Done():
		u.tell(p, Stopping)
		if p.stop(u.spec.Stop, u.spec.Grace, u.hurry) {
			return fmt.Errorf("did not stop within %v and was killed", u.spec.Grace)
		}
		return nil
	}
}

// awaitReady returns nil once the process is ready, and an error if it ended, was
// too slow, or ctx ended first. Only the first start can be too slow: later, a
// process may well have to wait until something that it needs is back.
func (u *unit) awaitReady(ctx context.Context, p *process) error {
	limited, cancel := context.WithCancel(ctx)
	if !closed(u.ready) {
		limited, cancel = context.WithTimeout(ctx, u.opts.StartLimit)
	}
	defer cancel()
	interval := firstInterval
	for {
		err := u.attempt(limited, p.pid())
		if err == nil && !closed(p.ended) {
			return nil
		}
		timer := time.NewTimer(interval)
		select {
		case <-p.ended:
			timer.Stop()
			return exitText(p.err)
		case <-limited.Done():
			timer.Stop()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("not ready after %v: %w", u.opts.StartLimit, err)
		case <-timer.C:
		}
		interval = min(interval*3/2, lastInterval)
	}
}

func (u *unit) attempt(ctx context.Context, pid int) error {
	if u.spec.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	return u.spec.Ready(ctx, pid)
}

func (u *unit) tell(p *process, state State) {
	u.notify(Event{Name: u.spec.Name, State: state, PID: p.pid(), Started: p.started, Restarts: u.restarts})
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
