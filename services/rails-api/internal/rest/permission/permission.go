// Package permission reads what one user has on each project of a page, for the permissions that the REST API shows beside a project. It
// is for display only: who may do what is decided by the access package.
package permission

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/rest/entity"
)

// notifyGlobal is GitLab's notification level "as set globally".
const notifyGlobal = 3

// Levels are the access levels of one user, by project.
type Levels map[int64]level

type level struct {
	project, group int
}

// Project returns the access of a direct membership, nil when there is none.
func (l Levels) Project(id int64) *entity.Access { return shape(l[id].project) }

// Group returns the access through the groups above the project, nil when there is none.
func (l Levels) Group(id int64) *entity.Access { return shape(l[id].group) }

// Highest returns the level that counts, 0 when there is none.
func (l Levels) Highest(id int64) int { return max(l[id].project, l[id].group) }

func shape(n int) *entity.Access {
	if n == 0 {
		return nil
	}
	return &entity.Access{AccessLevel: n, NotificationLevel: notifyGlobal}
}

const readLevels = `
SELECT p.id,
	coalesce(max(m.access_level) FILTER (WHERE m.project_id IS NOT NULL), 0),
	coalesce(max(m.access_level) FILTER (WHERE m.namespace_id IS NOT NULL), 0)
FROM projects p
JOIN namespaces n ON n.id = p.namespace_id
JOIN members m ON m.user_id = $1 AND (m.project_id = p.id OR m.namespace_id = ANY (n.traversal_ids))
WHERE p.id = ANY ($2) AND (m.expires_at IS NULL OR m.expires_at > $3::date)
GROUP BY p.id`

// Read returns the levels of a user on the projects, in one query. A membership that has expired does not count.
func Read(ctx context.Context, db postgres.DBTX, userID int64, projects []int64, now time.Time) (Levels, error) {
	levels := make(Levels, len(projects))
	if len(projects) == 0 {
		return levels, nil
	}
	rows, err := db.Query(ctx, readLevels, userID, projects, now.UTC())
	if err != nil {
		return nil, postgres.Error(err, "member")
	}
	var id int64
	var l level
	_, err = pgx.ForEachRow(rows, []any{&id, &l.project, &l.group}, func() error {
		levels[id] = l
		return nil
	})
	return levels, postgres.Error(err, "member")
}
