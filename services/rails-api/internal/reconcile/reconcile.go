// Package reconcile compares where references should point by the recorded pushes
// with where they point in the repositories, and records what no push reported: a
// gitaly without a journal may die between the two, and people change repositories
// by hand. What is found makes an event and a job as a push does; a report that
// comes late does not make another (package event).
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/project"
)

// Gitaly lists references; gitaly.Client does.
type Gitaly interface {
	References(ctx context.Context, p project.Project, each func(name, oid string) error) error
}

// Pushes tells how many pushes are in flight; counter.Counter does.
type Pushes interface {
	InFlight(ctx context.Context, glRepository string) (int64, error)
}

// Deps is what a Reconciler works with; every field is needed.
type Deps struct {
	Projects *project.Store
	Events   *event.Recorder
	Gitaly   Gitaly
	Pushes   Pushes
	PerEvent int // most changes that one event records, and that are held in memory
	Log      *slog.Logger
	Now      func() time.Time
}

// Reconciler compares.
type Reconciler struct{ Deps }

// New returns a Reconciler.
func New(d Deps) *Reconciler { return &Reconciler{d} }

// Outcome says what came of comparing one project.
type Outcome string

// Outcomes.
const (
	Agrees   Outcome = "agrees"
	Learned  Outcome = "learned"  // the references were not known before
	Recorded Outcome = "recorded" // references had moved, and have an event now
	Differs  Outcome = "differs"  // references have moved, and their report may still come
	Busy     Outcome = "busy"     // pushes are in flight, or nobody knows whether there are
	Failed   Outcome = "failed"
)

// Result is one project and what came of it.
type Result struct {
	Project project.Project
	Outcome Outcome
	Changes int   // how many of its references made an event
	Err     error // of Busy, maybe, and of Failed
}

const (
	pageSize  = 1000 // references read at a time from the database
	maxEvents = 1000 // of one project in one comparison
)

// Project compares one project. What differs is recorded when it was seen for the
// first time at least grace ago, since the report of a push is worth more: it says
// who pushed.
func (r *Reconciler) Project(ctx context.Context, p project.Project, grace time.Duration) Result {
	result := Result{Project: p, Outcome: Agrees}
	for range maxEvents {
		more, err := r.step(ctx, &result, grace)
		switch {
		case errors.Is(err, event.ErrMoved):
			result.Outcome = Busy
		case err != nil:
			result.Outcome, result.Err = Failed, err
		}
		if err != nil || !more {
			break
		}
	}
	if result.Changes > 0 && result.Outcome != Failed {
		result.Outcome, result.Err = Recorded, nil
	}
	if result.Changes > 0 {
		r.Log.WarnContext(ctx, "references that no push reported", slog.String(logging.KeyProject, p.FullPath), slog.Int(logging.KeyChanges, result.Changes))
	}
	return result
}

// step records as many differences as one event takes.
func (r *Reconciler) step(ctx context.Context, result *Result, grace time.Duration) (more bool, err error) {
	p := result.Project
	if r.busy(ctx, result) {
		return false, nil
	}
	state, err := r.Events.State(ctx, p.ID)
	if err != nil {
		return false, err
	}
	changes, err := r.compare(ctx, p)
	if err != nil {
		return false, err
	}
	if len(changes) == 0 {
		if !state.Known {
			result.Outcome = Learned
		}
		return false, r.Events.Agree(ctx, p, state)
	}
	if state.Known && grace > 0 && (state.DifferSince == nil || r.Now().Sub(*state.DifferSince) < grace) {
		result.Outcome = Differs
		return false, r.Events.Differ(ctx, p.ID)
	}
	if r.busy(ctx, result) { // a push that has begun meanwhile may have made the difference
		return false, nil
	}
	n, err := r.Events.Repair(ctx, p, state, changes)
	result.Changes += n
	return true, err
}

// busy reports whether pushes are in flight. Without Redis nobody knows.
func (r *Reconciler) busy(ctx context.Context, result *Result) bool {
	n, err := r.Pushes.InFlight(ctx, result.Project.GLRepository())
	if n == 0 && err == nil {
		return false
	}
	result.Outcome, result.Err = Busy, err
	return true
}

// All compares all projects, one after the other, and tells each what came of it.
// The projects of a storage that does not answer are left out after the first.
func (r *Reconciler) All(ctx context.Context, grace time.Duration, each func(Result)) error {
	const page = 100
	down := map[string]error{}
	for after := int64(0); ; {
		list, err := r.Projects.After(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, p := range list {
			after = p.ID
			result := Result{Project: p, Outcome: Failed, Err: down[p.Storage]}
			if result.Err == nil {
				result = r.Project(ctx, p, grace)
			}
			if ctx.Err() != nil {
				return fmt.Errorf("compare references: %w", context.Cause(ctx))
			}
			if errs.KindOf(result.Err) == errs.Unavailable && result.Outcome == Failed {
				down[p.Storage] = result.Err
			}
			each(result)
		}
	}
}
