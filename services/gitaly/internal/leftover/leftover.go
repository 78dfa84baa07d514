// Package leftover removes what killed writers leave in a repository: quarantine
// directories, lock files of refs, keep files of packs (security-baseline.md K2).
//
// The one idea: gitaly holds its storages exclusively and starts every writer
// itself, so a leftover belongs to a dead process if it is older than the oldest
// writer alive in that repository. With no writer alive, everything is.
package leftover

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// margin covers the grain of file times, which lag behind the clock a little.
const margin = time.Second

// Guard counts the writers of each repository. It is safe for concurrent use.
type Guard struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	repos map[string]*repository
}

type repository struct {
	mu      sync.Mutex // held while sweeping: no writer starts meanwhile
	writers map[int]time.Time
	next    int
	dirty   bool // a leftover may be there
	users   int  // holders of a pointer to this, guarded by Guard.mu
}

// NewGuard returns a guard. Each repository is swept before its first writer.
func NewGuard(log *slog.Logger, now func() time.Time) *Guard {
	return &Guard{log: log, now: now, repos: map[string]*repository{}}
}

// Enter registers a writer of the repository in dir and returns what to call when
// the writer and all its children are dead, with whether it ended by itself. If
// somebody was killed here, leftovers are removed before Enter returns.
func (g *Guard) Enter(dir string) (leave func(clean bool)) {
	r := g.repository(dir)
	r.mu.Lock()
	defer r.mu.Unlock()
	g.sweep(dir, r)
	id := r.next
	r.next++
	r.writers[id] = g.now()
	return func(clean bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.writers, id)
		r.dirty = r.dirty || !clean
		g.sweep(dir, r)
		g.release(dir, r)
	}
}

// Sweep removes the leftovers of earlier processes from one repository.
func (g *Guard) Sweep(dir string) {
	r := g.repository(dir)
	r.mu.Lock()
	defer r.mu.Unlock()
	g.sweep(dir, r)
	g.release(dir, r)
}

// repository returns the entry of dir. An entry that is new, or was forgotten
// when its last writer left, counts as dirty only if it was never swept clean.
func (g *Guard) repository(dir string) *repository {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.repos[dir]
	if !ok {
		r = &repository{writers: map[int]time.Time{}, dirty: true}
		g.repos[dir] = r
	}
	r.users++
	return r
}

// release forgets entries that nobody uses and that may hold something: the rest
// is remembered, at some bytes each, as swept.
func (g *Guard) release(dir string, r *repository) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r.users--
	if r.users == 0 && r.dirty {
		delete(g.repos, dir)
	}
}

// sweep removes what cannot belong to a living writer. The repository stays dirty
// as long as one lives that may own something.
func (g *Guard) sweep(dir string, r *repository) {
	if !r.dirty {
		return
	}
	before := g.now().Add(time.Hour)
	for _, started := range r.writers {
		if limit := started.Add(-margin); limit.Before(before) {
			before = limit
		}
	}
	removed, err := Remove(dir, before)
	if len(removed) > 0 {
		g.log.Info("leftovers of killed writers removed", slog.String("repository", dir), slog.Any("files", removed))
	}
	if err != nil {
		g.log.Error("leftovers of killed writers could not be removed", slog.String("repository", dir), slog.Any("error", err))
		return
	}
	r.dirty = len(r.writers) > 0
}

// SweepAll removes the leftovers of earlier processes from every repository below
// root, until ctx ends.
func (g *Guard) SweepAll(ctx context.Context, root string) error {
	return eachRepository(ctx, root, g.Sweep)
}
