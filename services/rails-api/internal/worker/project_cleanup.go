package worker

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"gitsplit/services/rails-api/internal/attachment"
	"gitsplit/services/rails-api/internal/jobs"
)

// Queue default, River's 25 attempts, not unique.
const projectCleanupTimeout = 2 * time.Minute

// projectCleanup removes the repository and the attachments of a project that is withdrawn or half made.
type projectCleanup struct {
	river.WorkerDefaults[jobs.ProjectCleanup]
	Deps
}

// Timeout bounds one attempt.
func (w *projectCleanup) Timeout(*river.Job[jobs.ProjectCleanup]) time.Duration {
	return projectCleanupTimeout
}

// Work runs one attempt.
func (w *projectCleanup) Work(ctx context.Context, job *river.Job[jobs.ProjectCleanup]) error {
	return w.logged(ctx, "", job.Kind, job.Args.ProjectID, func(ctx context.Context) error {
		if err := attachment.RemoveWithdrawn(ctx, w.DB, w.Files, job.Args.ProjectID); err != nil { // their rows go with the project's
			return err
		}
		return w.Cleaner.Cleanup(ctx, job.Args.ProjectID)
	})
}
