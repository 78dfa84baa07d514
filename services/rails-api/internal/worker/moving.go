package worker

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"gitsplit/services/rails-api/internal/jobs"
)

// Queue moves, 1 attempt: what is left is taken up by the next of these jobs, one of which comes every minute.
const (
	movingTimeout = 24 * time.Hour
	movesAtATime  = 2
)

// moves takes up moves whose mover died, and those that are due again.
func moves() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(time.Minute), func() (river.JobArgs, *river.InsertOpts) {
		return jobs.MoveRepositories{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: time.Minute}}
	}, nil)
}

// moving moves repositories.
type moving struct {
	river.WorkerDefaults[jobs.MoveRepositories]
	Deps
}

// Timeout bounds one attempt.
func (w *moving) Timeout(*river.Job[jobs.MoveRepositories]) time.Duration { return movingTimeout }

// Work runs one attempt.
func (w *moving) Work(ctx context.Context, job *river.Job[jobs.MoveRepositories]) error {
	return w.logged(ctx, "", job.Kind, 0, w.Moves.Run)
}

// Queue default, River's 25 attempts, not unique.
const removingCopyTimeout = 15 * time.Minute

// removingCopy removes what a move left behind.
type removingCopy struct {
	river.WorkerDefaults[jobs.RemoveCopy]
	Deps
}

// Timeout bounds one attempt.
func (w *removingCopy) Timeout(*river.Job[jobs.RemoveCopy]) time.Duration { return removingCopyTimeout }

// Work runs one attempt.
func (w *removingCopy) Work(ctx context.Context, job *river.Job[jobs.RemoveCopy]) error {
	return w.logged(ctx, "", job.Kind, 0, func(ctx context.Context) error { return w.Moves.Remove(ctx, job.Args) })
}
