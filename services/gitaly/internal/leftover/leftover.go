// Package leftover removes what killed writers leave in a repository: quarantine
// directories, lock files of refs, keep files of packs (security-baseline.md K2).
//
// The one idea: gitaly holds its storages exclusively and starts every writer
// itself, so a leftover belongs to a dead process if it is older than the oldest
// writer alive in that repository that could have made it. With no such writer
// alive, everything is. Housekeeping works for long, but leaves only packs and
// indexes: it does not keep the lock of a killed push in place.
package leftover

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// margin covers the grain of file times, which lag behind the clock a little.
const margin = time.Second

// Guard counts the writers of each repository. It is safe for concurrent use.
type Guard struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	repos map[string]*repository
	swept bool // every repository has been: one that is not in repos is clean
}

// repository is one with writers, or whose state is worth remembering.
type repository struct {
	mu      sync.Mutex // held while sweeping: no writer starts meanwhile
	writers map[int]writer
	next    int
	dirty   gitcmd.Traces // what may be there
	users   int           // holders of a pointer to this, guarded by Guard.mu
}

type writer struct {
	started time.Time
	traces  gitcmd.Traces
	left    chan struct{} // closed when it is dead
}

// NewGuard returns a guard. Each repository is swept before its first writer.
func NewGuard(log *slog.Logger, now func() time.Time) *Guard {
	return &Guard{log: log, now: now, repos: map[string]*repository{}}
}

// Enter registers a writer of the repository in dir and returns what to call once,
// when the writer and all its children are dead, with whether it ended by itself. If
// somebody was killed here, leftovers are removed before Enter returns. A writer without
// traces is one that Outlive waits for, and nothing else.
func (g *Guard) Enter(dir string, traces gitcmd.Traces) (leave func(clean bool)) {
	r := g.repository(dir)
	r.mu.Lock()
	defer r.mu.Unlock()
	g.sweep(dir, r)
	id := r.next
	r.next++
	left := make(chan struct{})
	r.writers[id] = writer{g.now(), traces, left}
	return func(clean bool) {
		defer close(left)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.writers, id)
		if !clean {
			r.dirty = max(r.dirty, traces)
		}
		g.sweep(dir, r)
		g.release(dir, r, true)
	}
}

// Outlive waits for the end of the writers that are at work in the repository now.
// What they took for granted when they started matters until then.
func (g *Guard) Outlive(ctx context.Context, dir string) error {
	r := g.repository(dir)
	r.mu.Lock()
	alive := slices.Collect(maps.Values(r.writers))
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		g.release(dir, r, true)
	}()
	for _, w := range alive {
		select {
		case <-w.left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Sweep removes the leftovers of earlier processes from one repository.
func (g *Guard) Sweep(dir string) {
	r := g.repository(dir)
	r.mu.Lock()
	defer r.mu.Unlock()
	g.sweep(dir, r)
	g.release(dir, r, false)
}

// repository returns the entry of dir.
func (g *Guard) repository(dir string) *repository {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.repos[dir]
	if !ok {
		r = &repository{writers: map[int]writer{}}
		if !g.swept {
			r.dirty = gitcmd.RefTraces
		}
		g.repos[dir] = r
	}
	r.users++
	return r
}

// release forgets the entry of a clean repository when nobody uses it any more. Until
// all have been swept, those that are written to are remembered as swept.
func (g *Guard) release(dir string, r *repository, remember bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r.users--
	if r.users == 0 && r.dirty == gitcmd.NoTraces && (g.swept || !remember) {
		delete(g.repos, dir)
	}
}

// sweep removes what cannot belong to a living writer. The repository stays dirty
// as long as one lives that may own something.
func (g *Guard) sweep(dir string, r *repository) {
	if r.dirty == gitcmd.NoTraces {
		return
	}
	l, living := g.limits(r)
	removed, err := remove(dir, r.dirty, l)
	if len(removed) > 0 {
		g.log.Info("leftovers of killed writers removed", slog.String("repository", dir), slog.Any("files", removed))
	}
	if err != nil {
		g.log.Error("leftovers of killed writers could not be removed", slog.String("repository", dir), slog.Any("error", err))
		return
	}
	r.dirty = min(r.dirty, living)
}

// limits are the times before which a leftover of each kind belongs to nobody alive.
type limits struct{ packs, refs time.Time }

// limits returns them, and what the living may leave. r.mu is held.
func (g *Guard) limits(r *repository) (l limits, living gitcmd.Traces) {
	never := g.now().Add(time.Hour)
	l = limits{packs: never, refs: never}
	for _, w := range r.writers {
		if w.traces == gitcmd.NoTraces {
			continue
		}
		living = max(living, w.traces)
		limit := w.started.Add(-margin)
		if limit.Before(l.packs) {
			l.packs = limit
		}
		if w.traces == gitcmd.RefTraces && limit.Before(l.refs) {
			l.refs = limit
		}
	}
	return l, living
}

// SweepAll removes the leftovers of earlier processes from every repository below
// the roots, until ctx ends.
func (g *Guard) SweepAll(ctx context.Context, roots ...string) error {
	for _, root := range roots {
		if err := storage.EachRepository(ctx, root, g.Sweep); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.swept = true
	for dir, r := range g.repos {
		if r.users == 0 && r.dirty == gitcmd.NoTraces {
			delete(g.repos, dir)
		}
	}
	return nil
}
