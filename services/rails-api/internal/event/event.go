// Package event records pushes. The row of a push, the rows of its references,
// the state of the project that follows from them and the job that does the rest
// are written in one transaction: what follows from a push follows from its row.
package event

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitsplit/kit/correlation"
	"gitsplit/kit/fault"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/refname"
)

// Push is one push that git has finished.
type Push struct {
	// ID is the identity that gitaly gave the push, 32 hexadecimal digits; "" for none.
	ID       string
	Project  project.Project
	UserID   int64 // 0: the user is gone, or nobody knows
	KeyID    int64 // 0: no SSH key
	Protocol string
	Options  []string
	Changes  []access.Change
}

// Jobs inserts jobs; River's client does.
type Jobs interface {
	InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
}

// Recorder records pushes.
type Recorder struct {
	db   postgres.DBTX
	jobs Jobs
	now  func() time.Time
}

// New returns a Recorder.
func New(db postgres.DBTX, j Jobs, now func() time.Time) *Recorder {
	if fault.Enabled {
		j = heldJobs{j}
	}
	return &Recorder{db: db, jobs: j, now: now}
}

// Record writes a push down and returns the project's default branch after it.
// The first branch of a repository settles which one that is, and protects it.
//
// Pushes of one project are recorded one after the other: their events have the
// order in which they were committed. A push with an ID is recorded once, however
// often it is reported; so are changes that a comparison found before their report
// came (Repair).
func (r *Recorder) Record(ctx context.Context, p Push) (defaultBranch string, err error) {
	err = pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, &p.Project); err != nil {
			return err
		}
		if first, err := r.first(ctx, tx, p); err != nil || !first {
			return err
		}
		found, err := r.claim(ctx, tx, p)
		if err != nil {
			return err
		}
		if p.Changes = found; len(found) == 0 {
			return nil
		}
		_, err = r.write(ctx, tx, &p, false)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("record a push: %w", postgres.Error(err, "push event"))
	}
	return p.Project.DefaultBranch, nil
}

// lock begins the turn of one push, with the project as the one before left it.
func lock(ctx context.Context, tx pgx.Tx, p *project.Project) (err error) {
	p.DefaultBranch, p.EmptyRepo, err = project.New(tx).Lock(ctx, p.ID)
	return err
}

// first reports whether this is the first report of a push.
func (r *Recorder) first(ctx context.Context, tx pgx.Tx, p Push) (bool, error) {
	if p.ID == "" {
		return true, nil
	}
	const insert = "INSERT INTO push_ids (project_id, push_id, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
	tag, err := tx.Exec(ctx, insert, p.Project.ID, p.ID, r.now())
	return tag.RowsAffected() == 1, err
}

// write inserts the event, what follows from it and its job, and updates p.Project.
func (r *Recorder) write(ctx context.Context, tx pgx.Tx, p *Push, reconciled bool) (id int64, err error) {
	if id, err = insert(ctx, tx, *p); err != nil {
		return 0, err
	}
	first := FirstBranch(p.Project, p.Changes)
	if first != "" {
		p.Project.DefaultBranch = first
		if err := protect(ctx, tx, p.Project.ID, first); err != nil {
			return 0, err
		}
	}
	if err := project.New(tx).MarkPushed(ctx, p.Project.ID, p.Project.DefaultBranch, first != "", r.now()); err != nil {
		return 0, err
	}
	if err := know(ctx, tx, p.Project.ID, id, p.Changes, reconciled, r.now()); err != nil {
		return 0, err
	}
	_, err = r.jobs.InsertTx(ctx, tx, jobs.PostReceive{PushEventID: id, ProjectID: p.Project.ID, CorrelationID: correlation.ID(ctx)}, nil)
	return id, err
}

func insert(ctx context.Context, tx pgx.Tx, p Push) (int64, error) {
	const event = `
		INSERT INTO push_events (project_id, user_id, key_id, protocol, push_options, correlation_id)
		VALUES ($1, nullif($2, 0::bigint), nullif($3, 0::bigint), $4, $5, $6) RETURNING id`
	var id int64
	err := tx.QueryRow(ctx, event, p.Project.ID, p.UserID, p.KeyID, p.Protocol, append([]string{}, p.Options...), correlation.ID(ctx)).Scan(&id)
	if err != nil {
		return 0, err
	}
	const refs = `
		INSERT INTO push_event_refs (push_event_id, position, ref, before_oid, after_oid)
		SELECT $1, position, ref, before_oid, after_oid
		FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS change (ref, before_oid, after_oid, position)`
	n := len(p.Changes)
	names, before, after := make([]string, n), make([]string, n), make([]string, n)
	for i, c := range p.Changes {
		names[i], before[i], after[i] = c.Ref, c.Old, c.New
	}
	_, err = tx.Exec(ctx, refs, id, names, before, after)
	return id, err
}

// FirstBranch returns the branch that becomes the default one by this push, or ""
// when the project has one: the intended default branch if it was pushed, else
// the first of those pushed.
func FirstBranch(p project.Project, changes []access.Change) string {
	first := ""
	for _, c := range changes {
		branch, ok := strings.CutPrefix(c.Ref, refname.Heads)
		if !p.EmptyRepo || !ok || c.Deletes() {
			continue
		}
		if branch == p.DefaultBranch {
			return branch
		}
		if first == "" {
			first = branch
		}
	}
	return first
}

func protect(ctx context.Context, tx pgx.Tx, projectID int64, branch string) error {
	rules := protection.New(tx)
	all, err := rules.All(ctx, projectID)
	if err != nil || len(protection.Covering(all, branch)) > 0 {
		return err
	}
	_, err = rules.Create(ctx, access.DefaultRule(projectID, branch))
	return err
}

// Renames reports whether a recorded push has made or removed a branch.
func Renames(ctx context.Context, db postgres.DBTX, id int64) (bool, error) {
	const query = `SELECT EXISTS (SELECT 1 FROM push_event_refs
		WHERE push_event_id = $1 AND starts_with(ref, 'refs/heads/') AND '' IN (trim(before_oid, '0'), trim(after_oid, '0')))`
	var found bool
	err := db.QueryRow(ctx, query, id).Scan(&found)
	return found, postgres.Error(err, "push event")
}
