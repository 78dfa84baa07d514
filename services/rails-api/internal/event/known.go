package event

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/refname"
)

// Tracked reports whether it is known where a reference points: branches and tags
// are, as long as their names are text.
func Tracked(ref string) bool {
	return (strings.HasPrefix(ref, refname.Heads) || strings.HasPrefix(ref, refname.Tags)) &&
		utf8.ValidString(ref) && !strings.ContainsRune(ref, utf8.RuneError)
}

// moves are changes of tracked references as columns, "" in place of the id of
// nothing. Of two changes of one reference the later counts.
type moves struct{ refs, before, after []string }

func movesOf(changes []access.Change) moves {
	m, at := moves{}, make(map[string]int, len(changes))
	for _, c := range changes {
		if !Tracked(c.Ref) {
			continue
		}
		i, again := at[c.Ref]
		if !again {
			i = len(m.refs)
			at[c.Ref] = i
			m.refs, m.before, m.after = append(m.refs, c.Ref), append(m.before, oidOrNone(c.Old)), append(m.after, "")
		}
		m.after[i] = oidOrNone(c.New)
	}
	return m
}

func oidOrNone(oid string) string {
	if strings.Trim(oid, "0") == "" {
		return ""
	}
	return oid
}

// know writes down where an event left the references of a project.
//
// Reports of two pushes may come in the wrong order when their sender does not keep
// it. The later push is known by its beginning where the earlier one ended: the
// reference stays where the later one left it.
func know(ctx context.Context, tx pgx.Tx, projectID, eventID int64, changes []access.Change, reconciled bool, now time.Time) error {
	const upsert = `
		INSERT INTO project_refs AS known (project_id, ref, before_oid, oid, push_event_id, reconciled, updated_at)
		SELECT $1, ref, before_oid, oid, $2, $3, $4 FROM unnest($5::text[], $6::text[], $7::text[]) AS move (ref, before_oid, oid)
		ON CONFLICT (project_id, ref) DO UPDATE SET before_oid = excluded.before_oid, oid = excluded.oid,
			push_event_id = excluded.push_event_id, reconciled = excluded.reconciled, updated_at = excluded.updated_at
		WHERE known.oid = excluded.before_oid OR known.before_oid <> excluded.oid`
	m := movesOf(changes)
	if len(m.refs) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, upsert, projectID, eventID, reconciled, now, m.refs, m.before, m.after)
	return err
}

// claim returns the changes of a push that are not recorded yet. A comparison may
// have found what a push did before its report came, and may have seen two pushes
// as one: a change is its doing if it begins where the recorded one began, or ends
// where that ended.
func (r *Recorder) claim(ctx context.Context, tx pgx.Tx, p Push) ([]access.Change, error) {
	const query = "SELECT ref, before_oid, oid FROM project_refs WHERE project_id = $1 AND reconciled AND ref = ANY ($2)"
	rows, err := tx.Query(ctx, query, p.Project.ID, movesOf(p.Changes).refs)
	if err != nil {
		return nil, err
	}
	found := map[string][2]string{}
	var ref, before, oid string
	_, err = pgx.ForEachRow(rows, []any{&ref, &before, &oid}, func() error {
		found[ref] = [2]string{before, oid}
		return nil
	})
	if err != nil || len(found) == 0 {
		return p.Changes, err
	}
	var claimed []access.Change
	left := slices.DeleteFunc(slices.Clone(p.Changes), func(c access.Change) bool {
		known, ok := found[c.Ref]
		old, id := oidOrNone(c.Old), oidOrNone(c.New)
		if !ok || known[1] == old || (known[0] != old && known[1] != id) {
			return false
		}
		claimed = append(claimed, c)
		return true
	})
	const settle = `
		UPDATE project_refs k SET before_oid = move.oid, reconciled = (k.oid <> move.oid)
		FROM unnest($2::text[], $3::text[]) AS move (ref, oid) WHERE k.project_id = $1 AND k.ref = move.ref`
	m := movesOf(claimed)
	_, err = tx.Exec(ctx, settle, p.Project.ID, m.refs, m.after)
	return left, err
}
