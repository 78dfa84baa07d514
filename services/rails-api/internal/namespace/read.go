package namespace

import (
	"context"

	"gitsplit/services/rails-api/internal/postgres"
)

// ByID returns one namespace of either kind.
func (s *Store) ByID(ctx context.Context, id int64) (Namespace, error) {
	const query = "SELECT " + columns + " FROM namespaces n JOIN routes r ON r.namespace_id = n.id WHERE n.id = $1"
	return postgres.One(ctx, s.db, what, scan, query, id)
}

// ByPath returns the namespace with a full path, which may be a former one. moved
// says that the current path is spelled differently.
func (s *Store) ByPath(ctx context.Context, path string) (n Namespace, moved bool, err error) {
	const query = `
		SELECT ` + columns + `
		FROM (SELECT namespace_id, 0 AS rank FROM routes WHERE lower(path) = lower($1)
			UNION ALL SELECT namespace_id, 1 FROM redirect_routes WHERE lower(path) = lower($1)) found
		JOIN namespaces n ON n.id = found.namespace_id JOIN routes r ON r.namespace_id = n.id
		ORDER BY found.rank LIMIT 1`
	n, err = postgres.One(ctx, s.db, what, scan, query, path)
	return n, n.FullPath != path, err
}

// Filter selects namespaces for List: those the viewer may see, and among them
// those that every field that is set admits.
type Filter struct {
	Kind        Kind
	ViewerID    int64 // 0: nobody signed in
	ViewerAdmin bool
	Owned       bool // the viewer is their owner
	MinLevel    int  // the viewer has at least this access level, inherited or not
	TopLevel    bool
	ParentID    int64
	Search      string // part of the name or the path
	OrderBy     string // id, name or path; "" is name
	Asc         bool
	Page        postgres.Page
}

// visibleFrom numbers its parameters as Filter.args does. The member sub-query is
// the viewer's access level, as package access computes it for one namespace.
const visibleFrom = `
	FROM namespaces n JOIN routes r ON r.namespace_id = n.id
	LEFT JOIN LATERAL (SELECT max(m.access_level) AS level FROM members m
		WHERE m.user_id = $2 AND m.namespace_id = ANY (n.traversal_ids) AND (m.expires_at IS NULL OR m.expires_at > current_date)) mine ON true
	WHERE ($1 = '' OR n.kind = $1)
	AND (n.kind = 'user' OR n.visibility = 'public' OR (n.visibility = 'internal' AND $2 <> 0) OR $3 OR mine.level >= 5
		OR EXISTS (SELECT 1 FROM projects p JOIN members pm ON pm.project_id = p.id JOIN namespaces pn ON pn.id = p.namespace_id
			WHERE pm.user_id = $2 AND pm.access_level >= 10 AND (pm.expires_at IS NULL OR pm.expires_at > current_date)
			AND p.state = 'ready' AND n.id = ANY (pn.traversal_ids)))
	AND (NOT $4 OR n.owner_id = $2 OR mine.level >= 50)
	AND ($5 = 0 OR n.owner_id = $2 OR mine.level >= $5)
	AND (NOT $6 OR n.parent_id IS NULL)
	AND ($7::bigint = 0 OR n.parent_id = $7)
	AND ($8 = '' OR strpos(lower(n.name), lower($8)) > 0 OR strpos(lower(r.path), lower($8)) > 0)`

// List returns a page of namespaces and how many there are in all.
func (s *Store) List(ctx context.Context, f Filter) ([]Namespace, int, error) {
	column, ok := map[string]string{"id": "n.id", "name": "lower(n.name)", "path": "lower(r.path)", "": "lower(n.name)"}[f.OrderBy]
	if !ok {
		return nil, 0, postgres.Invalid("order_by", "does not have a valid value")
	}
	dir := postgres.Direction(f.Asc)
	l := postgres.Listing[Namespace]{What: what, Columns: columns, From: visibleFrom, OrderBy: column + " " + dir + ", n.id " + dir, Scan: scan}
	return l.Page(ctx, s.db, f.Page, f.Kind, f.ViewerID, f.ViewerAdmin, f.Owned, f.MinLevel, f.TopLevel, f.ParentID, f.Search)
}
