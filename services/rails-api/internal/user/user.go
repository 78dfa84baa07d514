// Package user keeps the accounts of people. Each account comes with a personal
// namespace of the same path.
package user

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
)

// State says whether an account may act.
type State string

// The states. Only an active account may do anything.
const (
	Active          State = "active"
	Blocked         State = "blocked"
	Deactivated     State = "deactivated"
	PendingApproval State = "blocked_pending_approval"
	Banned          State = "banned"
)

// User is one account.
type User struct {
	ID             int64
	Username       string
	Name           string
	Email          string
	Admin          bool
	State          State
	PasswordDigest string // of package auth; "" admits no password
	TwoFactor      bool   // a password alone is not enough (package twofactor)
	Bot            bool   // no person, but who an access token of a project or group acts as (package bot)
	NamespaceID    int64  // the personal namespace; 0: a bot
	LastActivityOn *time.Time
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// Active reports whether the account may act.
func (u User) Active() bool { return u.State == Active }

// Store reads and writes accounts.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const (
	what = "user"
	// Columns are what Scan reads; the table's name in the query is u.
	Columns = `u.id, u.username, u.name, u.email, u.admin, u.state, u.password_digest, u.otp_enabled_at IS NOT NULL,
		num_nonnulls(u.bot_project_id, u.bot_namespace_id) > 0, coalesce((SELECT id FROM namespaces WHERE owner_id = u.id AND kind = 'user'), 0), u.last_activity_on, u.created_at, u.updated_at`
)

// Fields returns where to put a row of Columns, for packages that join users.
func (u *User) Fields() []any {
	return []any{
		&u.ID, &u.Username, &u.Name, &u.Email, &u.Admin, &u.State, &u.PasswordDigest, &u.TwoFactor, &u.Bot,
		&u.NamespaceID, &u.LastActivityOn, &u.CreatedAt, &u.UpdatedAt,
	}
}

func scan(row pgx.CollectableRow) (User, error) {
	var u User
	err := row.Scan(u.Fields()...)
	return u, err
}

// ByID returns one account.
func (s *Store) ByID(ctx context.Context, id int64) (User, error) {
	return postgres.One(ctx, s.db, what, scan, "SELECT "+Columns+" FROM users u WHERE u.id = $1", id)
}

// ByUsername returns the account of a user name, whatever its case.
func (s *Store) ByUsername(ctx context.Context, name string) (User, error) {
	return postgres.One(ctx, s.db, what, scan, "SELECT "+Columns+" FROM users u WHERE lower(u.username) = lower($1)", name)
}

// ByLogin returns the account of a user name or an e-mail address. Names hold no `@`.
func (s *Store) ByLogin(ctx context.Context, login string) (User, error) {
	const query = "SELECT " + Columns + " FROM users u WHERE lower(u.username) = lower($1) OR lower(u.email) = lower($1) ORDER BY u.id LIMIT 1"
	return postgres.One(ctx, s.db, what, scan, query, login)
}

// Any reports whether there is an account at all.
func (s *Store) Any(ctx context.Context) (bool, error) {
	var any bool
	err := s.db.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM users)").Scan(&any)
	return any, postgres.Error(err, what)
}

// Filter selects accounts for List.
type Filter struct {
	Username string // exactly this one
	Search   string // part of the name or user name, or the whole e-mail address
	State    State
	Admins   bool
	People   bool   // no bots
	OrderBy  string // id, name, username, created_at or updated_at; "" is id
	Asc      bool
	Page     postgres.Page
}

const listFrom = `
	FROM users u
	WHERE ($1 = '' OR lower(u.username) = lower($1))
	AND ($2 = '' OR strpos(lower(u.username), lower($2)) > 0 OR strpos(lower(u.name), lower($2)) > 0 OR lower(u.email) = lower($2))
	AND ($3 = '' OR u.state = $3)
	AND (NOT $4 OR u.admin)
	AND (NOT $5 OR num_nonnulls(u.bot_project_id, u.bot_namespace_id) = 0)`

// List returns a page of accounts and how many there are in all.
func (s *Store) List(ctx context.Context, f Filter) ([]User, int, error) {
	column, ok := map[string]string{
		"id": "u.id", "": "u.id", "name": "lower(u.name)", "username": "lower(u.username)", "created_at": "u.created_at", "updated_at": "u.updated_at",
	}[f.OrderBy]
	if !ok {
		return nil, 0, postgres.Invalid("order_by", "does not have a valid value")
	}
	dir := postgres.Direction(f.Asc)
	l := postgres.Listing[User]{What: what, Columns: Columns, From: listFrom, OrderBy: column + " " + dir + ", u.id " + dir, Scan: scan}
	return l.Page(ctx, s.db, f.Page, f.Username, f.Search, f.State, f.Admins, f.People)
}
