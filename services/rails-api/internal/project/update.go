package project

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/route"
	"gitsplit/services/rails-api/internal/visibility"
)

// Changes are the fields Update sets; nil leaves a field as it is.
type Changes struct {
	Path, Name, Description, DefaultBranch *string
	Visibility                             *visibility.Level
	Archived, MergeRequestLinks            *bool
	LFSEnabled                             *bool
}

// Update changes a project. A new path leaves a redirect behind.
func (s *Store) Update(ctx context.Context, id int64, c Changes) (Project, error) {
	var p Project
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		old, err := New(tx).ByID(ctx, id)
		if err != nil {
			return err
		}
		if err := update(ctx, tx, old, c); err != nil {
			return err
		}
		p, err = New(tx).ByID(ctx, id)
		return err
	})
	return p, postgres.Error(err, what)
}

func update(ctx context.Context, tx pgx.Tx, old Project, c Changes) error {
	p := old
	set(&p.Path, c.Path)
	set(&p.Name, c.Name)
	set(&p.Description, c.Description)
	set(&p.DefaultBranch, c.DefaultBranch)
	set(&p.Visibility, c.Visibility)
	set(&p.Archived, c.Archived)
	set(&p.MergeRequestLinks, c.MergeRequestLinks)
	set(&p.LFSEnabled, c.LFSEnabled)
	in := NewProject{Path: p.Path, Name: p.Name, Visibility: p.Visibility, DefaultBranch: p.DefaultBranch}
	if err := check(in, p.Namespace); err != nil {
		return err
	}
	const change = `
		UPDATE projects SET path = $2, name = $3, description = $4, default_branch = $5, visibility = $6, archived = $7,
			merge_request_links = $8, lfs_enabled = $9, updated_at = now()
		WHERE id = $1`
	err := postgres.Exec(ctx, tx, what, change, p.ID, p.Path, p.Name, p.Description, p.DefaultBranch, p.Visibility, p.Archived, p.MergeRequestLinks,
		p.LFSEnabled)
	if err != nil || (p.Path == old.Path && p.Name == old.Name) {
		return err
	}
	above := route.Route{Path: p.Namespace.FullPath, Name: p.Namespace.FullName}
	return route.Rename(ctx, tx, route.Route{Path: old.FullPath, Name: old.FullName}, above.Below(p.Path, p.Name))
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// Lock keeps other pushes of the project from being recorded until the transaction
// ends, and returns what pushes may have changed since the project was read.
func (s *Store) Lock(ctx context.Context, id int64) (defaultBranch string, empty bool, err error) {
	const query = "SELECT default_branch, empty_repo FROM projects WHERE id = $1 AND state = 'ready' FOR NO KEY UPDATE"
	err = s.db.QueryRow(ctx, query, id).Scan(&defaultBranch, &empty)
	return defaultBranch, empty, postgres.Error(err, what)
}

// MarkPushed records that a push happened and, for the first branch of a
// repository, which branch is the default one.
func (s *Store) MarkPushed(ctx context.Context, id int64, defaultBranch string, hasBranch bool, now time.Time) error {
	const change = `
		UPDATE projects SET last_activity_at = greatest(last_activity_at, $2), empty_repo = empty_repo AND NOT $4,
			default_branch = CASE WHEN empty_repo AND $4 THEN $3 ELSE default_branch END
		WHERE id = $1`
	return postgres.Exec(ctx, s.db, what, change, id, now, defaultBranch, hasBranch)
}

// SetStatistics records what the worker measured.
func (s *Store) SetStatistics(ctx context.Context, id, repositorySize, commitCount int64) error {
	const change = "UPDATE projects SET repository_size = $2, commit_count = $3 WHERE id = $1"
	return postgres.Exec(ctx, s.db, what, change, id, repositorySize, commitCount)
}
