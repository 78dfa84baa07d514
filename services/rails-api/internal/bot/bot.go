// Package bot keeps the access tokens of projects and groups. Each belongs to a
// user of its own that is no person: a bot, with one membership and no other way
// in than its token, which goes with the token, the project or the group.
package bot

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

// Token is the access token of a project or group.
type Token struct {
	token.Token
	Level member.Level // of the bot there; member.NoAccess: its membership was taken away
}

// Scopes returns every scope such a token may have: none that is about the account
// of a person.
func Scopes() []string {
	return []string{
		"ai_features", token.ScopeAPI, "create_runner", "k8s_proxy", "manage_runner", token.ScopeReadAPI, "read_registry",
		token.ScopeReadRepository, "self_rotate", "write_registry", token.ScopeWriteRepository,
	}
}

// Store reads and writes bots and their tokens.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const what = "access token"

func scan(row pgx.CollectableRow) (Token, error) {
	var t Token
	err := row.Scan(append(t.Fields(), &t.Level)...)
	return t, err
}

// NewToken describes an access token to make.
type NewToken struct {
	Source    member.Source // the project or group
	Level     member.Level
	CreatorID int64
	Host      string         // of the bot's e-mail address, which no mail goes to
	Token     token.NewToken // without a user
}

// Create makes a bot with its membership and its token, whose secret it returns.
func (s *Store) Create(ctx context.Context, in NewToken) (t Token, plain string, err error) {
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		name := username(in.Source)
		in.Token.UserID, err = user.New(tx).CreateBot(ctx, user.NewBot{
			Username: name, Name: in.Token.Name, Email: name + "@noreply." + in.Host, ProjectID: in.Source.ProjectID, NamespaceID: in.Source.NamespaceID,
		})
		if err != nil {
			return err
		}
		m := member.NewMember{Source: in.Source, UserID: in.Token.UserID, Level: in.Level, CreatedByID: &in.CreatorID}
		if _, err := member.New(tx).Add(ctx, m); err != nil {
			return err
		}
		t.Level = in.Level
		t.Token, plain, err = token.New(tx).Create(ctx, in.Token)
		return err
	})
	return t, plain, postgres.Error(err, what)
}

// username is what GitLab calls a bot: project_7_bot_<random>.
func username(src member.Source) string {
	kind, id := "project", src.ProjectID
	if src.NamespaceID != 0 {
		kind, id = "group", src.NamespaceID
	}
	return fmt.Sprintf("%s_%d_bot_%s", kind, id, strings.ToLower(rand.Text()))
}

const (
	columns = token.Columns + `, coalesce((SELECT m.access_level FROM members m
		WHERE m.user_id = u.id AND (m.project_id = u.bot_project_id OR m.namespace_id = u.bot_namespace_id)), 0)`
	// $1 is the project, or else the negative number of the group.
	from = `FROM personal_access_tokens t JOIN users u ON u.id = t.user_id
		WHERE (u.bot_project_id = $1::bigint OR u.bot_namespace_id = -$1::bigint) AND `
)

// source is one number for a project or a group.
func source(src member.Source) int64 {
	if src.NamespaceID != 0 {
		return -src.NamespaceID
	}
	return src.ProjectID
}

// Get returns one token of a project or group.
func (s *Store) Get(ctx context.Context, src member.Source, id int64) (Token, error) {
	return postgres.One(ctx, s.db, what, scan, "SELECT "+columns+" "+from+"t.id = $2", source(src), id)
}

// List returns a page of the tokens of a project or group, oldest first, and how
// many there are in all. The filter's UserID is not looked at.
func (s *Store) List(ctx context.Context, src member.Source, f token.Filter) ([]Token, int, error) {
	l := postgres.Listing[Token]{What: what, Columns: columns, From: from + token.Matching, OrderBy: "t.id", Scan: scan}
	return l.Page(ctx, s.db, f.Page, source(src), f.State, f.Now, f.Search, f.Revoked)
}

// Remove ends a bot, its tokens and its membership. It reports false for a user
// that is no bot, who stays.
func (s *Store) Remove(ctx context.Context, userID int64) (bool, error) {
	tag, err := s.db.Exec(ctx, "DELETE FROM users WHERE id = $1 AND num_nonnulls(bot_project_id, bot_namespace_id) > 0", userID)
	return tag.RowsAffected() > 0, postgres.Error(err, what)
}
