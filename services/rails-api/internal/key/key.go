// Package key keeps the SSH keys of users and of deployments. A key is found by its fingerprint,
// the unpadded base64 of the SHA-256 of its wire format, through an index.
package key

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/pathrule"
	"gitsplit/services/rails-api/internal/postgres"
)

// UsageType says what a key is for.
type UsageType string

// The usage types. Only the first two open a connection.
const (
	AuthAndSigning UsageType = "auth_and_signing"
	Auth           UsageType = "auth"
	Signing        UsageType = "signing"
)

// Kind says what a key opens.
type Kind string

// The kinds: a user's key opens what the user may see, a deploy key the projects
// that it is attached to.
const (
	OfUser Kind = "user"
	Deploy Kind = "deploy"
)

// Key is one public key of a user, or a deploy key.
type Key struct {
	ID          int64
	UserID      int64 // the owner; of a deploy key who added it, 0 when that account is gone
	Kind        Kind
	Title       string
	Text        string // as uploaded: type, base64 and comment
	Fingerprint string
	UsageType   UsageType
	ExpiresAt   *time.Time
	LastUsedAt  *time.Time
	CreatedAt   time.Time
}

// Expired reports whether the key may no longer be used.
func (k Key) Expired(now time.Time) bool { return k.ExpiresAt != nil && !k.ExpiresAt.After(now) }

// Store reads and writes keys.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const (
	what = "key"
	// Columns are what Fields receives; the table's name in the query is k.
	Columns = "k.id, coalesce(k.user_id, 0), k.kind, k.title, k.key, k.fingerprint_sha256, k.usage_type, k.expires_at, k.last_used_at, k.created_at"
)

func (k *Key) fields() []any {
	return []any{&k.ID, &k.UserID, &k.Kind, &k.Title, &k.Text, &k.Fingerprint, &k.UsageType, &k.ExpiresAt, &k.LastUsedAt, &k.CreatedAt}
}

func scan(row pgx.CollectableRow) (Key, error) {
	var k Key
	err := row.Scan(k.fields()...)
	return k, err
}

// NewKey describes a key to add.
type NewKey struct {
	UserID    int64
	Kind      Kind   // "" is OfUser
	Title     string // "" takes the key's comment
	Text      string
	UsageType UsageType // "" is AuthAndSigning
	ExpiresAt *time.Time
}

// Create adds a key. It is errs.Invalid for a key that is malformed, weak or of a
// refused type, and errs.Exists when anybody has it already.
func (s *Store) Create(ctx context.Context, in NewKey) (Key, error) {
	parsed, err := Parse(in.Text)
	if err != nil {
		return Key{}, postgres.Invalid("key", err.Error())
	}
	if in.Title == "" {
		in.Title = parsed.Comment
	}
	if err := pathrule.Name(in.Title); err != nil {
		return Key{}, postgres.Invalid("title", err.Error())
	}
	const insert = `
		INSERT INTO ssh_keys AS k (user_id, kind, title, key, fingerprint_sha256, usage_type, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ` + Columns
	return postgres.One(ctx, s.db, what, scan, insert, in.UserID, cmp.Or(in.Kind, OfUser), in.Title, parsed.Text, parsed.Fingerprint,
		cmp.Or(in.UsageType, AuthAndSigning), in.ExpiresAt)
}

// ByID returns one key.
func (s *Store) ByID(ctx context.Context, id int64) (Key, error) {
	return postgres.One(ctx, s.db, what, scan, "SELECT "+Columns+" FROM ssh_keys k WHERE k.id = $1", id)
}

// Owned is a key with the name of the user it belongs to, or who added it.
type Owned struct {
	Key
	OwnerName string
}

// ByFingerprint returns the key that may open a connection and has this
// fingerprint. Whether it has expired is the caller's question.
func (s *Store) ByFingerprint(ctx context.Context, fingerprint string) (Owned, error) {
	const query = `
		SELECT ` + Columns + `, coalesce(u.name, '') FROM ssh_keys k LEFT JOIN users u ON u.id = k.user_id
		WHERE k.fingerprint_sha256 = $1 AND k.usage_type <> 'signing'`
	return postgres.One(ctx, s.db, what, scanOwned, query, fingerprint)
}

func scanOwned(row pgx.CollectableRow) (Owned, error) {
	var k Owned
	err := row.Scan(append(k.fields(), &k.OwnerName)...)
	return k, err
}

// ListByUser returns a page of a user's keys, oldest first, and how many there are.
func (s *Store) ListByUser(ctx context.Context, userID int64, p postgres.Page) ([]Key, int, error) {
	l := postgres.Listing[Key]{What: what, Columns: Columns, From: "FROM ssh_keys k WHERE k.user_id = $1 AND k.kind = 'user'", OrderBy: "k.id", Scan: scan}
	return l.Page(ctx, s.db, p, userID)
}

// MarkVerified notes that the owner of a key has just proven the second factor.
func (s *Store) MarkVerified(ctx context.Context, id int64, now time.Time) error {
	return postgres.Exec(ctx, s.db, what, "UPDATE ssh_keys SET otp_verified_at = $2 WHERE id = $1", id, now)
}

// Delete removes a key of a user.
func (s *Store) Delete(ctx context.Context, userID, id int64) error {
	return postgres.Exec(ctx, s.db, what, "DELETE FROM ssh_keys WHERE id = $1 AND user_id = $2 AND kind = 'user'", id, userID)
}
