package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/reconcile"
	"gitsplit/services/rails-api/internal/worker"
)

func (b *base) reconciler(jobs *river.Client[pgx.Tx]) *reconcile.Reconciler {
	const perEvent = 20_000
	return reconcile.New(reconcile.Deps{
		Projects: project.New(b.db), Events: event.New(b.db, jobs, time.Now), Gitaly: b.gitaly,
		Pushes: counter.New(b.redis, b.log, time.Now), PerEvent: perEvent, Log: b.log, Now: time.Now,
	})
}

// reconcile is `rails-api reconcile [PROJECT…]`: it compares projects at once, all of
// them or those that are named, and prints a line for each that did not agree. It is
// an error when one of them could not be compared.
func (b *base) reconcile(ctx context.Context, s Streams, paths []string) error {
	jobs, err := worker.Inserter(b.db, b.log)
	if err != nil {
		return err
	}
	r, all, left := b.reconciler(jobs), 0, 0
	var printErr error
	report := func(result reconcile.Result) {
		all++
		if result.Outcome == reconcile.Busy || result.Outcome == reconcile.Failed {
			left++
		}
		if text := described(result); text != "" {
			_, writeErr := fmt.Fprintf(s.Out, "%s: %s\n", result.Project.FullPath, text)
			printErr = errors.Join(printErr, writeErr)
		}
	}
	if len(paths) == 0 {
		err = r.All(ctx, 0, report)
	}
	for _, path := range paths {
		p, _, findErr := r.Projects.ByPath(ctx, path)
		if errs.KindOf(findErr) == errs.NotFound {
			return fmt.Errorf("%s: there is no such project", path)
		}
		if findErr != nil {
			return fmt.Errorf("%s: %w", path, findErr)
		}
		report(r.Project(ctx, p, 0))
	}
	if err = errors.Join(err, printErr); err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("%d of %d projects could not be compared", left, all)
	}
	_, err = fmt.Fprintf(s.Err, "projects compared: %d\n", all)
	return err
}

// described says what came of a project, "" when there was nothing to do.
func described(r reconcile.Result) string {
	switch r.Outcome {
	case reconcile.Recorded:
		return fmt.Sprintf("references that had moved without an event, recorded now: %d", r.Changes)
	case reconcile.Learned:
		return "compared for the first time"
	case reconcile.Busy:
		if r.Err != nil {
			return fmt.Sprintf("not compared, since it is unknown whether pushes are in flight: %v", r.Err)
		}
		return "not compared, since pushes are in flight; try again"
	case reconcile.Failed:
		return fmt.Sprintf("not compared: %v", r.Err)
	}
	return ""
}
