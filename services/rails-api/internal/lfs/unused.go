package lfs

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
)

const linked = "EXISTS (SELECT 1 FROM lfs_objects_projects p WHERE p.object_id = o.id)"

// Condemn sets aside the objects that no project has had since before, and those
// that were being stored then and never were: nobody sees them any more. What no
// project has is noted with the time now, for a later call.
func (s *Store) Condemn(ctx context.Context, now, before time.Time) error {
	const (
		note = `
			UPDATE lfs_objects o SET unlinked_since = CASE WHEN ` + linked + ` THEN NULL ELSE $1::timestamptz END
			WHERE state = 'stored' AND (unlinked_since IS NOT NULL) = ` + linked
		// An object that is linked at this moment has its row changed, and then unlinked_since is looked at again.
		condemn = `
			UPDATE lfs_objects o SET state = 'removing'
			WHERE (state = 'stored' AND unlinked_since < $1 AND NOT ` + linked + `) OR (state = 'storing' AND created_at < $1)`
	)
	if _, err := s.db.Exec(ctx, note, now); err != nil {
		return postgres.Error(err, what)
	}
	_, err := s.db.Exec(ctx, condemn, before)
	return postgres.Error(err, what)
}

// Condemned returns objects whose files are to be removed, at most limit of them.
func (s *Store) Condemned(ctx context.Context, limit int) ([]Object, error) {
	const query = "SELECT id, oid, size FROM lfs_objects WHERE state = 'removing' ORDER BY id LIMIT $1"
	return postgres.All(ctx, s.db, what, pgx.RowToStructByPos[Object], query, limit)
}

// Forget removes the row of a condemned object, once its file is gone.
func (s *Store) Forget(ctx context.Context, id int64) error {
	_, err := s.db.Exec(ctx, "DELETE FROM lfs_objects WHERE id = $1 AND state = 'removing'", id)
	return postgres.Error(err, what)
}
