package projectrepo

import (
	"context"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
)

// JoinPool lets a fork of a public project and its source borrow what they share
// from a pool, which neither of them needs to be there for the other. Others have
// none, nor has a fork that is gone. It may be repeated.
func (s *Service) JoinPool(ctx context.Context, forkID int64) error {
	projects := project.New(s.db)
	fork, err := projects.ByID(ctx, forkID)
	if err != nil {
		return ignoreNotFound(err)
	}
	source, err := s.source(ctx, fork)
	if err != nil {
		return ignoreNotFound(err)
	}
	pool, err := projects.JoinPool(ctx, source.ID, fork.ID)
	if err != nil {
		return ignoreNotFound(err)
	}
	if err := s.gitaly.CreatePool(ctx, pool, source); err != nil {
		return err
	}
	for _, p := range []project.Project{source, fork} {
		if err := s.gitaly.LinkPool(ctx, pool, p); err != nil {
			return err
		}
	}
	return nil
}

// leavePool ends the membership of a project whose repository is gone, and removes
// a pool that has no other member.
func (s *Service) leavePool(ctx context.Context, id int64) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		last, err := project.LeavePool(ctx, tx, id)
		if err != nil || last == nil {
			return err
		}
		return s.gitaly.RemovePool(ctx, *last) // the row comes back if this fails
	})
	if errs.KindOf(err) != errs.Internal {
		return err
	}
	return postgres.Error(err, "object pool")
}
