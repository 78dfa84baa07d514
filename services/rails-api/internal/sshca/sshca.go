// Package sshca keeps the SSH certificate authorities of top-level groups. A
// certificate that one of them signed names a user, who may then enter the projects
// of that group and no others (wire/gitlab-shell.md §13).
package sshca

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/pathrule"
	"gitsplit/services/rails-api/internal/postgres"
)

// Authority is the public key that signs the certificates of a group.
type Authority struct {
	ID, NamespaceID int64
	Title           string
	Text            string // as uploaded: type, base64 and comment
	Fingerprint     string // unpadded base64 of the SHA-256 of the wire format
	CreatedAt       time.Time
}

// Store reads and writes authorities.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const (
	what    = "ssh certificate"
	columns = "c.id, c.namespace_id, c.title, c.key, c.fingerprint_sha256, c.created_at"
)

func scan(row pgx.CollectableRow) (Authority, error) {
	var a Authority
	err := row.Scan(&a.ID, &a.NamespaceID, &a.Title, &a.Text, &a.Fingerprint, &a.CreatedAt)
	return a, err
}

// Create adds an authority to a group. It is errs.Invalid for a key that is
// malformed or weak, and errs.Exists when any group has it.
func (s *Store) Create(ctx context.Context, namespaceID int64, title, text string) (Authority, error) {
	parsed, err := key.Parse(text)
	if err != nil {
		return Authority{}, postgres.Invalid("key", err.Error())
	}
	if err := pathrule.Name(title); err != nil {
		return Authority{}, postgres.Invalid("title", err.Error())
	}
	const insert = `INSERT INTO group_ssh_certificates AS c (namespace_id, title, key, fingerprint_sha256) VALUES ($1, $2, $3, $4) RETURNING ` + columns
	return postgres.One(ctx, s.db, what, scan, insert, namespaceID, title, parsed.Text, parsed.Fingerprint)
}

// ByFingerprint returns the authority whose key has this fingerprint.
func (s *Store) ByFingerprint(ctx context.Context, fingerprint string) (Authority, error) {
	return postgres.One(ctx, s.db, what, scan, "SELECT "+columns+" FROM group_ssh_certificates c WHERE c.fingerprint_sha256 = $1", fingerprint)
}

// List returns a page of a group's authorities, oldest first, and how many there are.
func (s *Store) List(ctx context.Context, namespaceID int64, p postgres.Page) ([]Authority, int, error) {
	l := postgres.Listing[Authority]{What: what, Columns: columns, From: "FROM group_ssh_certificates c WHERE c.namespace_id = $1", OrderBy: "c.id", Scan: scan}
	return l.Page(ctx, s.db, p, namespaceID)
}

// Delete removes an authority of a group, from the next login on.
func (s *Store) Delete(ctx context.Context, namespaceID, id int64) error {
	return postgres.Exec(ctx, s.db, what, "DELETE FROM group_ssh_certificates WHERE namespace_id = $1 AND id = $2", namespaceID, id)
}
