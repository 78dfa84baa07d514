package event_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
	"gitsplit/services/rails-api/internal/worker"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func id(n int) string { return railstest.ID(n) }

func change(old, now int, ref string) access.Change {
	return access.Change{Old: id(old), New: id(now), Ref: ref}
}

// pushID is the identity of push n.
func pushID(n int) string { return fmt.Sprintf("%032x", n) }

// count returns how many rows a query counts.
func count(b *railstest.Bench, query string) (n int) {
	b.TB.Helper()
	b.Must(b.DB.QueryRow(b.TB.Context(), query).Scan(&n))
	return n
}

// events returns what was recorded of references, oldest first.
func events(b *railstest.Bench) []string {
	b.TB.Helper()
	rows, err := b.DB.Query(b.TB.Context(), `SELECT right(before_oid, 1) || right(after_oid, 1) || ' ' || ref || ' ' || protocol
		FROM push_event_refs JOIN push_events e ON e.id = push_event_id ORDER BY push_event_id, position`)
	b.Must(err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	b.Must(err)
	return list
}

// known returns where the references of the project should point.
func known(b *railstest.Bench, p project.Project) string {
	b.TB.Helper()
	list, err := b.Events.References(b.TB.Context(), p.ID, "", 100)
	b.Must(err)
	var out []string
	for _, r := range list {
		out = append(out, r.Name+"="+r.OID[len(r.OID)-1:])
	}
	return strings.Join(out, " ")
}

func TestRecord_once(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	p, other := b.Project(ada.NamespaceID, "p", visibility.Private), b.Project(ada.NamespaceID, "q", visibility.Private)
	push := event.Push{ID: pushID(1), Project: p, Protocol: "ssh", Changes: []access.Change{change(0, 1, "refs/heads/trunk")}}
	for range 3 {
		branch, err := b.Events.Record(t.Context(), push)
		if err != nil || branch != "trunk" {
			t.Errorf("default branch %q, %v", branch, err)
		}
	}
	if n, j := count(b, "SELECT count(*) FROM push_events"), count(b, "SELECT count(*) FROM river_job WHERE kind = 'post_receive'"); n != 1 || j != 1 {
		t.Errorf("%d events and %d jobs of one push", n, j)
	}
	push.Project = other // the identity counts within its project
	_, err := b.Events.Record(t.Context(), push)
	b.Must(err)
	push.ID, push.Changes = "", []access.Change{change(1, 2, "refs/heads/trunk")}
	for range 2 { // without an identity each report is a push
		_, err := b.Events.Record(t.Context(), push)
		b.Must(err)
	}
	if n := count(b, "SELECT count(*) FROM push_events"); n != 4 {
		t.Errorf("%d events, want 4", n)
	}
	if got := known(b, p) + "; " + known(b, other); got != "refs/heads/trunk=1; refs/heads/trunk=2" {
		t.Errorf("known: %s", got)
	}
}

// TestRecord_parallel: reports that come at the same time, each of them twice, are recorded once
// each, in one order for all that follows, and one of them settles the default branch.
func TestRecord_parallel(t *testing.T) {
	t.Parallel()
	const pushes = 12
	b := railstest.New(t)
	p := b.Project(b.User("ada").NamespaceID, "p", visibility.Private)
	var wg sync.WaitGroup
	for i := range 2 * pushes {
		wg.Go(func() {
			ref := fmt.Sprintf("refs/heads/b%d", i/2)
			_, err := b.Events.Record(context.Background(), event.Push{
				ID: pushID(i / 2), Project: p, Protocol: "ssh", Changes: []access.Change{change(0, 1, ref), change(0, 1, "refs/notes/x")},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(b, "SELECT count(*) FROM push_events"); n != pushes {
		t.Errorf("%d events of %d pushes", n, pushes)
	}
	// A transaction that committed later has later ids, of its event and of its job.
	disorder := `SELECT count(*) FROM (SELECT (args->>'push_event_id')::bigint AS event, lag((args->>'push_event_id')::bigint) OVER (ORDER BY id) AS previous
		FROM river_job WHERE kind = 'post_receive') j WHERE event < previous`
	if n := count(b, disorder); n != 0 {
		t.Errorf("%d jobs stand before that of an earlier event", n)
	}
	if n := count(b, "SELECT count(*) FROM protected_branches"); n != 1 {
		t.Errorf("%d default branches are protected", n)
	}
	now, err := project.New(b.DB).ByID(t.Context(), p.ID)
	b.Must(err)
	if first := strings.Fields(events(b)[0])[1]; "refs/heads/"+now.DefaultBranch != first {
		t.Errorf("the default branch is %q, the first push brought %s", now.DefaultBranch, first)
	}
}

// broken inserts no job: it fails, or loses its database connection.
type broken struct {
	do func(ctx context.Context, tx pgx.Tx) error
}

func (j broken) InsertTx(ctx context.Context, tx pgx.Tx, _ river.JobArgs, _ *river.InsertOpts) (*rivertype.JobInsertResult, error) {
	return nil, j.do(ctx, tx)
}

// TestRecord_faultInside: a push is recorded with all that follows, or not at all, and then may be reported again.
func TestRecord_faultInside(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p := b.Project(b.User("ada").NamespaceID, "p", visibility.Private)
	push := event.Push{ID: pushID(1), Project: p, Protocol: "ssh", Changes: []access.Change{change(0, 1, "refs/heads/trunk")}}
	const rows = `SELECT (SELECT count(*) FROM push_events) + (SELECT count(*) FROM push_event_refs) + (SELECT count(*) FROM push_ids)
		+ (SELECT count(*) FROM project_refs) + (SELECT count(*) FROM protected_branches) + (SELECT count(*) FROM river_job WHERE kind = 'post_receive')
		+ (SELECT count(*) FROM projects WHERE NOT empty_repo)`
	for name, do := range map[string]func(context.Context, pgx.Tx) error{
		"error": func(context.Context, pgx.Tx) error { return errors.New("no job") },
		"connection lost": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
			return err
		},
		"connection lost before commit": func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
			return nil
		},
	} {
		if _, err := event.New(b.DB, broken{do}, b.Now).Record(t.Context(), push); err == nil {
			t.Errorf("%s: recorded", name)
		}
		if n := count(b, rows); n != 0 {
			t.Errorf("%s: %d rows are left", name, n)
		}
	}
	_, err := b.Events.Record(t.Context(), push)
	b.Must(err)
	if n := count(b, rows); n != 7 {
		t.Errorf("%d rows of the push that succeeded", n)
	}
}

// TestRecord_disorder: reports of two pushes in the wrong order leave the reference where the later push did.
func TestRecord_disorder(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p := b.Project(b.User("ada").NamespaceID, "p", visibility.Private)
	for i, c := range []access.Change{
		change(0, 1, "refs/heads/a"), change(2, 3, "refs/heads/a"), change(1, 2, "refs/heads/a"),
		change(0, 1, "refs/heads/b"), change(1, 0, "refs/heads/b"),
		change(0, 1, "refs/notes/n"), change(0, 1, "refs/heads/\ufffd"),
	} {
		_, err := b.Events.Record(t.Context(), event.Push{ID: pushID(i), Project: p, Protocol: "http", Changes: []access.Change{c}})
		b.Must(err)
	}
	twice := []access.Change{change(0, 1, "refs/heads/c"), change(1, 2, "refs/heads/c")}
	_, err := b.Events.Record(t.Context(), event.Push{Project: p, Protocol: "http", Changes: twice})
	b.Must(err)
	if got := known(b, p); got != "refs/heads/a=3 refs/heads/c=2" {
		t.Errorf("known: %s", got)
	}
}

func TestRecord_gone(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p := b.Project(b.User("ada").NamespaceID, "p", visibility.Private)
	b.Must(b.Repositories.Delete(t.Context(), p))
	_, err := b.Events.Record(t.Context(), event.Push{ID: pushID(1), Project: p, Protocol: "ssh", Changes: []access.Change{change(0, 1, "refs/heads/a")}})
	if errs.KindOf(err) != errs.NotFound {
		t.Errorf("recorded for a project that is gone: %v", err)
	}
}

// TestRepair_lateReport: what a comparison found is not recorded again when its report comes after all.
func TestRepair_lateReport(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p, ctx := b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private), t.Context()
	repair := func(changes ...access.Change) {
		t.Helper()
		state, err := b.Events.State(ctx, p.ID)
		b.Must(err)
		n, err := b.Events.Repair(ctx, p, state, changes)
		if err != nil || n != len(changes) {
			t.Errorf("repaired %d, %v", n, err)
		}
	}
	n := 0
	report := func(changes ...access.Change) {
		t.Helper()
		n++
		for range 2 {
			_, err := b.Events.Record(ctx, event.Push{ID: pushID(n), Project: p, Protocol: "ssh", Changes: changes})
			b.Must(err)
		}
	}
	repair(change(1, 3, "refs/heads/main"), change(0, 1, "refs/heads/x"), change(0, 5, "refs/tags/v"))
	report(change(1, 2, "refs/heads/main"))                                 // the first of two pushes that were seen as one
	report(change(2, 3, "refs/heads/main"), change(0, 1, "refs/heads/new")) // the second, with more
	report(change(0, 1, "refs/heads/x"))
	report(change(1, 0, "refs/heads/x")) // a new push
	report(change(0, 1, "refs/heads/x")) // and another, like the one that was found
	repair(change(1, 0, "refs/heads/new"))
	report(change(1, 0, "refs/heads/new"))
	want := []string{
		"01 refs/heads/main ssh", "13 refs/heads/main reconciler", "01 refs/heads/x reconciler", "05 refs/tags/v reconciler", "01 refs/heads/new ssh",
		"10 refs/heads/x ssh", "01 refs/heads/x ssh", "10 refs/heads/new reconciler",
	}
	if diff := cmp.Diff(want, events(b)); diff != "" {
		t.Errorf("events: %s", diff)
	}
	if got := known(b, p); got != "refs/heads/main=3 refs/heads/x=1 refs/tags/v=5" {
		t.Errorf("known: %s", got)
	}
	if e, j := count(b, "SELECT count(*) FROM push_events"), count(b, "SELECT count(*) FROM river_job WHERE kind = 'post_receive'"); e != j {
		t.Errorf("%d events, %d jobs", e, j)
	}
}

// TestRepair_moved: what was compared before a push was recorded is not recorded after it.
func TestRepair_moved(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p, ctx := b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private), t.Context()
	state, err := b.Events.State(ctx, p.ID)
	b.Must(err)
	_, err = b.Events.Record(ctx, event.Push{Project: p, Protocol: "ssh", Changes: []access.Change{change(1, 2, "refs/heads/main")}})
	b.Must(err)
	if _, err := b.Events.Repair(ctx, p, state, []access.Change{change(1, 2, "refs/heads/main")}); !errors.Is(err, event.ErrMoved) {
		t.Errorf("Repair = %v", err)
	}
	if got := events(b); len(got) != 2 {
		t.Errorf("events %q", got)
	}
}

// TestRepair_earlierProgram: events of a program that does not write down where references point are no news.
func TestRepair_earlierProgram(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p, ctx := b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private), t.Context()
	_, err := b.DB.Exec(ctx, `WITH e AS (INSERT INTO push_events (project_id, protocol) VALUES ($1, 'ssh') RETURNING id)
		INSERT INTO push_event_refs SELECT id, 1, 'refs/heads/main', $2, $3 FROM e`, p.ID, id(1), id(2))
	b.Must(err)
	state, err := b.Events.State(ctx, p.ID)
	b.Must(err)
	if n, err := b.Events.Repair(ctx, p, state, []access.Change{change(1, 2, "refs/heads/main")}); n != 0 || err != nil {
		t.Errorf("Repair = %d, %v", n, err)
	}
	if got := known(b, p); got != "refs/heads/main=2" || len(events(b)) != 2 {
		t.Errorf("known: %s, events %q", got, events(b))
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p, ctx := b.Project(b.User("ada").NamespaceID, "p", visibility.Private), t.Context()
	jobs, err := worker.Inserter(b.DB, b.Log)
	b.Must(err)
	for i, at := range []time.Duration{-2 * time.Hour, 0} {
		r := event.New(b.DB, jobs, func() time.Time { return b.Time.Add(at) })
		for n, c := range []access.Change{change(0, 1, fmt.Sprintf("refs/heads/kept%d", i)), change(1, 0, fmt.Sprintf("refs/heads/gone%d", i))} {
			_, err := r.Record(ctx, event.Push{ID: pushID(2*i + n), Project: p, Protocol: "ssh", Changes: []access.Change{c}})
			b.Must(err)
		}
	}
	b.Must(b.Events.Forget(ctx, b.Time.Add(-time.Hour)))
	if ids, refs := count(b, "SELECT count(*) FROM push_ids"), count(b, "SELECT count(*) FROM project_refs"); ids != 2 || refs != 3 {
		t.Errorf("%d identities and %d references are left, want 2 and 3", ids, refs)
	}
}
