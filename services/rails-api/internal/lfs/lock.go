package lfs

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
)

// Lock keeps a path of a project for one user.
type Lock struct {
	ID        int64
	ProjectID int64
	UserID    int64
	Username  string
	UserName  string // as people read it
	Path      string
	CreatedAt time.Time
}

const (
	lockWhat    = "Lock"
	lockColumns = "l.id, l.project_id, l.user_id, u.username, u.name, l.path, l.created_at"
	lockFrom    = " FROM lfs_file_locks l JOIN users u ON u.id = l.user_id "
)

// LockFile locks a path; errs.Exists says that somebody has the lock already.
func (s *Store) LockFile(ctx context.Context, projectID, userID int64, path string) (Lock, error) {
	const insert = `
		WITH l AS (INSERT INTO lfs_file_locks (project_id, user_id, path) VALUES ($1, $2, $3) RETURNING *)
		SELECT ` + lockColumns + " FROM l JOIN users u ON u.id = l.user_id"
	return postgres.One(ctx, s.db, lockWhat, pgx.RowToStructByPos[Lock], insert, projectID, userID, path)
}

// LockOf returns a lock of the project.
func (s *Store) LockOf(ctx context.Context, projectID, id int64) (Lock, error) {
	return postgres.One(ctx, s.db, lockWhat, pgx.RowToStructByPos[Lock], "SELECT "+lockColumns+lockFrom+"WHERE l.project_id = $1 AND l.id = $2", projectID, id)
}

// MaxLocks is how many locks a list holds.
const MaxLocks = 10_000

// LockFilter selects locks of a project; every field that is set must match.
type LockFilter struct {
	Path string
	ID   int64
}

// Locks returns the project's locks in the order they were made, at most MaxLocks.
func (s *Store) Locks(ctx context.Context, projectID int64, f LockFilter) ([]Lock, error) {
	const query = "SELECT " + lockColumns + lockFrom + `
		WHERE l.project_id = $1 AND ($2 = '' OR l.path = $2) AND ($3::bigint = 0 OR l.id = $3) ORDER BY l.id LIMIT $4`
	return postgres.All(ctx, s.db, lockWhat, pgx.RowToStructByPos[Lock], query, projectID, f.Path, f.ID, MaxLocks)
}

// LockedByOthers reports whether somebody else than the user has any lock in the
// project. A userID of 0 is nobody.
func (s *Store) LockedByOthers(ctx context.Context, projectID, userID int64) (bool, error) {
	const query = "SELECT EXISTS (SELECT 1 FROM lfs_file_locks WHERE project_id = $1 AND user_id <> $2)"
	var locked bool
	err := s.db.QueryRow(ctx, query, projectID, userID).Scan(&locked)
	return locked, postgres.Error(err, lockWhat)
}

// LockAgainst returns the first lock on one of the paths that somebody else than
// the user has, and whether there is one. A userID of 0 is nobody.
func (s *Store) LockAgainst(ctx context.Context, projectID, userID int64, paths []string) (Lock, bool, error) {
	const query = "SELECT " + lockColumns + lockFrom + `
		WHERE l.project_id = $1 AND l.user_id <> $2 AND l.path = ANY ($3) ORDER BY l.id LIMIT 1`
	list, err := postgres.All(ctx, s.db, lockWhat, pgx.RowToStructByPos[Lock], query, projectID, userID, paths)
	if err != nil || len(list) == 0 {
		return Lock{}, false, err
	}
	return list[0], true, nil
}

// Unlock removes a lock of the project.
func (s *Store) Unlock(ctx context.Context, projectID, id int64) error {
	return postgres.Exec(ctx, s.db, lockWhat, "DELETE FROM lfs_file_locks WHERE project_id = $1 AND id = $2", projectID, id)
}
