package backup

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
)

// place is where a repository lies.
type place struct{ Storage, DiskPath string }

// findOld learns what the database in use has, if there is one and its repositories are to be replaced.
func (r *restore) findOld(ctx context.Context) error {
	r.taken = map[string]bool{}
	v, err := postgres.Present(ctx, r.DB)
	if err != nil || v.Own == 0 || r.options.Database {
		return err
	}
	if r.old, err = postgres.All(ctx, r.DB, "project", pgx.RowToStructByPos[place], "SELECT storage, disk_path FROM projects"); err != nil {
		return err
	}
	for _, p := range r.old {
		r.taken[p.DiskPath] = true
	}
	pools, err := postgres.One(ctx, r.DB, "object pool", pgx.RowTo[bool], "SELECT to_regclass('object_pools') IS NOT NULL")
	if err == nil && pools { // a database that an old version left may have none
		r.oldPools, err = postgres.All(ctx, r.DB, "object pool", pgx.RowToStructByPos[project.Pool], "SELECT id, storage, disk_path FROM object_pools")
	}
	return err
}

// leavePools says that no project borrows from a pool: every repository was made of a bundle, which has all objects.
func (r *restore) leavePools(ctx context.Context) error {
	if r.options.Database { // the repositories are those that were there
		return nil
	}
	return pgx.BeginFunc(ctx, r.load.Pool, func(tx pgx.Tx) error {
		for _, sql := range []string{"UPDATE projects SET pool_id = NULL WHERE pool_id IS NOT NULL", "DELETE FROM object_pools"} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("leave the object pools: %w", err)
			}
		}
		return nil
	})
}

// removeOld removes what no project has any more: pools after those that borrowed from them.
func (r *restore) removeOld(ctx context.Context) error {
	for _, p := range r.old {
		if err := r.Gitaly.Remove(ctx, p.Storage, p.DiskPath); err != nil {
			return fmt.Errorf("restored, but an old repository is left at %s: %w", p.DiskPath, err)
		}
	}
	for _, pool := range r.oldPools {
		if err := r.Gitaly.RemovePool(ctx, pool); err != nil {
			return fmt.Errorf("restored, but an old object pool is left at %s: %w", pool.DiskPath, err)
		}
	}
	return nil
}

// undo removes the repositories of a restore that failed. The next one would also do it, as far as it makes the same.
func (r *restore) undo(ctx context.Context) error {
	for _, p := range r.made {
		if err := r.Gitaly.Remove(ctx, p.Storage, p.DiskPath); err != nil {
			return fmt.Errorf("a repository that was restored for nothing is left at %s: %w", p.DiskPath, err)
		}
	}
	return nil
}
