package projectrepo

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/visibility"
)

// A fork is made at once if that takes no longer than patience, else by its job,
// which begins when the first attempt has ended for sure.
const (
	patience  = 5 * time.Second
	secondTry = 15 * time.Second
)

// Fork makes a project from another one, on the same storage. It is there at once;
// its repository appears as a whole, maybe later (Project.Import). in is what
// Create takes; branch is the only one to take, "" is all branches and tags.
// The errors are those of Create, and errs.NotFound for a source that is gone.
func (s *Service) Fork(ctx context.Context, source project.Project, in project.NewProject, branch string) (project.Project, error) {
	var job jobs.Fork
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		projects := project.New(tx)
		p, err := projects.Reserve(ctx, in, source.Storage)
		if err != nil {
			return err
		}
		if err := projects.MarkFork(ctx, p.ID, source.ID); err != nil {
			return err
		}
		if err := projects.Publish(ctx, p); err != nil {
			return err
		}
		if !source.EmptyRepo { // as after a first push
			if _, err := protection.New(tx).Create(ctx, access.DefaultRule(p.ID, p.DefaultBranch)); err != nil {
				return err
			}
		}
		job = jobs.Fork{ProjectID: p.ID, Storage: p.Storage, Branch: branch}
		_, err = s.jobs.InsertTx(ctx, tx, job, &river.InsertOpts{ScheduledAt: s.now().Add(secondTry)})
		return err
	})
	if err != nil {
		return project.Project{}, postgres.Error(err, "project")
	}
	s.tryImport(ctx, job)
	return project.New(s.db).ByID(ctx, job.ProjectID)
}

func (s *Service) tryImport(ctx context.Context, job jobs.Fork) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.Import(ctx, job); err != nil {
		s.log.InfoContext(ctx, "fork left to its job", slog.Int64("project_id", job.ProjectID), slog.Any("error", err))
	}
}

// Import gives a fork its repository and its large files. It does nothing to one
// that has them or has failed, and may be repeated. What is made for a project that
// is gone is removed.
func (s *Service) Import(ctx context.Context, job jobs.Fork) error {
	fork, err := project.New(s.db).ByID(ctx, job.ProjectID)
	if errs.KindOf(err) == errs.NotFound {
		return s.gitaly.Remove(ctx, job.Storage, project.HashedPath(job.ProjectID))
	}
	if err != nil || fork.Import != project.ImportScheduled {
		return err
	}
	source, err := s.source(ctx, fork)
	if errs.KindOf(err) == errs.NotFound {
		return s.GiveUp(ctx, fork.ID, "The source project is gone.")
	}
	if err != nil {
		return err
	}
	if !fork.Visibility.Within(source.Visibility) { // the source was made less visible since
		return s.GiveUp(ctx, fork.ID, "The source project is less visible by now.")
	}
	// Twice: with the repository the files are there, and also those of a push that came in between.
	if err := lfs.New(s.db).Share(ctx, source.ID, fork.ID, nil); err != nil {
		return err
	}
	if err := s.copyRepository(ctx, fork, source, job.Branch); err != nil {
		return err
	}
	err = s.finish(ctx, fork, source)
	if errs.KindOf(err) == errs.NotFound { // it was deleted, maybe before there was a repository to remove
		return s.gitaly.Remove(ctx, fork.Storage, fork.DiskPath)
	}
	return err
}

func (s *Service) source(ctx context.Context, fork project.Project) (project.Project, error) {
	if fork.ForkedFromID == nil {
		return project.Project{}, postgres.NotFound("project")
	}
	return project.New(s.db).ByID(ctx, *fork.ForkedFromID)
}

func (s *Service) copyRepository(ctx context.Context, fork, source project.Project, branch string) error {
	var err error
	if fork.EmptyRepo {
		err = s.gitaly.Create(ctx, fork)
	} else {
		err = s.gitaly.Fork(ctx, fork, source, branch)
	}
	if errs.KindOf(err) == errs.Exists { // by an attempt whose answer was lost: the id is new, so it is ours
		return nil
	}
	return err
}

func (s *Service) finish(ctx context.Context, fork, source project.Project) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if err := project.New(tx).EndImport(ctx, fork.ID, project.ImportFinished, ""); err != nil {
			return err
		}
		if err := hide(ctx, tx, fork, source.ID); err != nil {
			return err
		}
		if err := lfs.New(tx).Share(ctx, source.ID, fork.ID, nil); err != nil {
			return err
		}
		if source.Visibility != visibility.Public || fork.EmptyRepo {
			return nil
		}
		_, err := s.jobs.InsertTx(ctx, tx, jobs.JoinPool{ProjectID: fork.ID}, nil)
		return err
	})
	return postgres.Error(err, "project")
}

// hide makes a fork as closed as its source, if that was closed while it was copied: what
// was copied may have been pushed after that.
func hide(ctx context.Context, tx pgx.Tx, fork project.Project, sourceID int64) error {
	source, err := project.New(tx).ByID(ctx, sourceID)
	if err != nil || fork.Visibility.Within(source.Visibility) {
		return ignoreNotFound(err)
	}
	_, err = tx.Exec(ctx, "UPDATE projects SET visibility = $2 WHERE id = $1", fork.ID, source.Visibility)
	return err
}

// GiveUp ends an import that did not come to its end, with a sentence for people.
func (s *Service) GiveUp(ctx context.Context, id int64, reason string) error {
	return ignoreNotFound(project.New(s.db).EndImport(ctx, id, project.ImportFailed, reason))
}
