// Package deploytoken keeps deploy tokens: a user name and a secret with which a
// program reads one project, or the projects below one group, without an account.
// As in package token, the secret is shown once and stored as its SHA-256.
package deploytoken

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/pathrule"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/token"
)

// Prefix begins every secret, so that scanners recognise a leaked one.
const Prefix = "gldt-"

// ScopeReadRepository admits fetches. The other scopes are kept for the registries
// that they open in GitLab; none of them admits a push.
const ScopeReadRepository = "read_repository"

// Scopes returns every scope a deploy token may have.
func Scopes() []string {
	return []string{
		ScopeReadRepository, "read_registry", "write_registry", "read_package_registry", "write_package_registry", "read_virtual_registry",
		"write_virtual_registry",
	}
}

// Token is one deploy token, without its secret.
type Token struct {
	ID             int64
	Source         member.Source // the project or group it opens
	Name, Username string
	Scopes         []string
	ExpiresAt      time.Time
	CreatedAt      time.Time
}

// Expired reports whether the token's time has come.
func (t Token) Expired(now time.Time) bool { return !t.ExpiresAt.After(now) }

// Has reports whether the token has a scope.
func (t Token) Has(scope string) bool { return slices.Contains(t.Scopes, scope) }

// Store reads and writes deploy tokens.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const (
	what    = "deploy token"
	columns = "t.id, coalesce(t.namespace_id, 0), coalesce(t.project_id, 0), t.name, t.username, t.scopes, t.expires_at, t.created_at"
	// ofSource holds for the tokens of one source, the parameters $1 and $2.
	ofSource = "((t.namespace_id = $1 AND $2::bigint = 0) OR (t.project_id = $2 AND $1::bigint = 0))"
)

func scan(row pgx.CollectableRow) (Token, error) {
	var t Token
	err := row.Scan(&t.ID, &t.Source.NamespaceID, &t.Source.ProjectID, &t.Name, &t.Username, &t.Scopes, &t.ExpiresAt, &t.CreatedAt)
	return t, err
}

// NewToken describes a deploy token to make.
type NewToken struct {
	Source         member.Source
	CreatorID      int64
	Name, Username string // no user name: gitlab+deploy-token-<id>
	Scopes         []string
	ExpiresAt      time.Time
}

// usernames are letters, digits and a few signs that a URL carries as they are.
var usernames = regexp.MustCompile(`^[a-zA-Z0-9._+-]{1,255}$`)

// Create makes a deploy token and returns its secret. It is errs.Invalid for a bad
// name, user name or scope.
func (s *Store) Create(ctx context.Context, in NewToken) (Token, string, error) {
	if err := pathrule.Name(in.Name); err != nil {
		return Token{}, "", postgres.Invalid("name", err.Error())
	}
	if in.Username != "" && !usernames.MatchString(in.Username) {
		return Token{}, "", postgres.Invalid("username", "can contain only letters, digits, '_', '-', '+', and '.'")
	}
	if len(in.Scopes) == 0 || slices.ContainsFunc(in.Scopes, func(s string) bool { return !slices.Contains(Scopes(), s) }) {
		return Token{}, "", postgres.Invalid("scopes", "can only contain available scopes")
	}
	const insert = `
		WITH fresh AS (SELECT nextval(pg_get_serial_sequence('deploy_tokens', 'id')) AS id)
		INSERT INTO deploy_tokens AS t (id, namespace_id, project_id, creator_id, name, username, token_digest, scopes, expires_at)
		SELECT id, nullif($1, 0::bigint), nullif($2, 0::bigint), $3, $4, coalesce(nullif($5, ''), 'gitlab+deploy-token-' || id), $6, $7::text[], $8
		FROM fresh RETURNING ` + columns
	plain := token.Secret(Prefix)
	t, err := postgres.One(ctx, s.db, what, scan, insert, in.Source.NamespaceID, in.Source.ProjectID, in.CreatorID, in.Name, in.Username,
		token.Digest(plain), in.Scopes, in.ExpiresAt)
	if err != nil {
		return Token{}, "", err
	}
	return t, plain, nil
}

// ByPlain returns the deploy token with a user name and a secret, expired or not.
func (s *Store) ByPlain(ctx context.Context, username, plain string) (Token, error) {
	if !token.Plausible(plain) || strings.ContainsRune(username, 0) {
		return Token{}, postgres.NotFound(what)
	}
	const query = "SELECT " + columns + " FROM deploy_tokens t WHERE t.token_digest = $1 AND t.username = $2"
	return postgres.One(ctx, s.db, what, scan, query, token.Digest(plain), username)
}

// Get returns one deploy token of a source.
func (s *Store) Get(ctx context.Context, src member.Source, id int64) (Token, error) {
	const query = "SELECT " + columns + " FROM deploy_tokens t WHERE t.id = $3 AND " + ofSource
	return postgres.One(ctx, s.db, what, scan, query, src.NamespaceID, src.ProjectID, id)
}

// Filter selects deploy tokens for List.
type Filter struct {
	Source member.Source // zero: of every project and group
	Active bool          // only those that have not expired at Now
	Now    time.Time
	Page   postgres.Page
}

const listFrom = `FROM deploy_tokens t
	WHERE (` + ofSource + ` OR ($1 = 0 AND $2 = 0)) AND (NOT $3 OR t.expires_at > $4)`

// List returns a page of deploy tokens, oldest first, and how many there are in all.
func (s *Store) List(ctx context.Context, f Filter) ([]Token, int, error) {
	l := postgres.Listing[Token]{What: what, Columns: columns, From: listFrom, OrderBy: "t.id", Scan: scan}
	return l.Page(ctx, s.db, f.Page, f.Source.NamespaceID, f.Source.ProjectID, f.Active, f.Now)
}

// Remove ends a deploy token of a source, from the next request on.
func (s *Store) Remove(ctx context.Context, src member.Source, id int64) error {
	return postgres.Exec(ctx, s.db, what, "DELETE FROM deploy_tokens t WHERE t.id = $3 AND "+ofSource, src.NamespaceID, src.ProjectID, id)
}

// Touch records that a deploy token was used, to the minute.
func (s *Store) Touch(ctx context.Context, id int64, now time.Time) error {
	const touch = `
		UPDATE deploy_tokens SET last_used_at = $2
		WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2::timestamptz - interval '1 minute')`
	_, err := s.db.Exec(ctx, touch, id, now)
	return postgres.Error(err, what)
}
