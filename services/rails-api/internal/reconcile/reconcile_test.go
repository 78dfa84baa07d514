package reconcile_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/reconcile"
	"gitsplit/services/rails-api/internal/redistest"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type bench struct {
	*railstest.Bench
	pushes *counter.Counter
	deps   reconcile.Deps
	p      project.Project
}

// setup has one project that knows and holds the branch main.
func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{Bench: railstest.New(t)}
	b.pushes = counter.New(b.Redis, b.Log, b.Now)
	b.deps = reconcile.Deps{Projects: project.New(b.DB), Events: b.Events, Gitaly: b.Gitaly, Pushes: b.pushes, PerEvent: 2000, Log: b.Log, Now: b.Now}
	b.p = b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private)
	b.holds(map[string]int{"refs/heads/main": 1})
	return b
}

// holds says what the repository holds.
func (b *bench) holds(refs map[string]int) {
	oids := map[string]string{}
	for name, n := range refs {
		oids[name] = railstest.ID(n)
	}
	b.Server.SetReferences(b.p.DiskPath, oids)
}

// compare checks what comes of comparing the project.
func (b *bench) compare(grace time.Duration, want reconcile.Outcome, changes int) reconcile.Result {
	b.TB.Helper()
	got := reconcile.New(b.deps).Project(b.TB.Context(), b.p, grace)
	if got.Outcome != want || got.Changes != changes {
		b.TB.Errorf("%s with %d changes, %v; want %s with %d", got.Outcome, got.Changes, got.Err, want, changes)
	}
	return got
}

// events returns the references of the latest events, newest first.
func (b *bench) events(n int) string {
	b.TB.Helper()
	const query = `SELECT coalesce(string_agg(text, ', '), '') FROM (SELECT right(before_oid, 1) || right(after_oid, 1) || ' ' || ref AS text FROM push_event_refs
		JOIN push_events e ON e.id = push_event_id ORDER BY push_event_id DESC, position LIMIT $1) x`
	var text string
	b.Must(b.DB.QueryRow(b.TB.Context(), query, n).Scan(&text))
	return text
}

func (b *bench) count(query string) (n int) {
	b.TB.Helper()
	b.Must(b.DB.QueryRow(b.TB.Context(), query).Scan(&n))
	return n
}

func TestProject(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.compare(0, reconcile.Agrees, 0)
	refs := map[string]int{"refs/heads/a": 2, "refs/heads/main": 3, "refs/heads/z": 4, "refs/notes/n": 5, "refs/tags/v": 6, "refs/heads/\xff": 7}
	b.holds(refs)
	b.compare(0, reconcile.Recorded, 4)
	if got, want := b.events(4), "02 refs/heads/a, 13 refs/heads/main, 04 refs/heads/z, 06 refs/tags/v"; got != want {
		t.Errorf("events: %s, want %s", got, want)
	}
	b.compare(0, reconcile.Agrees, 0)
	b.holds(map[string]int{"refs/heads/main": 3})
	b.compare(0, reconcile.Recorded, 3)
	if got, want := b.events(3), "20 refs/heads/a, 40 refs/heads/z, 60 refs/tags/v"; got != want {
		t.Errorf("events: %s, want %s", got, want)
	}
	if n := b.count("SELECT count(*) FROM push_events WHERE protocol = 'reconciler' AND user_id IS NULL"); n != 2 {
		t.Errorf("%d events of the reconciler", n)
	}
	if n := b.count("SELECT count(*) FROM river_job WHERE kind = 'post_receive'"); n != 3 {
		t.Errorf("%d jobs of 3 events", n)
	}
	if !strings.Contains(b.Logged.String(), "references that no push reported") {
		t.Error("nothing in the log")
	}
}

// TestProject_firstPush: the report of a project's first push was lost.
func TestProject_firstPush(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.p = b.Project(b.p.Namespace.ID, "fresh", visibility.Private)
	b.holds(map[string]int{"refs/heads/trunk": 1})
	b.compare(0, reconcile.Recorded, 1)
	p, err := b.deps.Projects.ByID(t.Context(), b.p.ID)
	if err != nil || p.EmptyRepo || p.DefaultBranch != "trunk" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestProject_grace: a difference is left alone until its report had time to come.
func TestProject_grace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.holds(map[string]int{"refs/heads/main": 2})
	b.compare(time.Hour, reconcile.Differs, 0)
	b.Time = b.Time.Add(59 * time.Minute)
	b.compare(time.Hour, reconcile.Differs, 0)
	b.holds(map[string]int{"refs/heads/main": 1})
	b.compare(time.Hour, reconcile.Agrees, 0) // the time begins anew
	b.holds(map[string]int{"refs/heads/main": 2})
	b.Time = b.Time.Add(time.Minute)
	b.compare(time.Hour, reconcile.Differs, 0)
	b.Time = b.Time.Add(time.Hour)
	b.compare(time.Hour, reconcile.Recorded, 1)
}

// TestProject_busy: a push in flight, and a Redis that cannot say whether there is one, put it off.
func TestProject_busy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	b.holds(map[string]int{"refs/heads/main": 2})
	for _, id := range []string{"", strings.Repeat("a", 32)} {
		b.Must(b.pushes.Begin(ctx, b.p.GLRepository(), id))
		b.compare(0, reconcile.Busy, 0)
		b.Must(b.pushes.End(ctx, b.p.GLRepository(), id))
	}
	b.deps.Pushes = counter.New(redistest.Down(t), b.Log, b.Now)
	if b.compare(0, reconcile.Busy, 0).Err == nil {
		t.Error("nothing is said of Redis")
	}
}

// listing does something while references are listed.
type listing struct {
	reconcile.Gitaly
	during func()
}

func (l *listing) References(ctx context.Context, p project.Project, each func(name, oid string) error) error {
	err := l.Gitaly.References(ctx, p, each)
	if l.during != nil {
		l.during()
		l.during = nil
	}
	return err
}

// TestProject_race: a push that is recorded, or begins, while references are listed, is not recorded again.
func TestProject_race(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.holds(map[string]int{"refs/heads/main": 2})
	b.deps.Gitaly = &listing{b.Gitaly, func() { b.Must(b.pushes.Begin(context.Background(), b.p.GLRepository(), strings.Repeat("a", 32))) }}
	b.compare(0, reconcile.Busy, 0)
	b.Must(b.pushes.End(t.Context(), b.p.GLRepository(), strings.Repeat("a", 32)))
	b.deps.Gitaly = &listing{b.Gitaly, func() {
		_, err := b.Events.Record(context.Background(), event.Push{
			Project: b.p, Protocol: "ssh", Changes: []access.Change{{Old: railstest.ID(1), New: railstest.ID(2), Ref: "refs/heads/main"}},
		})
		b.Must(err)
	}}
	b.compare(0, reconcile.Busy, 0)
	b.compare(0, reconcile.Agrees, 0)
	if n := b.count("SELECT count(*) FROM push_events"); n != 2 {
		t.Errorf("%d events, want that of the first push and one more", n)
	}
}

// TestProject_baseline: of a project from before references were known, they are learned first.
func TestProject_baseline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.DB.Exec(t.Context(), "UPDATE projects SET refs_known = false")
	b.Must(err)
	b.holds(map[string]int{"refs/heads/main": 2, "refs/tags/v": 3})
	b.compare(time.Hour, reconcile.Learned, 0)
	b.compare(time.Hour, reconcile.Agrees, 0)
	b.holds(map[string]int{"refs/heads/main": 2})
	b.compare(0, reconcile.Recorded, 1)
	if got := b.events(1); got != "30 refs/tags/v" {
		t.Errorf("events: %s", got)
	}
}

// TestProject_many: more references than one event and one page take.
func TestProject_many(t *testing.T) {
	t.Parallel()
	const refs = 2500
	b := setup(t)
	oids := map[string]string{"refs/heads/main": railstest.ID(1)}
	for i := range refs {
		oids[fmt.Sprintf("refs/heads/%05d", i)] = railstest.ID(2)
	}
	b.Server.SetReferences(b.p.DiskPath, oids)
	b.compare(0, reconcile.Recorded, refs)
	if n := b.count("SELECT count(*) FROM push_events WHERE protocol = 'reconciler'"); n != 2 {
		t.Errorf("%d events", n)
	}
	maps.DeleteFunc(oids, func(name, _ string) bool { return strings.HasSuffix(name, "7") })
	b.Server.SetReferences(b.p.DiskPath, oids)
	b.compare(0, reconcile.Recorded, refs/10)
	b.compare(0, reconcile.Agrees, 0)
}

// counting counts how often it is asked.
type counting struct {
	reconcile.Gitaly
	n int
}

func (c *counting) References(ctx context.Context, p project.Project, each func(name, oid string) error) error {
	c.n++
	return c.Gitaly.References(ctx, p, each)
}

// unsorted lists references in the wrong order.
type unsorted struct{}

func (unsorted) References(_ context.Context, _ project.Project, each func(name, oid string) error) error {
	if err := each("refs/heads/b", railstest.ID(1)); err != nil {
		return err
	}
	return each("refs/heads/a", railstest.ID(1))
}

// TestProject_failed: what cannot be listed is no deletion of everything.
func TestProject_failed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, err := range []error{status.Error(codes.Unavailable, "down"), status.Error(codes.NotFound, "no repository")} {
		b.Server.SetFail(err)
		b.compare(0, reconcile.Failed, 0)
	}
	b.deps.Gitaly = unsorted{}
	b.compare(0, reconcile.Failed, 0)
	if n := b.count("SELECT count(*) FROM push_events"); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestAll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Project(b.p.Namespace.ID, "gone", visibility.Private)
	other := b.Project(b.p.Namespace.ID, "q", visibility.Private)
	b.Must(b.Gitaly.Remove(t.Context(), "default", project.HashedPath(other.ID-1)))
	b.holds(map[string]int{"refs/heads/main": 2})
	all := func() string {
		var text []string
		b.Must(reconcile.New(b.deps).All(t.Context(), 0, func(r reconcile.Result) {
			text = append(text, r.Project.Path+" "+string(r.Outcome))
		}))
		return strings.Join(text, ", ")
	}
	if got := all(); got != "p recorded, gone failed, q agrees" {
		t.Errorf("all: %s", got)
	}
	asked := &counting{Gitaly: b.Gitaly}
	b.deps.Gitaly = asked
	b.Server.SetFail(status.Error(codes.Unavailable, "down"))
	if got := all(); got != "p failed, gone failed, q failed" || asked.n != 1 {
		t.Errorf("with a server that is down: %s", got)
	}
}
