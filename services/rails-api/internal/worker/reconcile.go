package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/reconcile"
)

// Queue reconcile, three attempts, since it comes again within the hour; one at a time.
const (
	reconcileInterval = time.Hour
	reconcileTimeout  = 6 * time.Hour // of very many projects
	reconcileGrace    = 30 * time.Minute
	reportsExpire     = 30 * 24 * time.Hour
)

// reconciling compares the references of all projects with the recorded pushes.
type reconciling struct {
	river.WorkerDefaults[jobs.Reconcile]
	Deps
}

// Timeout bounds one attempt.
func (w *reconciling) Timeout(*river.Job[jobs.Reconcile]) time.Duration { return reconcileTimeout }

// Work runs one attempt. One that had to wait for another until the next was due is
// left to that.
func (w *reconciling) Work(ctx context.Context, job *river.Job[jobs.Reconcile]) error {
	if time.Since(job.CreatedAt) > reconcileInterval {
		return nil
	}
	return w.logged(ctx, "", job.Kind, 0, func(ctx context.Context) error {
		if err := w.Reconciler.Events.Forget(ctx, w.Now().Add(-reportsExpire)); err != nil {
			return err
		}
		return w.Reconciler.All(ctx, reconcileGrace, func(r reconcile.Result) {
			if r.Err != nil {
				w.Log.WarnContext(ctx, "references not compared", slog.String(logging.KeyProject, r.Project.FullPath),
					slog.String("outcome", string(r.Outcome)), slog.Any(logging.KeyError, r.Err))
			}
		})
	})
}
