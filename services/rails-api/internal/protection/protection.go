// Package protection keeps the rules of protected branches. A rule's name may
// hold `*`, which stands for any text, slashes too.
package protection

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/postgres"
)

// Rule protects the branches whose name it matches.
type Rule struct {
	ID, ProjectID  int64
	Name           string       // a branch name or a pattern
	PushLevel      member.Level // 0 nobody, 30, 40 or 60 administrators
	MergeLevel     member.Level
	AllowForcePush bool
}

// Match reports whether a pattern covers a branch. It takes time linear in the
// length of the name for each `*`-free part of the pattern.
func Match(pattern, branch string) bool {
	head, tail, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == branch
	}
	if !strings.HasPrefix(branch, head) {
		return false
	}
	branch = branch[len(head):]
	for {
		part, rest, more := strings.Cut(tail, "*")
		if !more {
			return strings.HasSuffix(branch, part)
		}
		at := strings.Index(branch, part) // the leftmost place leaves the most for what follows
		if at < 0 {
			return false
		}
		branch, tail = branch[at+len(part):], rest
	}
}

// Covering returns the rules that match a branch.
func Covering(rules []Rule, branch string) []Rule {
	var found []Rule
	for _, r := range rules {
		if Match(r.Name, branch) {
			found = append(found, r)
		}
	}
	return found
}

// Store reads and writes rules.
type Store struct{ db postgres.DBTX }

// New returns a Store on a pool or a transaction.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const (
	what    = "protected branch"
	columns = "b.id, b.project_id, b.name, b.push_access_level, b.merge_access_level, b.allow_force_push"
)

func scan(row pgx.CollectableRow) (Rule, error) {
	var r Rule
	err := row.Scan(&r.ID, &r.ProjectID, &r.Name, &r.PushLevel, &r.MergeLevel, &r.AllowForcePush)
	return r, err
}

// Create adds a rule. It is errs.Exists when the project has one of that name.
func (s *Store) Create(ctx context.Context, r Rule) (Rule, error) {
	if strings.TrimSpace(r.Name) == "" {
		return Rule{}, postgres.Invalid("name", "can't be blank")
	}
	const insert = `
		INSERT INTO protected_branches AS b (project_id, name, push_access_level, merge_access_level, allow_force_push)
		VALUES ($1, $2, $3, $4, $5) RETURNING ` + columns
	return postgres.One(ctx, s.db, what, scan, insert, r.ProjectID, r.Name, r.PushLevel, r.MergeLevel, r.AllowForcePush)
}

// Get returns the rule with exactly this name.
func (s *Store) Get(ctx context.Context, projectID int64, name string) (Rule, error) {
	return postgres.One(ctx, s.db, what, scan, "SELECT "+columns+" FROM protected_branches b WHERE b.project_id = $1 AND b.name = $2", projectID, name)
}

// All returns every rule of a project.
func (s *Store) All(ctx context.Context, projectID int64) ([]Rule, error) {
	return postgres.All(ctx, s.db, what, scan, "SELECT "+columns+" FROM protected_branches b WHERE b.project_id = $1 ORDER BY b.name", projectID)
}

// List returns a page of the rules whose name holds search, and how many there are.
func (s *Store) List(ctx context.Context, projectID int64, search string, p postgres.Page) ([]Rule, int, error) {
	const from = "FROM protected_branches b WHERE b.project_id = $1 AND ($2 = '' OR strpos(lower(b.name), lower($2)) > 0)"
	l := postgres.Listing[Rule]{What: what, Columns: columns, From: from, OrderBy: "b.name", Scan: scan}
	return l.Page(ctx, s.db, p, projectID, search)
}

// Update sets the levels and the force-push permission of the rule with r's project and name.
func (s *Store) Update(ctx context.Context, r Rule) (Rule, error) {
	const change = `
		UPDATE protected_branches AS b SET push_access_level = $3, merge_access_level = $4, allow_force_push = $5, updated_at = now()
		WHERE b.project_id = $1 AND b.name = $2 RETURNING ` + columns
	return postgres.One(ctx, s.db, what, scan, change, r.ProjectID, r.Name, r.PushLevel, r.MergeLevel, r.AllowForcePush)
}

// Delete removes a rule.
func (s *Store) Delete(ctx context.Context, projectID int64, name string) error {
	return postgres.Exec(ctx, s.db, what, "DELETE FROM protected_branches WHERE project_id = $1 AND name = $2", projectID, name)
}
