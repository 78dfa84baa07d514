// Package member keeps who belongs to a group or a project, and how far: the
// access levels are GitLab's. Members of a group are members of everything below it.
package member

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/user"
)

// Level is an access level. A higher one has every right of the lower ones.
type Level int

// The levels. Admin stands for administrators of the whole instance and is never stored.
const (
	NoAccess   Level = 0
	Minimal    Level = 5
	Guest      Level = 10
	Planner    Level = 15
	Reporter   Level = 20
	Developer  Level = 30
	Maintainer Level = 40
	Owner      Level = 50
	Admin      Level = 60
)

// Valid reports whether a member can have the level.
func (l Level) Valid() bool {
	return slices.Contains([]Level{NoAccess, Minimal, Guest, Planner, Reporter, Developer, Maintainer, Owner}, l)
}

// Source is what somebody is a member of: exactly one of its ids is set.
type Source struct{ NamespaceID, ProjectID int64 }

// OfNamespace returns the Source of a group.
func OfNamespace(id int64) Source { return Source{NamespaceID: id} }

// OfProject returns the Source of a project.
func OfProject(id int64) Source { return Source{ProjectID: id} }

// Member is one membership.
type Member struct {
	ID          int64
	User        user.User
	Source      Source
	Level       Level
	ExpiresAt   *time.Time // the day from which on it no longer counts
	CreatedByID *int64
	CreatedAt   time.Time
}

// Store reads and writes memberships.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const (
	what    = "member"
	columns = `m.id, coalesce(m.namespace_id, 0), coalesce(m.project_id, 0), m.access_level, m.expires_at, m.created_by_id, m.created_at, ` + user.Columns
	// ofSource holds for the members of one source, the parameters $1 and $2.
	ofSource = "((m.namespace_id = $1 AND $2::bigint = 0) OR (m.project_id = $2 AND $1::bigint = 0))"
)

func scan(row pgx.CollectableRow) (Member, error) {
	var m Member
	fields := []any{&m.ID, &m.Source.NamespaceID, &m.Source.ProjectID, &m.Level, &m.ExpiresAt, &m.CreatedByID, &m.CreatedAt}
	err := row.Scan(append(fields, m.User.Fields()...)...)
	return m, err
}

// NewMember describes a membership to add.
type NewMember struct {
	Source      Source
	UserID      int64
	Level       Level
	ExpiresAt   *time.Time
	CreatedByID *int64
}

// Add makes somebody a member. It is errs.Exists when they are one of the source itself already.
func (s *Store) Add(ctx context.Context, in NewMember) (Member, error) {
	const insert = `
		INSERT INTO members (user_id, namespace_id, project_id, access_level, expires_at, created_by_id)
		VALUES ($1, nullif($2, 0::bigint), nullif($3, 0::bigint), $4, $5, $6)`
	if !in.Level.Valid() {
		return Member{}, postgres.Invalid("access_level", "does not have a valid value")
	}
	_, err := s.db.Exec(ctx, insert, in.UserID, in.Source.NamespaceID, in.Source.ProjectID, in.Level, in.ExpiresAt, in.CreatedByID)
	if err != nil {
		return Member{}, postgres.Error(err, what)
	}
	return s.Get(ctx, in.Source, in.UserID)
}

// Get returns the membership of a user in the source itself.
func (s *Store) Get(ctx context.Context, src Source, userID int64) (Member, error) {
	const query = "SELECT " + columns + " FROM members m JOIN users u ON u.id = m.user_id WHERE m.user_id = $3 AND " + ofSource
	return postgres.One(ctx, s.db, what, scan, query, src.NamespaceID, src.ProjectID, userID)
}

// Update changes level and expiry. Taking the last owner from a group is errs.Denied.
func (s *Store) Update(ctx context.Context, src Source, userID int64, level Level, expiresAt *time.Time) (Member, error) {
	if !level.Valid() {
		return Member{}, postgres.Invalid("access_level", "does not have a valid value")
	}
	const change = "UPDATE members m SET access_level = $4, expires_at = $5 WHERE m.user_id = $3 AND " + ofSource
	err := s.keepingOwner(ctx, src, func(tx pgx.Tx) error {
		return postgres.Exec(ctx, tx, what, change, src.NamespaceID, src.ProjectID, userID, level, expiresAt)
	})
	if err != nil {
		return Member{}, err
	}
	return s.Get(ctx, src, userID)
}

// Remove ends a membership. Taking the last owner from a group is errs.Denied.
func (s *Store) Remove(ctx context.Context, src Source, userID int64) error {
	const remove = "DELETE FROM members m WHERE m.user_id = $3 AND " + ofSource
	return s.keepingOwner(ctx, src, func(tx pgx.Tx) error {
		return postgres.Exec(ctx, tx, what, remove, src.NamespaceID, src.ProjectID, userID)
	})
}

// keepingOwner runs a change and undoes it when a top-level group would have no
// owner left; a bot is none. The lock on the group keeps two such changes apart.
func (s *Store) keepingOwner(ctx context.Context, src Source, change func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if src.NamespaceID == 0 {
			return change(tx)
		}
		if _, err := tx.Exec(ctx, "SELECT 1 FROM namespaces WHERE id = $1 FOR UPDATE", src.NamespaceID); err != nil {
			return postgres.Error(err, what)
		}
		if err := change(tx); err != nil {
			return err
		}
		const owned = `SELECT EXISTS (SELECT 1 FROM members m JOIN namespaces n ON n.id = $1 JOIN users u ON u.id = m.user_id
			WHERE m.namespace_id = ANY (n.traversal_ids) AND m.access_level = 50 AND m.expires_at IS NULL
			AND num_nonnulls(u.bot_project_id, u.bot_namespace_id) = 0)`
		var ok bool
		if err := tx.QueryRow(ctx, owned, src.NamespaceID).Scan(&ok); err != nil {
			return postgres.Error(err, what)
		}
		if !ok {
			return errs.New(errs.Denied, "the last owner of a group cannot be removed")
		}
		return nil
	})
	return postgres.Error(err, what)
}
