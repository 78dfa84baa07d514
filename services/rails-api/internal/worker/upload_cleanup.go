package worker

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"gitsplit/services/rails-api/internal/jobs"
)

// Queue default, three attempts, since it comes again within the hour; one at a time.
const (
	uploadCleanupTimeout = 10 * time.Minute
	// unfinishedAfter is longer than an upload can go on: the addresses it goes to are
	// good for a few hours.
	unfinishedAfter = 24 * time.Hour
)

// uploadCleanup removes what is left in object storage of uploads whose workhorse
// died.
type uploadCleanup struct {
	river.WorkerDefaults[jobs.UploadCleanup]
	Deps
}

// Timeout bounds one attempt.
func (w *uploadCleanup) Timeout(*river.Job[jobs.UploadCleanup]) time.Duration {
	return uploadCleanupTimeout
}

// Work runs one attempt.
func (w *uploadCleanup) Work(ctx context.Context, job *river.Job[jobs.UploadCleanup]) error {
	return w.logged(ctx, "", job.Kind, 0, func(ctx context.Context) error {
		return w.Files.Sweep(ctx, w.Now().Add(-unfinishedAfter))
	})
}
