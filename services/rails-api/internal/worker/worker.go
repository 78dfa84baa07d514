// Package worker does the background jobs of package jobs, on River. Each job may
// run more than once and does nothing wrong when it does.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/branchcache"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/reconcile"
)

// Gitaly is what the jobs ask of the storage servers; gitaly.Client does.
type Gitaly interface {
	Branches(ctx context.Context, p project.Project, limit int) ([]string, error)
	Size(ctx context.Context, p project.Project) (int64, error)
	CountCommits(ctx context.Context, p project.Project, branch string) (int64, error)
	DefaultBranch(ctx context.Context, p project.Project) (string, error)
	SetDefaultBranch(ctx context.Context, p project.Project, branch string) error
}

// Cleaner removes what is left of projects; projectrepo.Service does.
type Cleaner interface {
	Cleanup(ctx context.Context, projectID int64) error
}

// Moves moves repositories; repomove.Mover does.
type Moves interface {
	Run(ctx context.Context) error
	Remove(ctx context.Context, c jobs.RemoveCopy) error
}

// Forks finishes forks; projectrepo.Service does.
type Forks interface {
	Import(ctx context.Context, job jobs.Fork) error
	GiveUp(ctx context.Context, projectID int64, reason string) error
	JoinPool(ctx context.Context, projectID int64) error
}

// Files removes stored files, and what is left of uploads; storage.Store does.
type Files interface {
	Delete(ctx context.Context, key string) error
	Sweep(ctx context.Context, before time.Time) error
}

// Deps is what the jobs work with; every field is needed.
type Deps struct {
	DB          *pgxpool.Pool
	Gitaly      Gitaly
	Branches    *branchcache.Cache
	Cleaner     Cleaner
	Forks       Forks
	Files       Files
	Concurrency int // jobs at a time
	Reconciler  *reconcile.Reconciler
	Moves       Moves
	// LFSRemovalDelay is how long a large file is kept that no project has.
	LFSRemovalDelay time.Duration
	Log             *slog.Logger
	Now             func() time.Time
}

// Inserter returns a client that inserts jobs and does none.
func Inserter(db *pgxpool.Pool, log *slog.Logger) (*river.Client[pgx.Tx], error) {
	c, err := river.NewClient(riverpgxv5.New(db), &river.Config{Logger: slog.New(quiet{log.Handler()})})
	if err != nil {
		return nil, fmt.Errorf("job client: %w", err)
	}
	return c, nil
}

// New returns a client that does the jobs once it is started.
func New(d Deps) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	for _, err := range []error{
		river.AddWorkerSafely(workers, &postReceive{Deps: d, projects: project.New(d.DB)}),
		river.AddWorkerSafely(workers, &projectCleanup{Deps: d}),
		river.AddWorkerSafely(workers, &lfsCleanup{Deps: d, lfs: lfs.New(d.DB)}),
		river.AddWorkerSafely(workers, &uploadCleanup{Deps: d}),
		river.AddWorkerSafely(workers, &reconciling{Deps: d}),
		river.AddWorkerSafely(workers, &moving{Deps: d}),
		river.AddWorkerSafely(workers, &removingCopy{Deps: d}),
		river.AddWorkerSafely(workers, &forking{Deps: d}),
		river.AddWorkerSafely(workers, &poolJoining{Deps: d}),
	} {
		if err != nil {
			return nil, fmt.Errorf("job client: %w", err)
		}
	}
	c, err := river.NewClient(riverpgxv5.New(d.DB), &river.Config{
		Queues: map[string]river.QueueConfig{
			river.QueueDefault: {MaxWorkers: d.Concurrency}, jobs.QueueReconcile: {MaxWorkers: 1}, jobs.QueueMoves: {MaxWorkers: movesAtATime},
			jobs.QueueForks: {MaxWorkers: forksAtATime},
		},
		Workers:      workers,
		PeriodicJobs: []*river.PeriodicJob{hourly(jobs.LFSCleanup{}), hourly(jobs.UploadCleanup{}), hourly(jobs.Reconcile{}), moves()},
		Logger:       slog.New(quiet{d.Log.Handler()}),
	})
	if err != nil {
		return nil, fmt.Errorf("job client: %w", err)
	}
	return c, nil
}

// hourly is a job that is inserted once an hour, however many workers there are.
func hourly(args river.JobArgs) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(time.Hour), func() (river.JobArgs, *river.InsertOpts) {
		return args, &river.InsertOpts{MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByPeriod: time.Hour}}
	}, nil)
}

// quiet passes on warnings and errors only: River tells its own progress every
// minute, and ours is in the access lines.
type quiet struct{ slog.Handler }

// Enabled reports whether a level is passed on.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

// WithAttrs keeps the attributes and the filter.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup keeps the group and the filter.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

// logged runs one job under a correlation id and writes its access line.
func (d Deps) logged(ctx context.Context, id, kind string, projectID int64, do func(context.Context) error) error {
	if !correlation.Valid(id) {
		id = correlation.NewID()
	}
	ctx = correlation.With(ctx, id)
	started := time.Now()
	err := do(ctx)
	attrs := []slog.Attr{slog.String("job", kind), slog.Int64("project_id", projectID), slog.String("outcome", "done")}
	if err != nil {
		attrs[2] = slog.String("outcome", "failed")
		attrs = append(attrs, slog.Any(logging.KeyError, err))
	}
	logging.Access(ctx, d.Log, started, attrs...)
	return err
}
