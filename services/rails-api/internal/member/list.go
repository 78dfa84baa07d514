package member

import (
	"context"

	"gitsplit/services/rails-api/internal/postgres"
)

// Filter selects members for List.
type Filter struct {
	Query     string  // part of the name or user name
	UserIDs   []int64 // only these users
	Inherited bool    // those of the groups above too, each user once with the highest level
	Page      postgres.Page
}

// reach holds the namespaces and projects whose members count for a source:
// itself, and with $3 the groups above it.
const (
	reach = `
		m.project_id = $2
		OR m.namespace_id = $1
		OR ($3 AND m.namespace_id IN (SELECT unnest(n.traversal_ids) FROM namespaces n
			WHERE n.id = $1 OR n.id = (SELECT p.namespace_id FROM projects p WHERE p.id = $2)))`
	listFrom = `
		FROM (SELECT DISTINCT ON (m.user_id) m.* FROM members m
			WHERE (` + reach + `) AND (m.expires_at IS NULL OR m.expires_at > current_date)
			ORDER BY m.user_id, m.access_level DESC, m.id) m
		JOIN users u ON u.id = m.user_id
		WHERE ($4 = '' OR strpos(lower(u.username), lower($4)) > 0 OR strpos(lower(u.name), lower($4)) > 0)
		AND (cardinality($5::bigint[]) = 0 OR u.id = ANY ($5))`
)

// List returns a page of members, by user name, and how many there are in all.
func (s *Store) List(ctx context.Context, src Source, f Filter) ([]Member, int, error) {
	l := postgres.Listing[Member]{What: what, Columns: columns, From: listFrom, OrderBy: "lower(u.username), u.id", Scan: scan}
	return l.Page(ctx, s.db, f.Page, src.NamespaceID, src.ProjectID, f.Inherited, f.Query, append([]int64{}, f.UserIDs...))
}

// GetInherited returns the membership that counts for a user: of the source or of
// a group above it, whichever has the highest level.
func (s *Store) GetInherited(ctx context.Context, src Source, userID int64) (Member, error) {
	const query = `SELECT ` + columns + listFrom
	list, err := postgres.All(ctx, s.db, what, scan, query, src.NamespaceID, src.ProjectID, true, "", []int64{userID})
	if err != nil {
		return Member{}, err
	}
	for _, m := range list {
		return m, nil
	}
	return Member{}, postgres.NotFound(what)
}
