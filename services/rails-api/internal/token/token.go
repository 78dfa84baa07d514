// Package token keeps personal access tokens. Their secret is shown once, when
// one is made; the database holds its SHA-256, which is enough for a secret of
// 160 random bits (security-baseline T1).
package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/pathrule"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/user"
)

// Prefix begins every token, so that scanners recognise a leaked one.
const Prefix = "glpat-"

// Scopes with a meaning for the API or for Git (wire/internal-api.md, wire/workhorse.md §10.2).
const (
	ScopeAPI             = "api"
	ScopeReadAPI         = "read_api"
	ScopeReadUser        = "read_user"
	ScopeReadRepository  = "read_repository"
	ScopeWriteRepository = "write_repository"
	ScopeSudo            = "sudo"
)

// Scopes returns every scope a token may have, sorted.
func Scopes() []string {
	return []string{
		"admin_mode", "ai_features", ScopeAPI, "create_runner", "k8s_proxy", "manage_runner", ScopeReadAPI, "read_registry",
		ScopeReadRepository, ScopeReadUser, "self_rotate", ScopeSudo, "write_registry", ScopeWriteRepository,
	}
}

// MaxLifetime is how far ahead a token may expire, and when it does if nobody says.
const MaxLifetime = 365 * 24 * time.Hour

// Token is one personal access token, without its secret.
type Token struct {
	ID, UserID        int64
	Name, Description string
	Scopes            []string
	ExpiresAt         *time.Time // the day from which on it is refused
	Revoked           bool
	LastUsedAt        *time.Time
	CreatedAt         time.Time
}

// Expired reports whether the token's day has come.
func (t Token) Expired(now time.Time) bool { return t.ExpiresAt != nil && !t.ExpiresAt.After(now) }

// Active reports whether the token may be used.
func (t Token) Active(now time.Time) bool { return !t.Revoked && !t.Expired(now) }

// Has reports whether the token has one of the scopes.
func (t Token) Has(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(t.Scopes, s) })
}

// Store reads and writes tokens.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const (
	what = "token"
	// Columns are what Scan reads; the table's name in the query is t.
	Columns = "t.id, t.user_id, t.name, t.description, t.scopes, t.expires_at, t.revoked, t.last_used_at, t.created_at"
)

// Fields returns where to put a row of Columns, for packages that join tokens.
func (t *Token) Fields() []any {
	return []any{&t.ID, &t.UserID, &t.Name, &t.Description, &t.Scopes, &t.ExpiresAt, &t.Revoked, &t.LastUsedAt, &t.CreatedAt}
}

func scan(row pgx.CollectableRow) (Token, error) {
	var t Token
	err := row.Scan(t.Fields()...)
	return t, err
}

// NewToken describes a token to make.
type NewToken struct {
	UserID            int64
	Name, Description string
	Scopes            []string
	ExpiresAt         *time.Time
	Plain             string // the secret, when the operator chose it; "" makes one
}

// Create makes a token and returns its secret. It is errs.Invalid for a bad name
// or scope. The expiry is the caller's to judge: an operator may want none.
func (s *Store) Create(ctx context.Context, in NewToken) (Token, string, error) {
	if err := pathrule.Name(in.Name); err != nil {
		return Token{}, "", postgres.Invalid("name", err.Error())
	}
	if err := ValidScopes(in.Scopes); err != nil {
		return Token{}, "", err
	}
	if in.Plain == "" {
		in.Plain = Generate()
	}
	const insert = `
		INSERT INTO personal_access_tokens AS t (user_id, name, description, token_digest, scopes, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6) RETURNING ` + Columns
	t, err := postgres.One(ctx, s.db, what, scan, insert, in.UserID, in.Name, in.Description, Digest(in.Plain), in.Scopes, in.ExpiresAt)
	if err != nil {
		return Token{}, "", err
	}
	return t, in.Plain, nil
}

// ValidScopes checks a list of scopes: known ones, at least one.
func ValidScopes(scopes []string) error {
	if len(scopes) == 0 {
		return postgres.Invalid("scopes", "can't be blank")
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			return postgres.Invalid("scopes", "can only contain available scopes")
		}
	}
	return nil
}

// Generate returns the secret of a new token.
func Generate() string { return Secret(Prefix) }

// Secret returns a prefix with 160 random bits or more, for every kind of token.
func Secret(prefix string) string { return prefix + rand.Text() + rand.Text()[:8] }

// Digest returns what is stored of a secret.
func Digest(plain string) []byte {
	sum := sha256.Sum256([]byte(plain))
	return sum[:]
}

// Plausible reports whether a text can be the secret of a token at all.
func Plausible(plain string) bool {
	const longest = 255
	return len(plain) <= longest && strings.TrimSpace(plain) != ""
}

// Owned is a token with its owner.
type Owned struct {
	Token
	Owner user.User
}

const ownedQuery = "SELECT " + Columns + ", " + user.Columns + " FROM personal_access_tokens t JOIN users u ON u.id = t.user_id WHERE "

func scanOwned(row pgx.CollectableRow) (Owned, error) {
	var o Owned
	err := row.Scan(append(o.Token.Fields(), o.Owner.Fields()...)...)
	return o, err
}

// ByPlain returns the token with a secret, active or not. The look-up is by
// digest, so its time says nothing about how much of a guess was right.
func (s *Store) ByPlain(ctx context.Context, plain string) (Owned, error) {
	if !Plausible(plain) {
		return Owned{}, postgres.NotFound(what)
	}
	return postgres.One(ctx, s.db, what, scanOwned, ownedQuery+"t.token_digest = $1", Digest(plain))
}

// OwnedByID is ByID with the owner.
func (s *Store) OwnedByID(ctx context.Context, id int64) (Owned, error) {
	return postgres.One(ctx, s.db, what, scanOwned, ownedQuery+"t.id = $1", id)
}

// ByID returns one token.
func (s *Store) ByID(ctx context.Context, id int64) (Token, error) {
	return postgres.One(ctx, s.db, what, scan, "SELECT "+Columns+" FROM personal_access_tokens t WHERE t.id = $1", id)
}

// Filter selects tokens for List.
type Filter struct {
	UserID  int64  // 0: of all users
	State   string // "active", "inactive" or "" for both
	Revoked *bool  // nil: revoked ones and others
	Search  string // part of the name
	Now     time.Time
	Page    postgres.Page
}

// Matching holds for the tokens that State, Now, Search and Revoked of a Filter
// select; they are the parameters $2 to $5.
const Matching = `
	($2 = '' OR (NOT t.revoked AND (t.expires_at IS NULL OR t.expires_at > $3)) = ($2 = 'active'))
	AND ($4 = '' OR strpos(lower(t.name), lower($4)) > 0)
	AND ($5::boolean IS NULL OR t.revoked = $5)`

const listFrom = "FROM personal_access_tokens t WHERE ($1::bigint = 0 OR t.user_id = $1) AND " + Matching

// List returns a page of tokens, oldest first, and how many there are in all.
func (s *Store) List(ctx context.Context, f Filter) ([]Token, int, error) {
	l := postgres.Listing[Token]{What: what, Columns: Columns, From: listFrom, OrderBy: "t.id", Scan: scan}
	return l.Page(ctx, s.db, f.Page, f.UserID, f.State, f.Now, f.Search, f.Revoked)
}

// Revoke ends a token, from the next request on.
func (s *Store) Revoke(ctx context.Context, id int64) error {
	return postgres.Exec(ctx, s.db, what, "UPDATE personal_access_tokens SET revoked = true WHERE id = $1", id)
}

// Touch records that a token was used, to the minute.
func (s *Store) Touch(ctx context.Context, id int64, now time.Time) error {
	const touch = `
		UPDATE personal_access_tokens SET last_used_at = $2
		WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2::timestamptz - interval '1 minute')`
	_, err := s.db.Exec(ctx, touch, id, now)
	return postgres.Error(err, what)
}
