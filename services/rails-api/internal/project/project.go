// Package project keeps projects: their rows, their paths and where their
// repository lies. Only a project whose repository exists is ever returned; how
// the two come into being together is package projectrepo's concern.
package project

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/visibility"
)

// Project is one project.
type Project struct {
	ID                 int64
	Namespace          namespace.Namespace
	CreatorID          *int64
	Path, Name         string
	FullPath, FullName string
	Description        string
	Visibility         visibility.Level
	DefaultBranch      string
	Archived           bool
	Storage, DiskPath  string // where gitaly keeps the repository
	RepositoryReadOnly bool   // while it is being moved
	EmptyRepo          bool   // no branch was ever pushed
	MergeRequestLinks  bool   // print links after a push
	LFSEnabled         bool   // takes large files
	RepositorySize     int64  // bytes
	ForkedFromID       *int64 // the source of a fork, as long as there is one
	Import             Import
	ImportError        string // why it failed
	CommitCount        int64
	LastActivityAt     time.Time
	CreatedAt          time.Time
	UpdatedAt          time.Time
}

// GLRepository returns the identifier that the services pass around for the
// project's repository: `project-26`.
func (p Project) GLRepository() string { return fmt.Sprintf("project-%d", p.ID) }

// IDOf returns the project id in a GLRepository identifier; ok is false for
// anything else, wikis and snippets too.
func IDOf(glRepository string) (id int64, ok bool) {
	digits, ok := strings.CutPrefix(glRepository, "project-")
	id, err := strconv.ParseInt(digits, 10, 64)
	return id, ok && err == nil && id > 0 && digits == strconv.FormatInt(id, 10)
}

// HashedPath returns the relative path of a project's repository, which depends
// on nothing but the id (wire/internal-api.md §4).
func HashedPath(id int64) string {
	return hashed("@hashed", id)
}

func hashed(root string, id int64) string {
	sum := sha256.Sum256([]byte(strconv.FormatInt(id, 10)))
	h := hex.EncodeToString(sum[:])
	return fmt.Sprintf("%s/%s/%s/%s.git", root, h[0:2], h[2:4], h)
}

// Store reads and writes projects.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const what = "project"

// Columns and Joins are the part of a query that reads projects, for packages
// that join them to more: p is the table's name.
const (
	Columns = `p.id, p.creator_id, p.path, p.name, r.path, r.name, p.description, p.visibility, p.default_branch, p.archived,
		p.storage, p.disk_path, p.repository_read_only OR coalesce(p.read_only_until > clock_timestamp(), false), p.empty_repo, p.merge_request_links, p.lfs_enabled, p.repository_size, p.commit_count,
		p.forked_from_id, p.import_status, p.import_error, p.last_activity_at, p.created_at, p.updated_at,
		n.id, n.kind, n.parent_id, n.owner_id, n.path, n.name, nr.path, nr.name, n.description, n.visibility, n.traversal_ids, n.created_at, n.updated_at`
	Joins = ` JOIN routes r ON r.project_id = p.id JOIN namespaces n ON n.id = p.namespace_id JOIN routes nr ON nr.namespace_id = n.id `
)

// Fields returns where to put a row of Columns.
func (p *Project) Fields() []any {
	n := &p.Namespace
	return []any{
		&p.ID, &p.CreatorID, &p.Path, &p.Name, &p.FullPath, &p.FullName, &p.Description, &p.Visibility, &p.DefaultBranch, &p.Archived,
		&p.Storage, &p.DiskPath, &p.RepositoryReadOnly, &p.EmptyRepo, &p.MergeRequestLinks, &p.LFSEnabled, &p.RepositorySize, &p.CommitCount,
		&p.ForkedFromID, &p.Import, &p.ImportError, &p.LastActivityAt, &p.CreatedAt, &p.UpdatedAt,
		&n.ID, &n.Kind, &n.ParentID, &n.OwnerID, &n.Path, &n.Name, &n.FullPath, &n.FullName, &n.Description, &n.Visibility, &n.TraversalIDs,
		&n.CreatedAt, &n.UpdatedAt,
	}
}

func scan(row pgx.CollectableRow) (Project, error) {
	var p Project
	err := row.Scan(p.Fields()...)
	return p, err
}
