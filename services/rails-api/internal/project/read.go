package project

import (
	"context"

	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/visibility"
)

// ByID returns one project.
func (s *Store) ByID(ctx context.Context, id int64) (Project, error) {
	const query = "SELECT " + Columns + " FROM projects p" + Joins + "WHERE p.id = $1 AND p.state = 'ready'"
	return postgres.One(ctx, s.db, what, scan, query, id)
}

// Found is the sub-query that leads from a path, the parameter $1, to a project
// id; a current path goes before a former one.
const Found = `(SELECT project_id, 0 AS rank FROM routes WHERE lower(path) = lower($1)
	UNION ALL SELECT project_id, 1 FROM redirect_routes WHERE lower(path) = lower($1))`

// ByPath returns the project with a full path, which may be a former one. moved
// says that the current path is spelled differently.
func (s *Store) ByPath(ctx context.Context, path string) (p Project, moved bool, err error) {
	const query = "SELECT " + Columns + " FROM " + Found + " found JOIN projects p ON p.id = found.project_id" + Joins + `
		WHERE p.state = 'ready' ORDER BY found.rank LIMIT 1`
	p, err = postgres.One(ctx, s.db, what, scan, query, path)
	return p, p.FullPath != path, err
}

// After returns the projects behind an id, in the order of their ids, at most limit of them.
func (s *Store) After(ctx context.Context, id int64, limit int) ([]Project, error) {
	const query = "SELECT " + Columns + " FROM projects p" + Joins + `
		WHERE p.id > $1 AND p.state = 'ready' AND p.import_status IN ('none', 'finished') ORDER BY p.id LIMIT $2`
	return postgres.All(ctx, s.db, what, scan, query, id, limit)
}

// Filter selects projects for List: those the viewer may see, and among them
// those that every field that is set admits.
type Filter struct {
	ViewerID    int64 // 0: nobody signed in
	ViewerAdmin bool
	Owned       bool  // the viewer is their owner
	Membership  bool  // the viewer is a member
	MinLevel    int   // the viewer has at least this access level
	NamespaceID int64 // they stand in this namespace
	Subgroups   bool  // … or below it
	OwnerID     int64 // they stand in the personal namespace of this user
	Archived    *bool
	Visibility  visibility.Level
	Search      string  // part of the name, the path or the full path
	ForksOf     int64   // they are forks of this project
	IDs         []int64 // they are some of these; nil: any
	IDAfter     int64
	IDBefore    int64  // 0: no bound
	OrderBy     string // id, name, path, created_at, updated_at or last_activity_at; "" is created_at
	Asc         bool
	Page        postgres.Page
}

// visibleFrom numbers its parameters as List does. mine is the viewer's access
// level by membership, as package access computes it for one project.
const visibleFrom = `
	FROM projects p` + Joins + `
	LEFT JOIN LATERAL (SELECT CASE WHEN n.owner_id = $1 THEN 50 ELSE max(m.access_level) END AS level FROM members m
		WHERE m.user_id = $1 AND (m.project_id = p.id OR m.namespace_id = ANY (n.traversal_ids))
		AND (m.expires_at IS NULL OR m.expires_at > current_date)) mine ON true
	WHERE p.state = 'ready'
	AND (p.visibility = 'public' OR (p.visibility = 'internal' AND $1::bigint <> 0) OR $2 OR mine.level >= 10)
	AND (NOT $3 OR mine.level >= 50)
	AND ($4 = 0 OR mine.level >= $4)
	AND ($5::bigint = 0 OR n.id = $5 OR ($6 AND $5 = ANY (n.traversal_ids)))
	AND ($7::bigint = 0 OR n.owner_id = $7)
	AND ($8::boolean IS NULL OR p.archived = $8)
	AND ($9 = '' OR p.visibility = $9)
	AND ($10 = '' OR strpos(lower(p.name), lower($10)) > 0 OR strpos(lower(r.path), lower($10)) > 0)
	AND p.id > $11 AND ($12::bigint = 0 OR p.id < $12)
	AND ($13::bigint = 0 OR p.forked_from_id = $13) AND ($14::bigint[] IS NULL OR p.id = ANY ($14))`

// List returns a page of projects and how many there are in all.
func (s *Store) List(ctx context.Context, f Filter) ([]Project, int, error) {
	column, ok := map[string]string{
		"id": "p.id", "name": "lower(p.name)", "path": "lower(p.path)", "created_at": "p.created_at", "": "p.created_at",
		"updated_at": "p.updated_at", "last_activity_at": "p.last_activity_at",
	}[f.OrderBy]
	if !ok {
		return nil, 0, postgres.Invalid("order_by", "does not have a valid value")
	}
	level := f.MinLevel
	if f.Membership {
		level = max(level, 5)
	}
	dir := postgres.Direction(f.Asc)
	l := postgres.Listing[Project]{What: what, Columns: Columns, From: visibleFrom, OrderBy: column + " " + dir + ", p.id " + dir, Scan: scan}
	return l.Page(ctx, s.db, f.Page, f.ViewerID, f.ViewerAdmin, f.Owned, level, f.NamespaceID, f.Subgroups, f.OwnerID,
		f.Archived, f.Visibility, f.Search, f.IDAfter, f.IDBefore, f.ForksOf, f.IDs)
}

// Personal reports whether the project stands in a user's own namespace.
func (p Project) Personal() bool { return p.Namespace.Kind == namespace.User }
