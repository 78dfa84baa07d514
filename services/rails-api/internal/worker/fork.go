package worker

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"gitsplit/services/rails-api/internal/jobs"
)

// Queue forks, eight attempts, not unique.
const (
	forkTimeout  = time.Hour + 5*time.Minute // gitaly has an hour to copy
	forksAtATime = 2
)

// forking gives a fork its repository.
type forking struct {
	river.WorkerDefaults[jobs.Fork]
	Deps
}

// Timeout bounds one attempt.
func (w *forking) Timeout(*river.Job[jobs.Fork]) time.Duration { return forkTimeout }

// Work runs one attempt. After the last one the fork has failed.
func (w *forking) Work(ctx context.Context, job *river.Job[jobs.Fork]) error {
	return w.logged(ctx, "", job.Kind, job.Args.ProjectID, func(ctx context.Context) error {
		err := w.Forks.Import(ctx, job.Args)
		if err != nil && job.Attempt >= job.MaxAttempts {
			err = errors.Join(err, w.Forks.GiveUp(context.WithoutCancel(ctx), job.Args.ProjectID, "The repository could not be copied."))
		}
		return err
	})
}

// poolJoining lets a fork and its source share objects.
type poolJoining struct {
	river.WorkerDefaults[jobs.JoinPool]
	Deps
}

// Timeout bounds one attempt.
func (w *poolJoining) Timeout(*river.Job[jobs.JoinPool]) time.Duration { return forkTimeout }

// Work runs one attempt.
func (w *poolJoining) Work(ctx context.Context, job *river.Job[jobs.JoinPool]) error {
	return w.logged(ctx, "", job.Kind, job.Args.ProjectID, func(ctx context.Context) error {
		return w.Forks.JoinPool(ctx, job.Args.ProjectID)
	})
}
