package project

import (
	"context"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
)

// Pool is a place of objects that several repositories borrow from.
type Pool struct {
	ID                int64
	Storage, DiskPath string
}

const pool = "object pool"

// JoinPool makes a fork and its source members of a pool, a new one if the source is
// in none. It is errs.NotFound when one of them is gone, and when the source is not
// public: a member can read all of a pool, so nothing else may come into it. Nor does
// a project join that has moved away from its pool's storage, or that is a member of
// another pool: it borrows from that one, which must stay.
func (s *Store) JoinPool(ctx context.Context, sourceID, forkID int64) (Pool, error) {
	const (
		lock = `SELECT p.storage, coalesce(p.pool_id, 0) FROM projects p
			JOIN projects f ON f.id = $2 AND f.state = 'ready' AND f.storage = p.storage AND f.forked_from_id = p.id
				AND (f.pool_id IS NULL OR f.pool_id = p.pool_id)
			WHERE p.id = $1 AND p.state = 'ready' AND p.visibility = 'public' AND NOT p.empty_repo
				AND (p.pool_id IS NULL OR EXISTS (SELECT 1 FROM object_pools o WHERE o.id = p.pool_id AND o.storage = p.storage)) FOR NO KEY UPDATE OF p, f`
		insert = "INSERT INTO object_pools (id, storage, disk_path) VALUES ($1, $2, $3)"
		join   = "UPDATE projects SET pool_id = $1 WHERE id = ANY ($2)"
		query  = "SELECT id, storage, disk_path FROM object_pools WHERE id = $1"
	)
	var found Pool
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, lock, sourceID, forkID).Scan(&found.Storage, &found.ID); err != nil {
			return postgres.Error(err, pool)
		}
		if found.ID == 0 {
			if err := tx.QueryRow(ctx, "SELECT nextval(pg_get_serial_sequence('object_pools', 'id'))").Scan(&found.ID); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, insert, found.ID, found.Storage, hashed("@pools", found.ID)); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, join, found.ID, []int64{sourceID, forkID}); err != nil {
			return err
		}
		var err error
		found, err = postgres.One(ctx, tx, pool, pgx.RowToStructByPos[Pool], query, found.ID)
		return err
	})
	return found, postgres.Error(err, pool)
}

// LeavePool ends the membership of a project whose repository is gone. It returns
// the pool, whose row is gone too, if that was the last; within the transaction of
// the caller nobody can join it any more.
func LeavePool(ctx context.Context, tx pgx.Tx, id int64) (last *Pool, err error) {
	const (
		lock   = "SELECT o.id, o.storage, o.disk_path FROM object_pools o JOIN projects p ON p.pool_id = o.id WHERE p.id = $1 FOR UPDATE OF o"
		leave  = "UPDATE projects SET pool_id = NULL WHERE id = $1"
		remove = "DELETE FROM object_pools o WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.pool_id = o.id)"
	)
	found, err := postgres.One(ctx, tx, pool, pgx.RowToStructByPos[Pool], lock, id)
	if errs.KindOf(err) == errs.NotFound {
		return nil, nil //nolint:nilnil // none was left
	}
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, leave, id); err != nil {
		return nil, postgres.Error(err, pool)
	}
	tag, err := tx.Exec(ctx, remove, found.ID)
	if err != nil || tag.RowsAffected() == 0 {
		return nil, postgres.Error(err, pool)
	}
	return &found, nil
}
