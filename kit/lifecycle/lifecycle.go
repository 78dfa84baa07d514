// Package lifecycle runs the long-lived parts of a process: started in order,
// stopped in the opposite order, each stop bounded. It is the only place that
// knows the order.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// DefaultGrace bounds the stop of a part that names no bound.
const DefaultGrace = 10 * time.Second

// Part is one long-lived piece of a process.
type Part struct {
	Name string
	// Run serves until ctx ends, drains, and returns nil for a clean stop. It
	// calls ready once it serves; the next part starts then.
	Run func(ctx context.Context, ready func()) error
	// Grace bounds the time between the end of ctx and Run's return; 0 is
	// DefaultGrace. A part that takes longer is left behind and reported.
	Grace time.Duration
}

// ErrGrace is wrapped by the error about a part that did not stop in its time.
var ErrGrace = errors.New("did not stop within its grace period")

// Run starts the parts in order, each after the one before is ready, and waits.
// When ctx ends or a part returns, all parts are stopped in the opposite order.
// The error joins what the parts returned; it is nil after a clean stop.
func Run(ctx context.Context, log *slog.Logger, parts ...Part) error {
	g := &group{log: log, failed: make(chan struct{})}
	for _, p := range parts {
		if !g.start(ctx, p) {
			break
		}
	}
	select {
	case <-ctx.Done():
	case <-g.failed:
	}
	return g.stop(ctx)
}

type group struct {
	log     *slog.Logger
	running []*running
	once    sync.Once
	failed  chan struct{} // closed when any part has returned
}

type running struct {
	Part
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// start reports whether the next part may be started.
func (g *group) start(ctx context.Context, p Part) bool {
	if ctx.Err() != nil {
		return false
	}
	// Parts outlive ctx until their turn to stop comes.
	partCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{Part: p, cancel: cancel, done: make(chan struct{})}
	g.running = append(g.running, r)
	ready := make(chan struct{})
	go func() {
		defer g.once.Do(func() { close(g.failed) })
		defer close(r.done)
		r.err = r.protect(partCtx, sync.OnceFunc(func() { close(ready) }))
	}()
	select {
	case <-ready:
		return true
	case <-g.failed:
	case <-ctx.Done():
	}
	return false
}

func (r *running) protect(ctx context.Context, ready func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return r.Run(ctx, ready)
}

func (g *group) stop(ctx context.Context) error {
	var faults []error
	for i := len(g.running) - 1; i >= 0; i-- {
		r := g.running[i]
		r.cancel()
		if err := r.wait(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", r.Name, err))
		}
		g.log.DebugContext(ctx, "part stopped", slog.String("part", r.Name))
	}
	return errors.Join(faults...)
}

func (r *running) wait() error {
	grace := r.Grace
	if grace <= 0 {
		grace = DefaultGrace
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-r.done:
		return r.err
	case <-timer.C:
		return fmt.Errorf("%w of %v", ErrGrace, grace)
	}
}

// closeReserve is what HTTP keeps of its grace for cutting connections.
const closeReserve = 500 * time.Millisecond

// HTTP returns a part that serves srv on ln. At the end it drains requests for
// the grace period, then cuts the connections that are left. The server owns ln.
func HTTP(name string, srv *http.Server, ln net.Listener, grace time.Duration) Part {
	if grace <= 0 {
		grace = DefaultGrace
	}
	run := func(ctx context.Context, ready func()) error {
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		ready()
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := srv.Shutdown(drain)
		if errors.Is(err, context.DeadlineExceeded) {
			err = srv.Close()
		}
		if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	}
	return Part{Name: name, Run: run, Grace: grace + closeReserve}
}
