package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
)

// Reconciler is the protocol of events that no report brought.
const Reconciler = "reconciler"

// State says up to where the pushes of a project are recorded.
type State struct {
	LastEvent   int64      // id of the latest event, 0 for none
	Known       bool       // where its references point is known
	DifferSince *time.Time // when they were first seen to differ from the repository's
}

// State returns it.
func (r *Recorder) State(ctx context.Context, projectID int64) (State, error) {
	const query = `
		SELECT (SELECT coalesce(max(id), 0) FROM push_events WHERE project_id = p.id), refs_known, refs_differ_since
		FROM projects p WHERE id = $1`
	return postgres.One(ctx, r.db, "project", pgx.RowToStructByPos[State], query, projectID)
}

// Ref is a reference and where it points.
type Ref struct{ Name, OID string }

// References returns the references of a project as they should be, at most limit
// of them, in the order of their bytes, behind the one that is named.
func (r *Recorder) References(ctx context.Context, projectID int64, after string, limit int) ([]Ref, error) {
	const query = "SELECT ref, oid FROM project_refs WHERE project_id = $1 AND ref > $2 AND oid <> '' ORDER BY ref LIMIT $3"
	return postgres.All(ctx, r.db, "reference", pgx.RowToStructByPos[Ref], query, projectID, after, limit)
}

// ErrMoved means that a push was recorded meanwhile: compare again.
var ErrMoved = errs.New(errs.Conflict, "a push was recorded meanwhile")

// Repair records what a repository holds and no push brought: as one event with its
// job, or, while the project's references are not known yet, as known. It is
// ErrMoved when a push was recorded since state was read. It returns how many
// changes made an event.
func (r *Recorder) Repair(ctx context.Context, p project.Project, state State, changes []access.Change) (recorded int, err error) {
	err = pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) error {
		if err := r.unmoved(ctx, tx, &p, state); err != nil {
			return err
		}
		news, rest, err := reported(ctx, tx, p.ID, changes)
		if err != nil {
			return err
		}
		if !state.Known {
			news, rest = nil, changes
		}
		if err := know(ctx, tx, p.ID, state.LastEvent, rest, false, r.now()); err != nil || len(news) == 0 {
			return err
		}
		push := Push{Project: p, Protocol: Reconciler, Changes: news}
		recorded = len(news)
		_, err = r.write(ctx, tx, &push, true)
		return err
	})
	if err != nil && !errors.Is(err, ErrMoved) {
		err = fmt.Errorf("record what no push reported: %w", postgres.Error(err, "push event"))
	}
	return recorded, err
}

// Agree records that the repository holds what it should.
func (r *Recorder) Agree(ctx context.Context, p project.Project, state State) error {
	if state.Known && state.DifferSince == nil {
		return nil
	}
	return pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) error {
		if err := r.unmoved(ctx, tx, &p, state); err != nil {
			return err
		}
		return postgres.Exec(ctx, tx, "project", "UPDATE projects SET refs_known = true, refs_differ_since = NULL WHERE id = $1", p.ID)
	})
}

// Differ records since when the repository holds something else.
func (r *Recorder) Differ(ctx context.Context, projectID int64) error {
	const change = "UPDATE projects SET refs_differ_since = coalesce(refs_differ_since, $2) WHERE id = $1"
	return postgres.Exec(ctx, r.db, "project", change, projectID, r.now())
}

func (r *Recorder) unmoved(ctx context.Context, tx pgx.Tx, p *project.Project, state State) error {
	if err := lock(ctx, tx, p); err != nil {
		return err
	}
	now, err := New(tx, r.jobs, r.now).State(ctx, p.ID)
	if err == nil && (now.LastEvent != state.LastEvent || now.Known != state.Known) {
		err = ErrMoved
	}
	return err
}

// reported separates the changes that have no event from those that have: during an
// upgrade a program of the version before may record events without writing down
// where they left the references.
func reported(ctx context.Context, tx pgx.Tx, projectID int64, changes []access.Change) (news, rest []access.Change, err error) {
	const query = `
		SELECT DISTINCT ON (r.ref) r.ref, r.after_oid
		FROM push_event_refs r JOIN push_events e ON e.id = r.push_event_id
		LEFT JOIN project_refs k ON k.project_id = e.project_id AND k.ref = r.ref
		WHERE e.project_id = $1 AND e.id > coalesce(k.push_event_id, 0) AND r.ref = ANY ($2)
		ORDER BY r.ref, e.id DESC, r.position DESC`
	m := movesOf(changes)
	rows, err := tx.Query(ctx, query, projectID, m.refs)
	if err != nil {
		return nil, nil, err
	}
	last := map[string]string{}
	var ref, oid string
	if _, err = pgx.ForEachRow(rows, []any{&ref, &oid}, func() error { last[ref] = oid; return nil }); err != nil {
		return nil, nil, err
	}
	for _, c := range changes {
		if oid, ok := last[c.Ref]; ok && oidOrNone(oid) == oidOrNone(c.New) {
			rest = append(rest, c)
		} else {
			news = append(news, c)
		}
	}
	return news, rest, nil
}

// Forget drops what was kept for reports that come late, once it is older than a time.
func (r *Recorder) Forget(ctx context.Context, before time.Time) error {
	const batch = 10_000
	for _, remove := range []string{
		"DELETE FROM push_ids WHERE ctid IN (SELECT ctid FROM push_ids WHERE created_at < $1 LIMIT $2)",
		"DELETE FROM project_refs WHERE ctid IN (SELECT ctid FROM project_refs WHERE oid = '' AND updated_at < $1 LIMIT $2)",
	} {
		for {
			tag, err := r.db.Exec(ctx, remove, before, batch)
			if err != nil {
				return postgres.Error(err, "push")
			}
			if tag.RowsAffected() < batch {
				break
			}
		}
	}
	return nil
}
