package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/branchcache"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/project"
)

// Queue default, River's 25 attempts, not unique: each push has its own job.
const postReceiveTimeout = 3 * time.Minute

// postReceive refreshes what is derived from a repository after a push: where HEAD
// points, the branch names that are kept, size and length of the history.
type postReceive struct {
	river.WorkerDefaults[jobs.PostReceive]
	Deps
	projects *project.Store
}

// Timeout bounds one attempt.
func (w *postReceive) Timeout(*river.Job[jobs.PostReceive]) time.Duration { return postReceiveTimeout }

// Work runs one attempt.
func (w *postReceive) Work(ctx context.Context, job *river.Job[jobs.PostReceive]) error {
	return w.logged(ctx, job.Args.CorrelationID, job.Kind, job.Args.ProjectID, func(ctx context.Context) error {
		p, err := w.projects.ByID(ctx, job.Args.ProjectID)
		if errs.KindOf(err) == errs.NotFound { // removed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		return w.refresh(ctx, p, job.Args.PushEventID)
	})
}

func (w *postReceive) refresh(ctx context.Context, p project.Project, push int64) error {
	if err := w.head(ctx, p); err != nil {
		return err
	}
	if err := w.names(ctx, p, push); err != nil {
		return err
	}
	size, err := w.Gitaly.Size(ctx, p)
	if err != nil {
		return err
	}
	commits, err := w.Gitaly.CountCommits(ctx, p, p.DefaultBranch)
	if err != nil {
		return err
	}
	return w.projects.SetStatistics(ctx, p.ID, size, commits)
}

// head points HEAD at the default branch, so that clones check it out.
func (w *postReceive) head(ctx context.Context, p project.Project) error {
	branch, err := w.Gitaly.DefaultBranch(ctx, p)
	if err != nil || branch == p.DefaultBranch {
		return err
	}
	return w.Gitaly.SetDefaultBranch(ctx, p, p.DefaultBranch)
}

// names keeps the names of the branches anew, unless the push has only moved some.
func (w *postReceive) names(ctx context.Context, p project.Project, push int64) error {
	differ, err := event.Renames(ctx, w.DB, push)
	if err != nil || !differ {
		return err
	}
	names, err := w.Gitaly.Branches(ctx, p, branchcache.Limit+1)
	if err != nil || len(names) > branchcache.Limit {
		return err
	}
	if err := w.Branches.Put(ctx, p.GLRepository(), names); err != nil { // readers do without
		w.Log.WarnContext(ctx, "branch names not kept", slog.Any(logging.KeyError, err))
	}
	return nil
}
