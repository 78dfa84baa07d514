package project

import (
	"context"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
)

// MovedPath returns where the repository of a project lies after a move: a path that no other move has, and none had, so that whoever
// still means the copy before never touches this one.
func MovedPath(id, move int64) string {
	return strings.TrimSuffix(HashedPath(id), ".git") + "-" + strconv.FormatInt(move, 10) + ".git"
}

// RestoredPath returns the n-th of the places where a restore may put the repository of a project. Neither new projects nor moves use them,
// so that what a broken restore leaves is never taken for theirs.
func RestoredPath(id int64, n int) string {
	return strings.TrimSuffix(HashedPath(id), ".git") + "-restored-" + strconv.Itoa(n) + ".git"
}

// Left reports whether a path is one at which the repository does not lie any more.
func (p Project) Left(path string) bool {
	return path != "" && path != p.DiskPath && strings.HasPrefix(path, strings.TrimSuffix(HashedPath(p.ID), ".git"))
}

// UncountedFor is how long a push that was not counted may go on: as long as a count is kept (wire/internal-api.md §7).
const UncountedFor = 600 * time.Second

// Admit decides at the last moment whether a push may change references, once it is counted as in flight, or could not be: path is where
// it writes, "" when its server does not say. It is false while the repository is read-only, and when the repository has moved away.
// Either a move sees the push, or the push sees the move: the row lock waits for the end of a switch that has begun.
func (s *Store) Admit(ctx context.Context, id int64, path string, counted bool) (bool, error) {
	const query = `SELECT disk_path, repository_read_only OR coalesce(read_only_until > clock_timestamp(), false)
		FROM projects WHERE id = $1 AND state = 'ready' FOR SHARE`
	const note = `UPDATE projects SET uncounted_push_at = clock_timestamp() WHERE id = $1 AND state = 'ready'
		RETURNING disk_path, repository_read_only OR coalesce(read_only_until > clock_timestamp(), false)`
	sql := query
	if !counted {
		sql = note
	}
	var at string
	var readOnly bool
	if err := s.db.QueryRow(ctx, sql, id).Scan(&at, &readOnly); err != nil {
		return false, postgres.Error(err, what)
	}
	return !readOnly && (path == "" || path == at), nil
}

// HoldPushes makes the repository read-only for a time, unless it moved from where p has it (errs.NotFound). The hold ends by itself at
// until, which also names it. It is errs.Conflict while a push may be in flight that was not counted.
func (s *Store) HoldPushes(ctx context.Context, p Project, window time.Duration) (until time.Time, err error) {
	const hold = `UPDATE projects SET read_only_until = clock_timestamp() + $4 WHERE id = $1 AND storage = $2 AND disk_path = $3 AND state = 'ready'
		RETURNING read_only_until, coalesce(uncounted_push_at > clock_timestamp() - $5::interval, false)`
	var uncounted bool
	err = s.db.QueryRow(ctx, hold, p.ID, p.Storage, p.DiskPath, window, UncountedFor).Scan(&until, &uncounted)
	if err == nil && uncounted {
		return until, errs.New(errs.Conflict, "a push began while Redis did not answer; it may go on for ten minutes")
	}
	return until, postgres.Error(err, what)
}

// ReleasePushes ends a hold, if it is still the one.
func (s *Store) ReleasePushes(ctx context.Context, id int64, until time.Time) error {
	const release = "UPDATE projects SET read_only_until = NULL WHERE id = $1 AND read_only_until = $2"
	_, err := s.db.Exec(ctx, release, id, until)
	return postgres.Error(err, what)
}

// Relocate says where the repository lies from now on and ends the hold, which must still be the one and must not have ended: else it is
// errs.NotFound, and nothing changes.
func (s *Store) Relocate(ctx context.Context, p Project, storage, path string, until time.Time) error {
	const change = `UPDATE projects SET storage = $4, disk_path = $5, read_only_until = NULL
		WHERE id = $1 AND storage = $2 AND disk_path = $3 AND state = 'ready' AND read_only_until = $6 AND $6 > clock_timestamp()`
	return postgres.Exec(ctx, s.db, what, change, p.ID, p.Storage, p.DiskPath, storage, path, until)
}

// Older reports whether a project has been there for longer than an age.
func (s *Store) Older(ctx context.Context, id int64, age time.Duration) (bool, error) {
	var older bool
	err := s.db.QueryRow(ctx, "SELECT created_at < clock_timestamp() - $2::interval FROM projects WHERE id = $1", id, age).Scan(&older)
	return older, postgres.Error(err, what)
}

// LiesAt reports whether any project's repository, half made and half removed ones too, lies at a path.
func (s *Store) LiesAt(ctx context.Context, storage, path string) (bool, error) {
	var there bool
	err := s.db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM projects WHERE storage = $1 AND disk_path = $2)", storage, path).Scan(&there)
	return there, postgres.Error(err, what)
}
