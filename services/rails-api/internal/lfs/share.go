package lfs

import (
	"context"

	"gitsplit/services/rails-api/internal/postgres"
)

// Share gives a project those of the objects that another one has, all of them for
// nil. Whether it may have them is the caller's to know.
func (s *Store) Share(ctx context.Context, from, to int64, oids []string) error {
	// The lock keeps whoever removes objects away until the link is there. What is linked
	// already is not looked at once more by them, unlike what Link changes.
	const share = `
		WITH shared AS (
			SELECT o.id FROM lfs_objects o JOIN lfs_objects_projects p ON p.object_id = o.id
			WHERE p.project_id = $1 AND o.state = 'stored' AND ($3::text[] IS NULL OR o.oid = ANY ($3)) FOR SHARE OF o
		)
		INSERT INTO lfs_objects_projects (project_id, object_id) SELECT $2, id FROM shared ON CONFLICT DO NOTHING`
	_, err := s.db.Exec(ctx, share, from, to, oids)
	return postgres.Error(err, what)
}
