package dump_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/dump"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
	"gitsplit/services/rails-api/internal/worker"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func url(b *railstest.Bench) string { return b.DB.Config().ConnString() }

// copied is a dump in memory.
type copied struct {
	schema dump.Schema
	rows   map[string][]byte
}

func take(t *testing.T, address string, meanwhile func()) copied {
	t.Helper()
	s, err := dump.Take(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	meanwhile()
	c := copied{schema: s.Schema, rows: map[string][]byte{}}
	for _, table := range s.Schema.Tables {
		var rows bytes.Buffer
		if err := s.Copy(t.Context(), table, &rows); err != nil {
			t.Fatal(err)
		}
		c.rows[table.Name] = rows.Bytes()
	}
	return c
}

func (c copied) load(t *testing.T, address string) *dump.Load {
	t.Helper()
	l, err := dump.Begin(t.Context(), address, c.schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Pool.Close)
	for name, rows := range c.rows {
		if err := l.Fill(t.Context(), name, bytes.NewReader(rows)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestDump(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	b.Inhabited(ada.NamespaceID, "app", visibility.Private)
	b.Group("team", visibility.Public)
	inserter, err := worker.Inserter(b.DB, b.Log)
	b.Must(err)
	_, err = inserter.Insert(t.Context(), jobs.LFSCleanup{}, nil)
	b.Must(err)
	_, err = b.DB.Exec(t.Context(), "UPDATE river_job SET state = 'running', attempted_at = now()")
	b.Must(err)
	c := take(t, url(b), func() { b.User("late") }) // after the snapshot: not in it

	// Into a database that a newer start has filled already.
	into := railstest.New(t)
	into.User("seeded")
	l := c.load(t, url(into))
	b.Must(l.Tighten(t.Context()))
	if _, err := user.New(into.DB).ByUsername(t.Context(), "seeded"); err != nil {
		t.Errorf("before the commit the old rows are there: %v", err)
	}
	b.Must(l.Commit(t.Context()))
	b.Must(l.Close(t.Context()))
	into.DB.Reset() // what connections remember of the tables
	for name, there := range map[string]bool{"ada": true, "late": false, "seeded": false} {
		if _, err := user.New(into.DB).ByUsername(t.Context(), name); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	again := take(t, url(into), func() {})
	for name, rows := range c.rows {
		if name != "river_job" && !bytes.Equal(sorted(rows), sorted(again.rows[name])) {
			t.Errorf("%s:\n%s\nwas\n%s", name, again.rows[name], rows)
		}
	}
	var running int
	b.Must(into.DB.QueryRow(t.Context(), "SELECT count(*) FROM river_job WHERE state = 'running'").Scan(&running))
	if running != 0 || len(again.rows["river_job"]) == 0 {
		t.Errorf("%d jobs are left running of\n%s", running, again.rows["river_job"])
	}
	if bob := into.User("bob"); bob.ID <= ada.ID { // sequences went on
		t.Errorf("id %d", bob.ID)
	}
	if _, err := into.DB.Exec(t.Context(), "INSERT INTO push_events (project_id, protocol) VALUES (999, 'ssh')"); err == nil {
		t.Error("foreign keys are gone")
	}
}

func sorted(rows []byte) []byte {
	lines := bytes.Split(rows, []byte("\n"))
	for i := range lines { // few
		for j := range i {
			if bytes.Compare(lines[j], lines[i]) > 0 {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return bytes.Join(lines, []byte("\n"))
}

// TestLoad_older restores what an earlier version wrote: the rows become what migrations make of them.
func TestLoad_older(t *testing.T) {
	t.Parallel()
	c := copied{schema: dump.Schema{
		Versions: postgres.Versions{Own: 1, Jobs: 6},
		Tables:   []dump.Table{{Name: "users", Columns: []string{"id", "username", "name", "email"}}},
	}, rows: map[string][]byte{"users": []byte("7\tada\tAda\tada@example.org\n")}}
	b := railstest.New(t)
	l := c.load(t, url(b))
	b.Must(l.Tighten(t.Context()))
	b.Must(l.Commit(t.Context()))
	b.Must(l.Close(t.Context()))
	b.DB.Reset()
	if u, err := user.New(b.DB).ByUsername(t.Context(), "ada"); err != nil || u.ID != 7 || u.TwoFactor {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestLoad_refuses(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	b.User("kept")
	newest, err := postgres.Newest()
	b.Must(err)
	newer := dump.Schema{Versions: postgres.Versions{Own: newest.Own + 1, Jobs: newest.Jobs}}
	if _, err := dump.Begin(t.Context(), url(b), newer); errs.KindOf(err) != errs.FailedPrecondition || !strings.Contains(err.Error(), "newer gitsplit") {
		t.Errorf("a newer backup: %v", err)
	}
	c := take(t, url(b), func() {})
	l := c.load(t, url(b))
	if err := l.Fill(t.Context(), "nonsense", strings.NewReader("")); errs.KindOf(err) != errs.Invalid {
		t.Errorf("an unknown table: %v", err)
	}
	if err := l.Fill(t.Context(), "members", strings.NewReader("nonsense\n")); err == nil {
		t.Error("rows that are none are taken")
	}
	b.Must(l.Fill(t.Context(), "push_event_refs", strings.NewReader("999\t0\trefs/heads/x\t0\t0\n")))
	if err := l.Tighten(t.Context()); errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "contradict") {
		t.Errorf("rows without their event: %v", err)
	}
	b.Must(l.Close(t.Context()))
	if _, err := user.New(b.DB).ByUsername(t.Context(), "kept"); err != nil {
		t.Errorf("what was not committed changed something: %v", err)
	}
}

func TestTake_unreachable(t *testing.T) {
	t.Parallel()
	if _, err := dump.Take(t.Context(), "postgres:///x?host="+t.TempDir()); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("%v", err)
	}
	b := railstest.New(t)
	s, err := dump.Take(t.Context(), url(b))
	b.Must(err)
	defer s.Close(t.Context())
	if err := s.Copy(t.Context(), dump.Table{Name: "nonsense", Columns: []string{"x"}}, io.Discard); err == nil {
		t.Error("a table that is not there is copied")
	}
}
