package project

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/pathrule"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/refname"
	"gitsplit/services/rails-api/internal/route"
	"gitsplit/services/rails-api/internal/visibility"
)

// NewProject describes a project to create.
type NewProject struct {
	NamespaceID   int64
	CreatorID     *int64
	Path          string
	Name          string // "" is the path
	Description   string
	Visibility    visibility.Level // "" is private
	DefaultBranch string           // "" is main
	WithoutLFS    bool             // takes no large files
}

// Reserve makes the row of a project that nobody sees until Publish. Its path is
// taken from now on. It is errs.Invalid for a bad field, errs.Exists for a path in use.
func (s *Store) Reserve(ctx context.Context, in NewProject, storage string) (Project, error) {
	in.defaults()
	var p Project
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		ns, err := namespace.New(tx).ByID(ctx, in.NamespaceID)
		if err != nil {
			return err
		}
		if err := check(in, ns); err != nil {
			return err
		}
		p, err = reserve(ctx, tx, in, ns, storage)
		return err
	})
	return p, postgres.Error(err, what)
}

func (in *NewProject) defaults() {
	for _, f := range []struct {
		field *string
		value string
	}{{&in.Name, in.Path}, {(*string)(&in.Visibility), string(visibility.Private)}, {&in.DefaultBranch, "main"}} {
		if *f.field == "" {
			*f.field = f.value
		}
	}
}

func check(in NewProject, ns namespace.Namespace) error {
	if err := pathrule.Project(in.Path); err != nil {
		return postgres.Invalid("path", err.Error())
	}
	if err := pathrule.Name(in.Name); err != nil {
		return postgres.Invalid("name", err.Error())
	}
	if err := refname.Short(in.DefaultBranch); err != nil {
		return postgres.Invalid("default_branch", "is invalid")
	}
	// A personal namespace admits every level.
	if !in.Visibility.Valid() || (ns.Kind == namespace.Group && !in.Visibility.Within(ns.Visibility)) {
		return postgres.Invalid("visibility_level", string(in.Visibility)+" is not allowed in a "+string(ns.Visibility)+" group.")
	}
	return nil
}

func reserve(ctx context.Context, tx pgx.Tx, in NewProject, ns namespace.Namespace, storage string) (Project, error) {
	p := Project{
		Namespace: ns, CreatorID: in.CreatorID, Path: in.Path, Name: in.Name, Description: in.Description, Visibility: in.Visibility,
		DefaultBranch: in.DefaultBranch, Storage: storage, EmptyRepo: true, MergeRequestLinks: true,
		LFSEnabled: !in.WithoutLFS, Import: ImportNone,
	}
	r := route.Route{Path: ns.FullPath, Name: ns.FullName}.Below(in.Path, in.Name)
	p.FullPath, p.FullName = r.Path, r.Name
	if err := tx.QueryRow(ctx, "SELECT nextval(pg_get_serial_sequence('projects', 'id'))").Scan(&p.ID); err != nil {
		return p, postgres.Error(err, what)
	}
	p.DiskPath = HashedPath(p.ID)
	const insert = `
		INSERT INTO projects (id, namespace_id, creator_id, path, name, description, visibility, default_branch, storage, disk_path,
			lfs_enabled)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING last_activity_at, created_at, updated_at`
	err := tx.QueryRow(ctx, insert, p.ID, ns.ID, p.CreatorID, p.Path, p.Name, p.Description, p.Visibility, p.DefaultBranch, storage, p.DiskPath,
		p.LFSEnabled).
		Scan(&p.LastActivityAt, &p.CreatedAt, &p.UpdatedAt)
	if err != nil {
		return p, postgres.Error(err, what)
	}
	_, err = tx.Exec(ctx, "INSERT INTO routes (path, name, project_id) VALUES ($1, $2, $3)", r.Path, r.Name, p.ID)
	return p, postgres.Error(err, what)
}

// Publish makes a reserved project visible, once its repository exists. The owner
// of a personal namespace becomes its first member.
func (s *Store) Publish(ctx context.Context, p Project) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		const publish = "UPDATE projects SET state = 'ready' WHERE id = $1 AND state = 'creating'"
		if err := postgres.Exec(ctx, tx, what, publish, p.ID); err != nil {
			return err
		}
		const owner = "INSERT INTO members (user_id, project_id, access_level, created_by_id) VALUES ($1, $2, 50, $3) ON CONFLICT DO NOTHING"
		if p.Personal() {
			if _, err := tx.Exec(ctx, owner, p.Namespace.OwnerID, p.ID, p.CreatorID); err != nil {
				return postgres.Error(err, "member")
			}
		}
		return route.DropShadowed(ctx, tx, p.FullPath)
	})
	return postgres.Error(err, what)
}

// Withdraw makes a project invisible and frees its path; the row stays until
// Forget, since it says which repository is to be removed.
func (s *Store) Withdraw(ctx context.Context, id int64) error { return s.withdraw(ctx, id, "ready") }

// Abandon is Withdraw for a project that was reserved and not published.
func (s *Store) Abandon(ctx context.Context, id int64) error { return s.withdraw(ctx, id, "creating") }

// ownDeployKeys removes the deploy keys that open no other project: nobody could
// manage them any more, and nobody else could have the same key.
const ownDeployKeys = `
	DELETE FROM ssh_keys k USING deploy_keys_projects d WHERE d.key_id = k.id AND d.project_id = $1 AND k.kind = 'deploy'
		AND NOT EXISTS (SELECT 1 FROM deploy_keys_projects o JOIN projects p ON p.id = o.project_id WHERE o.key_id = k.id AND p.state <> 'deleting')`

func (s *Store) withdraw(ctx context.Context, id int64, from string) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if err := postgres.Exec(ctx, tx, what, "UPDATE projects SET state = 'deleting' WHERE id = $1 AND state = $2", id, from); err != nil {
			return err
		}
		for _, remove := range []string{"DELETE FROM routes WHERE project_id = $1", "DELETE FROM redirect_routes WHERE project_id = $1", ownDeployKeys} {
			if _, err := tx.Exec(ctx, remove, id); err != nil {
				return postgres.Error(err, what)
			}
		}
		return nil
	})
	return postgres.Error(err, what)
}

// Remains is what is left to know of a project that is not visible.
type Remains struct {
	ID                int64
	State             string // "creating", "ready" or "deleting"
	Storage, DiskPath string
	CreatedAt         time.Time
}

// RemainsOf returns a project in whatever state it is.
func (s *Store) RemainsOf(ctx context.Context, id int64) (Remains, error) {
	const query = "SELECT id, state, storage, disk_path, created_at FROM projects WHERE id = $1"
	return postgres.One(ctx, s.db, what, pgx.RowToStructByPos[Remains], query, id)
}

// Forget removes the row of a withdrawn project, once its repository is gone.
func (s *Store) Forget(ctx context.Context, id int64) error {
	return postgres.Exec(ctx, s.db, what, "DELETE FROM projects WHERE id = $1 AND state = 'deleting'", id)
}
