// Package namespace keeps what holds projects: the personal namespace of each
// user and the tree of groups. Full paths stand in package route's table.
package namespace

import (
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/route"
	"gitsplit/services/rails-api/internal/visibility"
)

// Kind tells the two sorts of namespace apart.
type Kind string

// The kinds.
const (
	User  Kind = "user"
	Group Kind = "group"
)

// Namespace is a group, or the personal namespace of a user.
type Namespace struct {
	ID           int64
	Kind         Kind
	ParentID     *int64 // of a subgroup
	OwnerID      *int64 // of a personal namespace
	Path, Name   string
	FullPath     string // from the root group on
	FullName     string
	Description  string
	Visibility   visibility.Level
	TraversalIDs []int64 // from the root group to this one
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// RootID returns the id of the top-level namespace.
func (n Namespace) RootID() int64 {
	if len(n.TraversalIDs) == 0 {
		return n.ID
	}
	return n.TraversalIDs[0]
}

// Store reads and writes namespaces.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const what = "group"

// columns are read by scan; n is the namespace and r its route.
const columns = `n.id, n.kind, n.parent_id, n.owner_id, n.path, n.name, r.path, r.name, n.description, n.visibility, n.traversal_ids, n.created_at, n.updated_at`

func scan(row pgx.CollectableRow) (Namespace, error) {
	var n Namespace
	err := row.Scan(&n.ID, &n.Kind, &n.ParentID, &n.OwnerID, &n.Path, &n.Name, &n.FullPath, &n.FullName,
		&n.Description, &n.Visibility, &n.TraversalIDs, &n.CreatedAt, &n.UpdatedAt)
	return n, err
}

func (n Namespace) route() route.Route { return route.Route{Path: n.FullPath, Name: n.FullName} }
