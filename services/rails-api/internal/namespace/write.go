package namespace

import (
	"context"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/pathrule"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/route"
	"gitsplit/services/rails-api/internal/visibility"
)

// NewNamespace describes a namespace to create.
type NewNamespace struct {
	Kind        Kind
	ParentID    *int64 // a group; nil for the top level
	OwnerID     *int64 // of a personal namespace
	Path, Name  string
	Description string
	Visibility  visibility.Level // "" is private
}

// Create makes a namespace. It is errs.Invalid for a bad path, name or
// visibility, errs.Exists when the path is in use, by a project too.
func (s *Store) Create(ctx context.Context, in NewNamespace) (Namespace, error) {
	if in.Visibility == "" {
		in.Visibility = visibility.Private
	}
	var n Namespace
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		var err error
		n, err = create(ctx, tx, in)
		return err
	})
	return n, postgres.Error(err, what)
}

func create(ctx context.Context, tx pgx.Tx, in NewNamespace) (Namespace, error) {
	parent, err := parentOf(ctx, tx, in.ParentID)
	if err != nil {
		return Namespace{}, err
	}
	if err := check(in.Path, in.Name, in.Visibility, parent); err != nil {
		return Namespace{}, err
	}
	const insert = `
		WITH new AS (SELECT nextval(pg_get_serial_sequence('namespaces', 'id')) AS id),
		made AS (INSERT INTO namespaces (id, kind, parent_id, owner_id, path, name, description, visibility, traversal_ids)
			SELECT id, $1, $2, $3, $4, $5, $6, $7, $8::bigint[] || id FROM new)
		INSERT INTO routes (path, name, namespace_id) SELECT $9, $10, id FROM new RETURNING namespace_id`
	r := parent.route().Below(in.Path, in.Name)
	var id int64
	err = tx.QueryRow(ctx, insert, in.Kind, in.ParentID, in.OwnerID, in.Path, in.Name, in.Description, in.Visibility,
		append([]int64{}, parent.TraversalIDs...), r.Path, r.Name).Scan(&id)
	if err != nil {
		return Namespace{}, postgres.Error(err, what)
	}
	if err := route.DropShadowed(ctx, tx, r.Path); err != nil {
		return Namespace{}, err
	}
	return New(tx).ByID(ctx, id)
}

func parentOf(ctx context.Context, tx pgx.Tx, id *int64) (Namespace, error) {
	if id == nil {
		return Namespace{Visibility: visibility.Public}, nil
	}
	parent, err := New(tx).ByID(ctx, *id)
	if err == nil && parent.Kind != Group {
		return parent, postgres.Invalid("parent_id", "is not a group")
	}
	return parent, err
}

func check(path, name string, level visibility.Level, parent Namespace) error {
	if err := pathrule.Namespace(path, parent.ID == 0); err != nil {
		return postgres.Invalid("path", err.Error())
	}
	if err := pathrule.Name(name); err != nil {
		return postgres.Invalid("name", err.Error())
	}
	if !level.Within(parent.Visibility) {
		return postgres.Invalid("visibility_level", string(level)+" is not allowed in a "+string(parent.Visibility)+" group.")
	}
	return nil
}

// Changes are the fields Update sets; nil leaves a field as it is.
type Changes struct {
	Path, Name, Description *string
	Visibility              *visibility.Level
}

// Update changes a namespace. A new path or name moves everything below it too.
func (s *Store) Update(ctx context.Context, id int64, c Changes) (Namespace, error) {
	var n Namespace
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		old, err := New(tx).ByID(ctx, id)
		if err != nil {
			return err
		}
		n, err = update(ctx, tx, old, c)
		return err
	})
	return n, postgres.Error(err, what)
}

func update(ctx context.Context, tx pgx.Tx, old Namespace, c Changes) (Namespace, error) {
	n := old
	set(&n.Path, c.Path)
	set(&n.Name, c.Name)
	set(&n.Description, c.Description)
	set(&n.Visibility, c.Visibility)
	parent, err := parentOf(ctx, tx, old.ParentID)
	if err != nil {
		return n, err
	}
	if err := check(n.Path, n.Name, n.Visibility, parent); err != nil {
		return n, err
	}
	const change = "UPDATE namespaces SET path = $2, name = $3, description = $4, visibility = $5, updated_at = now() WHERE id = $1"
	if err := postgres.Exec(ctx, tx, what, change, n.ID, n.Path, n.Name, n.Description, n.Visibility); err != nil {
		return n, err
	}
	if n.Path != old.Path || n.Name != old.Name {
		if err := route.Rename(ctx, tx, old.route(), parent.route().Below(n.Path, n.Name)); err != nil {
			return n, err
		}
	}
	return New(tx).ByID(ctx, n.ID)
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// Delete removes a namespace. It is errs.Conflict while it holds groups or projects.
func (s *Store) Delete(ctx context.Context, id int64) error {
	err := postgres.Exec(ctx, s.db, what, "DELETE FROM namespaces WHERE id = $1", id)
	if errs.KindOf(err) == errs.Conflict {
		return errs.Wrap(errs.Conflict, "the group is not empty", err)
	}
	return err
}
