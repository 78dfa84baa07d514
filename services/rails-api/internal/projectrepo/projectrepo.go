// Package projectrepo makes and removes projects together with their
// repositories, which live in another service. A row is visible only while its
// repository exists: it is reserved first, the repository is made, then the row is
// published; and the other way round at the end. Whatever dies in between, a job
// that was inserted with the row finishes or undoes the rest.
package projectrepo

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/gitstorage"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
)

// Gitaly is what this package asks of the storage servers.
type Gitaly interface {
	Choose(weights map[string]int) string
	Create(ctx context.Context, p project.Project) error
	Remove(ctx context.Context, storage, path string) error
	Fork(ctx context.Context, p, source project.Project, branch string) error
	CreatePool(ctx context.Context, pool project.Pool, origin project.Project) error
	LinkPool(ctx context.Context, pool project.Pool, p project.Project) error
	RemovePool(ctx context.Context, pool project.Pool) error
}

// Jobs inserts jobs; River's client does.
type Jobs interface {
	InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
}

// Service makes and removes projects.
type Service struct {
	db     postgres.DBTX
	gitaly Gitaly
	jobs   Jobs
	log    *slog.Logger
	now    func() time.Time
}

// New returns a Service.
func New(db postgres.DBTX, g Gitaly, j Jobs, log *slog.Logger, now func() time.Time) *Service {
	return &Service{db: db, gitaly: g, jobs: j, log: log, now: now}
}

// undoAfter is how long a project may take to be made.
const undoAfter = 2 * time.Minute

// Create makes a project and its empty repository. It is errs.Invalid for a bad
// field, errs.Exists for a path in use, errs.Unavailable when the storage server
// does not answer; then nothing is left.
func (s *Service) Create(ctx context.Context, in project.NewProject) (project.Project, error) {
	var p project.Project
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		weights, err := gitstorage.Weights(ctx, tx)
		if err != nil {
			return err
		}
		if p, err = project.New(tx).Reserve(ctx, in, s.gitaly.Choose(weights)); err != nil {
			return err
		}
		_, err = s.jobs.InsertTx(ctx, tx, jobs.ProjectCleanup{ProjectID: p.ID}, &river.InsertOpts{ScheduledAt: s.now().Add(undoAfter)})
		return err
	})
	if err != nil {
		return p, postgres.Error(err, "project")
	}
	if err := s.makeRepository(ctx, p); err != nil {
		s.undo(ctx, p.ID, err)
		return p, err
	}
	return project.New(s.db).ByID(ctx, p.ID)
}

func (s *Service) makeRepository(ctx context.Context, p project.Project) error {
	err := s.gitaly.Create(ctx, p)
	if err != nil && errs.KindOf(err) != errs.Exists { // a lost answer: the id is new, so it is ours
		return err
	}
	return project.New(s.db).Publish(ctx, p)
}

// undo withdraws a project that could not be made, even for a caller that is gone.
func (s *Service) undo(ctx context.Context, id int64, cause error) {
	const limit = 15 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := s.Cleanup(ctx, id); err != nil {
		s.log.WarnContext(ctx, "project half made, left to the cleanup job",
			slog.Int64("project_id", id), slog.Any("error", errors.Join(cause, err)))
	}
}

// Delete removes a project: at once from sight, its repository by a job.
func (s *Service) Delete(ctx context.Context, p project.Project) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if err := project.New(tx).Withdraw(ctx, p.ID); err != nil {
			return err
		}
		_, err := s.jobs.InsertTx(ctx, tx, jobs.ProjectCleanup{ProjectID: p.ID}, nil)
		return err
	})
	return postgres.Error(err, "project")
}

// Cleanup removes what is left of a project that is half made or withdrawn. It
// does nothing to a visible one and may be repeated.
func (s *Service) Cleanup(ctx context.Context, id int64) error {
	projects := project.New(s.db)
	rest, err := projects.RemainsOf(ctx, id)
	if errs.KindOf(err) == errs.NotFound || (err == nil && rest.State == "ready") {
		return nil
	}
	if err != nil {
		return err
	}
	if rest.State == "creating" {
		if err := projects.Abandon(ctx, id); err != nil {
			return ignoreNotFound(err) // published meanwhile
		}
	}
	if err := s.gitaly.Remove(ctx, rest.Storage, rest.DiskPath); err != nil {
		return err
	}
	if err := s.leavePool(ctx, id); err != nil {
		return err
	}
	return ignoreNotFound(projects.Forget(ctx, id))
}

func ignoreNotFound(err error) error {
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	return err
}
