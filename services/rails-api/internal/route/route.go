// Package route keeps the full paths of namespaces and projects, and the former
// paths that still lead to them. One table holds all current paths, so that one
// unique index, which ignores case, keeps a group and a project apart.
package route

import (
	"context"

	"gitsplit/services/rails-api/internal/postgres"
)

// Rename gives a namespace or project, found by its current full path, a new full
// path and full name. Everything below it follows, and the old paths become
// redirects. Run it in a transaction.
func Rename(ctx context.Context, db postgres.DBTX, from, to Route) error {
	if err := keepRedirects(ctx, db, from.Path, to.Path); err != nil {
		return err
	}
	const move = `
		UPDATE routes SET path = $2 || substr(path, length($1) + 1), name = $4 || substr(name, length($3) + 1)
		WHERE lower(path) = lower($1) OR lower(path) ^@ (lower($1) || '/')`
	if err := postgres.Exec(ctx, db, "route", move, from.Path, to.Path, from.Name, to.Name); err != nil {
		return err
	}
	return DropShadowed(ctx, db, to.Path)
}

// Route is the full path and the full name of a namespace or a project.
type Route struct {
	Path string // team/tools
	Name string // Team / Tools
}

// Below returns the route of something that stands below r; the zero Route is the root.
func (r Route) Below(path, name string) Route {
	if r.Path == "" {
		return Route{Path: path, Name: name}
	}
	return Route{Path: r.Path + "/" + path, Name: r.Name + " / " + name}
}

func keepRedirects(ctx context.Context, db postgres.DBTX, from, to string) error {
	const keep = `
		INSERT INTO redirect_routes (path, namespace_id, project_id)
		SELECT path, namespace_id, project_id FROM routes
		WHERE lower($1) <> lower($2) AND (lower(path) = lower($1) OR lower(path) ^@ (lower($1) || '/'))
		ON CONFLICT (lower(path)) DO UPDATE SET namespace_id = excluded.namespace_id, project_id = excluded.project_id`
	_, err := db.Exec(ctx, keep, from, to)
	return postgres.Error(err, "route")
}

// DropShadowed removes the redirects that current paths at or below path hide, so
// that they do not come back to life when those are gone.
func DropShadowed(ctx context.Context, db postgres.DBTX, path string) error {
	const drop = `
		DELETE FROM redirect_routes d USING routes r
		WHERE lower(d.path) = lower(r.path) AND (lower(r.path) = lower($1) OR lower(r.path) ^@ (lower($1) || '/'))`
	_, err := db.Exec(ctx, drop, path)
	return postgres.Error(err, "route")
}
