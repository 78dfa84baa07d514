package supervise

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Supervisor runs a set of processes. Make it with New, use it once.
type Supervisor struct {
	units   map[string]*unit
	after   map[string][]string // name → those it needs
	starter *starter
	family  *family
	opts    Options
	hurry   chan struct{}
	once    sync.Once
	mu      sync.Mutex // one Notify at a time
}

// New checks the specs: names are unique, and what they need exists and forms no
// circle.
func New(specs []Spec, opts Options) (*Supervisor, error) {
	if opts.StartLimit <= 0 {
		opts.StartLimit = time.Minute
	}
	opts.Delays = opts.Delays.withDefaults()
	s := &Supervisor{opts: opts, units: map[string]*unit{}, after: map[string][]string{}, hurry: make(chan struct{})}
	for _, spec := range specs {
		if _, twice := s.units[spec.Name]; twice {
			return nil, fmt.Errorf("process %q is defined twice", spec.Name)
		}
		s.units[spec.Name] = s.unit(spec)
		s.after[spec.Name] = spec.After
	}
	for name := range s.units {
		if err := s.checkOrder(name, nil); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Supervisor) unit(spec Spec) *unit {
	if spec.Stop == 0 {
		spec.Stop = syscall.SIGTERM
	}
	if spec.Orphan == 0 {
		spec.Orphan = syscall.SIGTERM
	}
	return &unit{
		spec: spec, opts: s.opts, hurry: s.hurry, notify: s.notify,
		ready: make(chan struct{}), done: make(chan struct{}),
	}
}

func (s *Supervisor) checkOrder(name string, path []string) error {
	for _, seen := range path {
		if seen == name {
			return fmt.Errorf("processes wait for each other: %v", append(path, name))
		}
	}
	for _, need := range s.after[name] {
		if s.units[need] == nil {
			return fmt.Errorf("process %q needs %q, which does not exist", name, need)
		}
		if err := s.checkOrder(need, append(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// Run starts everything, calls ready when all are, and keeps them running until
// ctx ends; then it stops them in reverse order. It returns when no process is
// left: nil after an orderly life, or what kept the start from succeeding.
func (s *Supervisor) Run(ctx context.Context, ready func()) error {
	family, err := newFamily(s.opts.Adopt)
	if err != nil {
		return err
	}
	s.starter, s.family = newStarter(), family
	defer s.starter.close()
	defer s.reapOrphans()()

	// abort ends the start as soon as one unit fails; each unit's own context is
	// ended in order by stopAll.
	starting, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	var running sync.WaitGroup
	stops := map[string]context.CancelFunc{}
	for name, u := range s.units {
		u.starter, u.family = s.starter, s.family
		unitCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
		stops[name] = stop
		running.Go(func() { s.runUnit(unitCtx, starting, abort, u) })
	}
	err = s.awaitAll(starting)
	if err == nil {
		ready()
		<-ctx.Done()
	} else if ctx.Err() != nil {
		err = nil // asked to stop while starting
	}
	s.stopAll(stops)
	running.Wait()
	s.family.sweep()
	return err
}

// Kill makes Run end every process group at once instead of asking and waiting.
// It may be called at any time, more than once.
func (s *Supervisor) Kill() { s.once.Do(func() { close(s.hurry) }) }

func (s *Supervisor) runUnit(ctx, starting context.Context, abort context.CancelCauseFunc, u *unit) {
	s.notify(Event{Name: u.spec.Name, State: Waiting})
	for _, need := range u.spec.After {
		select {
		case <-s.units[need].ready:
		case <-starting.Done():
			close(u.done)
			return
		}
	}
	if starting.Err() != nil {
		close(u.done)
		return
	}
	u.run(ctx)
	if u.failed != nil {
		abort(u.failed)
	}
}

// awaitAll returns nil when every unit is ready, or why the start ended.
func (s *Supervisor) awaitAll(starting context.Context) error {
	for _, u := range s.units {
		select {
		case <-u.ready:
		case <-starting.Done():
			return context.Cause(starting)
		}
	}
	return nil
}

// stopAll stops each unit once all that need it are gone, and waits for all.
func (s *Supervisor) stopAll(stops map[string]context.CancelFunc) {
	var stopping sync.WaitGroup
	for name := range s.units {
		stopping.Go(func() {
			for other, needs := range s.after {
				for _, need := range needs {
					if need == name {
						<-s.units[other].done
					}
				}
			}
			stops[name]()
			<-s.units[name].done
		})
	}
	stopping.Wait()
}

func (s *Supervisor) notify(e Event) {
	if s.opts.Notify == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Notify(e)
}

// reapOrphans collects adopted processes as they end, until the returned function
// is called.
func (s *Supervisor) reapOrphans() (stop func()) {
	if !s.opts.Adopt {
		return func() {}
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-children:
				s.family.reap()
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(children)
		close(done)
		running.Wait()
	}
}
