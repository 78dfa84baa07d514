package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/lfs"
)

// Queue default, three attempts, since it comes again within the hour; one at a time.
const (
	lfsCleanupTimeout = 10 * time.Minute
	lfsCleanupBatch   = 100
)

// lfsCleanup removes the LFS objects that no project has any more, and what was
// left of those that were never stored whole.
type lfsCleanup struct {
	river.WorkerDefaults[jobs.LFSCleanup]
	Deps
	lfs *lfs.Store
}

// Timeout bounds one attempt.
func (w *lfsCleanup) Timeout(*river.Job[jobs.LFSCleanup]) time.Duration { return lfsCleanupTimeout }

// Work runs one attempt.
func (w *lfsCleanup) Work(ctx context.Context, job *river.Job[jobs.LFSCleanup]) error {
	return w.logged(ctx, "", job.Kind, 0, func(ctx context.Context) error {
		now := w.Now()
		if err := w.lfs.Condemn(ctx, now, now.Add(-w.LFSRemovalDelay)); err != nil {
			return err
		}
		for {
			more, err := w.remove(ctx)
			if err != nil || !more {
				return err
			}
		}
	})
}

// remove removes some of the objects that are set aside, and reports whether there
// may be more. A file that cannot be removed does not keep the others.
func (w *lfsCleanup) remove(ctx context.Context) (more bool, err error) {
	list, err := w.lfs.Condemned(ctx, lfsCleanupBatch)
	if err != nil {
		return false, err
	}
	var faults []error
	for _, o := range list {
		err := w.Files.Delete(ctx, o.Key())
		if err == nil {
			err = w.lfs.Forget(ctx, o.ID)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("remove LFS object %d: %w", o.ID, err))
		}
	}
	return len(list) == lfsCleanupBatch, errors.Join(faults...)
}
