// Package housekeeping keeps repositories fast and small while they are in use:
// objects in few packs with indexes over all of them, references in one file, a
// commit-graph, and nothing that nobody needs (wire/gitaly.md §15).
//
// Two ideas carry it. Readers and writers go on meanwhile: nothing they can see is
// changed, it is replaced by something that holds the same and more, and what was
// replaced goes only when the replacement and its name are on disk. And an object
// goes only after it was found unreachable a whole grace period ago: that, not its
// age, is how long a push may have relied on it without having said so (repack.go).
package housekeeping

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// Strategy is how thorough to be.
type Strategy int

// The strategies.
const (
	Heuristical Strategy = iota // what measurements of the repository call for
	Eager                       // everything
	References                  // of what is called for, only what makes references faster
	pruning                     // everything, and unreachable objects go sooner
)

// String returns the name for the log.
func (s Strategy) String() string {
	return [...]string{"heuristical", "eager", "references", "pruning"}[s]
}

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error
	Output(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec, limit int) ([]byte, error)
	Version() gitcmd.Version
}

// Sweeper removes from a repository what no writer can need any more.
type Sweeper interface {
	RemoveStale(dir string) (removed []string, err error)
}

// Marks are those of repositories in which a sync has failed.
type Marks interface {
	Marked(repo *storage.Repo) bool
	Clear(repo *storage.Repo) error
}

// Observer measures.
type Observer interface {
	// HousekeepingTask counts a task that was done or has failed.
	HousekeepingTask(task string, err error)
	// HousekeepingStage tells how long a stage took; "total" is all of them.
	HousekeepingStage(stage string, took time.Duration)
	// HousekeepingRuns changes the number of runs that wait and that work.
	HousekeepingRuns(waiting, working int)
	// HousekeepingDue says how many repositories the scheduler has to visit.
	HousekeepingDue(n int)
}

// Options is what a Manager needs.
type Options struct {
	Git      Git
	Sweeper  Sweeper
	Marks    Marks
	Observer Observer
	Log      *slog.Logger
	Now      func() time.Time
	Parallel int // runs at a time in the whole; at least 1
}

// Manager runs housekeeping, for each repository one at a time. It is safe for
// concurrent use.
type Manager struct {
	o     Options
	slots chan struct{}

	mu   sync.Mutex
	busy map[string]bool // by directory
}

// New returns a manager.
func New(o Options) *Manager {
	return &Manager{o: o, slots: make(chan struct{}, max(1, o.Parallel)), busy: map[string]bool{}}
}

// Hold keeps housekeeping out of a repository until release is called. Whoever
// changes what a repository borrows from others must hold it: housekeeping leaves out
// what it finds there. While housekeeping is at work it is errs.Exists.
func (m *Manager) Hold(repo *storage.Repo) (release func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy[repo.Dir] {
		return nil, errs.New(errs.Exists, "housekeeping already executing for repository")
	}
	m.busy[repo.Dir] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.busy, repo.Dir)
	}, nil
}

// Optimize does what the strategy asks for, and returns when it is done. It waits for
// its turn among other repositories; for the same one it is errs.Exists. No repository
// is errs.NotFound.
func (m *Manager) Optimize(ctx context.Context, repo *storage.Repo, s Strategy) error {
	release, err := m.Hold(repo)
	if err != nil {
		return err
	}
	defer release()
	if err := m.acquire(ctx); err != nil {
		return err
	}
	defer m.free()
	began := time.Now()
	r := &run{
		o: m.o, repo: repo, git: &gitcmd.Repo{Name: repo.Name, Dir: repo.Dir}, strategy: s, now: m.o.Now(), outcome: map[string]string{},
	}
	err = r.all(ctx)
	took := time.Since(began)
	m.o.Observer.HousekeepingStage("total", took)
	m.o.Observer.HousekeepingTask("total", err)
	level := slog.LevelInfo
	if len(r.outcome) == 0 {
		level = slog.LevelDebug // it was fine as it was
	}
	m.o.Log.Log(ctx, level, "housekeeping", slog.String("repository", repo.RelativePath), slog.String("storage", repo.Storage.Name),
		slog.String("strategy", s.String()), slog.Any("tasks", r.outcome), slog.Any("reasons", r.plan.reasons),
		slog.Float64(logging.KeyDurationMS, logging.Milliseconds(took)))
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if ok, existsErr := repo.Exists(); !ok && existsErr == nil {
		return errs.Wrap(errs.NotFound, "repository not found", err) // removed under our hands
	}
	return err
}

// Prune removes the objects that were found unreachable half an hour ago or earlier,
// and finds those that are now. Of a pool it is errs.Invalid: its members may need
// them. Otherwise as Optimize.
func (m *Manager) Prune(ctx context.Context, repo *storage.Repo) error {
	if repo.IsPool() {
		return errs.New(errs.Invalid, "pruning objects for object pool")
	}
	return m.Optimize(ctx, repo, pruning)
}

func (m *Manager) acquire(ctx context.Context) error {
	m.o.Observer.HousekeepingRuns(1, 0)
	defer m.o.Observer.HousekeepingRuns(-1, 0)
	select {
	case m.slots <- struct{}{}:
		m.o.Observer.HousekeepingRuns(0, 1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Manager) free() {
	<-m.slots
	m.o.Observer.HousekeepingRuns(0, -1)
}
