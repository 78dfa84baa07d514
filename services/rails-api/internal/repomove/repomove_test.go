package repomove_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/repomove"
	"gitsplit/services/rails-api/internal/visibility"
	"gitsplit/services/rails-api/internal/worker"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// site is an installation with two storages and a project on the first.
type site struct {
	*railstest.Bench
	second  *gitalytest.Server
	pushes  *counter.Counter
	inserts *river.Client[pgx.Tx]
	p       project.Project
	both    *gitaly.Client // knows both storages
	deps    repomove.Deps
}

func setup(t *testing.T) *site {
	t.Helper()
	b := railstest.New(t)
	s := &site{Bench: b, second: gitalytest.New(t), pushes: counter.New(b.Redis, b.Log, b.Now)}
	s.second.Storage = "second"
	network := gitalytest.Network{"default": b.Server, "second": s.second}
	b.Server.Peers, s.second.Peers = network, network
	var err error
	s.both, err = gitaly.New(network, []gitaly.Storage{{Name: "default", Address: "default", Weight: 1}, {Name: "second", Address: "second"}}, func(int) int { return 0 })
	b.Must(err)
	s.inserts, err = worker.Inserter(b.DB, b.Log)
	b.Must(err)
	s.p = b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private)
	s.push(1)
	s.deps = repomove.Deps{DB: b.DB, Gitaly: s.both, Pushes: aged{s.pushes, time.Hour}, Jobs: s.inserts, Log: b.Log, Times: repomove.Times{
		Window: time.Minute, Drain: 100 * time.Millisecond, Keep: time.Hour,
	}}
	return s
}

// push has main point at commit n, at the first storage.
func (s *site) push(n int) {
	s.Server.SetReferences(s.p.DiskPath, map[string]string{"refs/heads/main": railstest.ID(n)})
}

// aged is a Redis that has run for some time.
type aged struct {
	*counter.Counter
	age time.Duration
}

func (a aged) Age(context.Context) (time.Duration, error) { return a.age, nil }

func (s *site) request() repomove.Move {
	s.TB.Helper()
	m, err := repomove.Request(s.TB.Context(), s.DB, s.inserts, s.p, "second")
	s.Must(err)
	return m
}

// run attempts what is due and returns the move after it.
func (s *site) run(m repomove.Move) repomove.Move {
	s.TB.Helper()
	s.Must(repomove.New(s.deps).Run(s.TB.Context()))
	return s.read(m)
}

func (s *site) read(m repomove.Move) repomove.Move {
	s.TB.Helper()
	m, err := repomove.ByID(s.TB.Context(), s.DB, m.ID)
	s.Must(err)
	return m
}

func (s *site) project() project.Project {
	s.TB.Helper()
	p, err := project.New(s.DB).ByID(s.TB.Context(), s.p.ID)
	s.Must(err)
	return p
}

// unmoved checks that the project is where it was, and takes pushes.
func (s *site) unmoved(when string) {
	s.TB.Helper()
	if p := s.project(); p.Storage != "default" || p.DiskPath != s.p.DiskPath || p.RepositoryReadOnly {
		s.TB.Errorf("%s: on %s at %s, read-only: %v", when, p.Storage, p.DiskPath, p.RepositoryReadOnly)
	}
}

// removals returns the copies that jobs will remove.
func (s *site) removals() string {
	s.TB.Helper()
	rows, err := s.DB.Query(s.TB.Context(), "SELECT args->>'storage' || ' ' || (args->>'path') FROM river_job WHERE kind = 'remove_copy' ORDER BY id")
	s.Must(err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	s.Must(err)
	return strings.Join(list, ", ")
}

// head is where main points in the repository as it is registered.
func (s *site) head() string {
	s.TB.Helper()
	p := s.project()
	server := map[string]*gitalytest.Server{"default": s.Server, "second": s.second}[p.Storage]
	if r := server.Repository(p.DiskPath); r != nil {
		return r.OIDs["refs/heads/main"]
	}
	return ""
}

func (s *site) admit(path string) bool {
	s.TB.Helper()
	ok, err := project.New(s.DB).Admit(s.TB.Context(), s.p.ID, path, true)
	s.Must(err)
	return ok
}

// TestRun moves a project to and fro, with a push while it is copied for the first time.
func TestRun(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var once sync.Once
	s.second.Replicating = func(context.Context) error { once.Do(func() { s.push(2) }); return nil }
	m := s.run(s.request())
	p := s.project()
	if m.State != repomove.Finished || p.Storage != "second" || p.DiskPath != project.MovedPath(p.ID, m.ID) || p.RepositoryReadOnly || s.head() != railstest.ID(2) {
		t.Fatalf("%+v: on %s at %s, main is %s", m, p.Storage, p.DiskPath, s.head())
	}
	if head := s.second.Repository(p.DiskPath).HEAD; head != "refs/heads/main" {
		t.Errorf("HEAD %q", head)
	}
	if got := s.removals(); got != "default "+s.p.DiskPath {
		t.Errorf("will be removed: %s", got)
	}
	if s.admit(s.p.DiskPath) || !s.admit(p.DiskPath) || !s.admit("") || !p.Left(s.p.DiskPath) || p.Left(p.DiskPath) || p.Left("+gitaly/x") {
		t.Error("a push to where the repository was is admitted, or one to where it is, is not")
	}
	back, err := repomove.Request(t.Context(), s.DB, s.inserts, p, "default")
	s.Must(err)
	if back = s.run(back); back.State != repomove.Finished || s.project().DiskPath == s.p.DiskPath || s.head() != railstest.ID(2) {
		t.Errorf("back: %+v, at %s", back, s.project().DiskPath)
	}
}

func TestRequest_refuses(t *testing.T) {
	t.Parallel()
	s := setup(t)
	if _, err := repomove.Request(t.Context(), s.DB, s.inserts, s.p, "default"); errs.KindOf(err) != errs.Conflict {
		t.Errorf("to where it is: %v", err)
	}
	s.request()
	if _, err := repomove.Request(t.Context(), s.DB, s.inserts, s.p, "second"); errs.KindOf(err) != errs.Conflict {
		t.Errorf("twice: %v", err)
	}
}

// TestRun_pushInFlight: a push that was admitted is waited for, one that comes is refused, and when it does not end pushes go on.
func TestRun_pushInFlight(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.Must(s.pushes.Begin(t.Context(), s.p.GLRepository(), "one"))
	m := s.run(s.request())
	if m.State != repomove.Scheduled || m.Attempts != 1 || !strings.Contains(m.Note, "in flight") {
		t.Errorf("%+v", m)
	}
	s.unmoved("a push is in flight")
	s.deps.Pushes = ending{aged{s.pushes, time.Hour}, s}
	if m = s.run(m); m.State != repomove.Finished || s.head() != railstest.ID(5) {
		t.Errorf("%+v, main is %s", m, s.head())
	}
}

// ending is a push in flight that moves its reference, and ends, once pushes are held.
type ending struct {
	aged
	s *site
}

func (e ending) InFlight(ctx context.Context, gl string) (int64, error) {
	n, err := e.aged.InFlight(ctx, gl)
	if e.s.admit(e.s.p.DiskPath) || !e.s.project().RepositoryReadOnly {
		e.s.TB.Error("pushes are not held")
	}
	e.s.push(5)
	return n, errors.Join(err, e.s.pushes.End(ctx, gl, "one"))
}

// TestRun_dies: whatever the mover does when it dies, the project is where it was and takes pushes when the hold has passed, and the next
// mover brings it over.
func TestRun_dies(t *testing.T) {
	t.Parallel()
	for dies := 1; dies <= 3; dies++ {
		t.Run(fmt.Sprintf("copy %d", dies), func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			n := 0
			s.second.Replicating = func(ctx context.Context) error {
				if n++; n == dies { // the third is that with pushes held
					if held := !s.admit(s.p.DiskPath); held != (dies == 3) {
						t.Errorf("pushes are held: %v", held)
					}
					cancel()
					<-ctx.Done()
				}
				return ctx.Err()
			}
			m := s.request()
			if err := repomove.New(s.deps).Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
			s.unmoved("the mover ended")
			s.push(7)
			if m = s.run(m); m.State != repomove.Finished || s.head() != railstest.ID(7) {
				t.Errorf("%+v, main is %s", m, s.head())
			}
		})
	}
}

// TestRun_holdPasses: a mover that was away for longer than its hold changes nothing, since pushes may have come; neither does one whose
// hold another has replaced.
func TestRun_holdPasses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"passed":   "UPDATE projects SET read_only_until = clock_timestamp() - interval '1 second'",
		"another":  "UPDATE projects SET read_only_until = read_only_until + interval '1 second'",
		"released": "UPDATE projects SET read_only_until = NULL",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			n := 0
			s.second.Replicating = func(ctx context.Context) error {
				if n++; n != 3 {
					return nil
				}
				_, err := s.DB.Exec(ctx, change)
				return err
			}
			m := s.run(s.request())
			if p := s.project(); m.State != repomove.Scheduled || p.Storage != "default" || s.removals() != "" {
				t.Errorf("%+v, on %s", m, p.Storage)
			}
			_, err := s.DB.Exec(t.Context(), "UPDATE projects SET read_only_until = NULL")
			s.Must(err)
			if m = s.run(m); m.State != repomove.Finished {
				t.Errorf("again: %+v", m)
			}
		})
	}
}

// TestRun_differs: a copy that is not the original's is never switched to.
func TestRun_differs(t *testing.T) {
	t.Parallel()
	s := setup(t)
	n := 0
	s.second.Replicating = func(context.Context) error {
		if n++; n == 3 { // after the source was read: nobody may write there now
			s.push(9)
		}
		return nil
	}
	m := s.run(s.request())
	if m.State != repomove.Scheduled || !strings.Contains(m.Note, "checksum") {
		t.Errorf("%+v", m)
	}
	s.unmoved("the copies differ")
	if m = s.run(m); m.State != repomove.Finished || s.head() != railstest.ID(9) {
		t.Errorf("again: %+v, main is %s", m, s.head())
	}
}

// TestRun_givesUp: after many failures the project stays, and the rest of the copy goes.
func TestRun_givesUp(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.second.SetFail(status.Error(codes.Unavailable, "down"))
	m := s.request()
	for m.State == repomove.Scheduled {
		m = s.run(m)
	}
	if m.State != repomove.Failed || m.Attempts != 40 || m.Note == "" || !strings.HasSuffix(s.removals(), ", second "+m.TargetPath) {
		t.Errorf("%+v, will be removed: %s", m, s.removals())
	}
	s.unmoved("given up")
	s.second.SetFail(nil)
	if m = s.run(s.request()); m.State != repomove.Finished {
		t.Errorf("asked for again: %+v", m)
	}
}

// TestRun_gone: a project that is removed meanwhile leaves no copy.
func TestRun_gone(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var once sync.Once
	s.second.Replicating = func(ctx context.Context) (err error) {
		once.Do(func() { err = s.Repositories.Delete(ctx, s.p) })
		return err
	}
	m := s.run(s.request())
	if m.State != repomove.Failed || !strings.Contains(m.Note, "gone") || s.removals() != "second "+m.TargetPath {
		t.Errorf("%+v, will be removed: %s", m, s.removals())
	}
	mover := repomove.New(s.deps)
	for range 2 {
		s.Must(mover.Remove(t.Context(), jobs.RemoveCopy{Storage: "second", Path: m.TargetPath}))
	}
	if s.second.Repository(m.TargetPath) != nil {
		t.Error("the copy is still there")
	}
}

// TestRun_uncounted: a push that Redis did not count may be in flight, and nobody would know.
func TestRun_uncounted(t *testing.T) {
	t.Parallel()
	s := setup(t)
	if ok, err := project.New(s.DB).Admit(t.Context(), s.p.ID, s.p.DiskPath, false); !ok || err != nil {
		t.Fatalf("not admitted: %v", err)
	}
	m := s.run(s.request())
	if m.State != repomove.Scheduled || !strings.Contains(m.Note, "Redis") {
		t.Errorf("%+v", m)
	}
	s.unmoved("an uncounted push")
}

// TestRun_redisRestarted: a push that was counted by a Redis that has been started again since may be in flight, and nobody would know. No
// push is older than its project.
func TestRun_redisRestarted(t *testing.T) {
	t.Parallel()
	s := setup(t)
	_, err := s.DB.Exec(t.Context(), "UPDATE projects SET created_at = clock_timestamp() - interval '5 minutes'")
	s.Must(err)
	m := s.request()
	for _, tc := range []struct {
		age   time.Duration
		state string
	}{{4 * time.Minute, repomove.Scheduled}, {6 * time.Minute, repomove.Finished}} {
		s.deps.Pushes = aged{s.pushes, tc.age}
		if m = s.run(m); m.State != tc.state || tc.state == repomove.Scheduled && !strings.Contains(m.Note, "redis was started 4m0s ago") {
			t.Errorf("after %v: %+v", tc.age, m)
		}
	}
	_, err = s.DB.Exec(t.Context(), "UPDATE projects SET created_at = clock_timestamp() - interval '5 days'")
	s.Must(err)
	s.deps.Pushes = aged{s.pushes, 10 * time.Minute}
	back, err := repomove.Request(t.Context(), s.DB, s.inserts, s.project(), "default")
	s.Must(err)
	if back = s.run(back); back.State != repomove.Finished {
		t.Errorf("%+v", back)
	}
}

// TestRun_alone: of two movers one works.
func TestRun_alone(t *testing.T) {
	t.Parallel()
	s := setup(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.second.Replicating = func(context.Context) error {
		once.Do(func() { close(entered); <-leave })
		return nil
	}
	m := s.request()
	first := make(chan error)
	go func() { first <- repomove.New(s.deps).Run(context.WithoutCancel(t.Context())) }()
	<-entered
	if got := s.run(m); got.State != repomove.Copying {
		t.Errorf("the second mover: %+v", got)
	}
	close(leave)
	if err := <-first; err != nil || s.read(m).State != repomove.Finished {
		t.Errorf("the first: %v, %+v", err, s.read(m))
	}
}

// TestRun_stale: a mover that lost its lock and does not know goes on copying while another one moves the project and people push to where
// it is then.
func TestRun_stale(t *testing.T) {
	t.Parallel()
	s := setup(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	var copies atomic.Int32
	s.second.Replicating = func(context.Context) error {
		if copies.Add(1) == 1 {
			close(entered)
			<-leave
		}
		return nil
	}
	m := s.request()
	first := make(chan error)
	go func() { first <- repomove.New(s.deps).Run(context.WithoutCancel(t.Context())) }()
	<-entered
	const cut = `SELECT pg_terminate_backend(pid, 60000) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	var ended bool
	s.Must(s.DB.QueryRow(t.Context(), cut).Scan(&ended))
	if m = s.run(m); !ended || m.State != repomove.Finished {
		t.Errorf("the second: %+v", m)
	}
	s.second.SetReferences(s.project().DiskPath, map[string]string{"refs/heads/main": railstest.ID(3)})
	close(leave)
	if err := <-first; err != nil || s.read(m).State != repomove.Finished || s.head() != railstest.ID(3) {
		t.Errorf("the first: %v, %+v, main is %s", err, s.read(m), s.head())
	}
}

// TestRun_unanswered: what a storage server was asked to copy and did not answer for, it may still be copying.
func TestRun_unanswered(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.second.Replicating = func(context.Context) error { return status.Error(codes.Unavailable, "the connection is lost") }
	m := s.request()
	again := s.run(m)
	if again.State != repomove.Scheduled || again.TargetPath == m.TargetPath || s.removals() != "second "+m.TargetPath {
		t.Errorf("%+v, will be removed: %s", again, s.removals())
	}
	s.second.Replicating = nil
	if m = s.run(m); m.State != repomove.Finished || s.project().DiskPath != again.TargetPath {
		t.Errorf("%+v, at %s", m, s.project().DiskPath)
	}
}

// TestRun_pool: members of an object pool move, the fork as its source; the pool stays for the copies before, and goes with the last member.
func TestRun_pool(t *testing.T) {
	t.Parallel()
	s := setup(t)
	source := s.Inhabited(s.User("bob").NamespaceID, "source", visibility.Public)
	repositories := projectrepo.New(s.DB, s.both, s.inserts, s.Log, s.Now)
	fork, err := repositories.Fork(t.Context(), source, project.NewProject{NamespaceID: s.User("eve").NamespaceID, Path: "fork", Visibility: visibility.Public}, "")
	s.Must(err)
	s.Must(repositories.JoinPool(t.Context(), fork.ID))
	pool := s.Server.Repository(source.DiskPath).Pool
	if pool == "" || s.Server.Repository(fork.DiskPath).Pool != pool {
		t.Fatalf("the pool is %q", pool)
	}
	mover := repomove.New(s.deps)
	for _, p := range []*project.Project{&fork, &source} {
		old := jobs.RemoveCopy{Storage: p.Storage, Path: p.DiskPath}
		m, err := repomove.Request(t.Context(), s.DB, s.inserts, *p, "second")
		s.Must(err)
		if m = s.run(m); m.State != repomove.Finished {
			t.Fatalf("%s: %+v", p.FullPath, m)
		}
		*p, err = project.New(s.DB).ByID(t.Context(), p.ID)
		s.Must(err)
		if r := s.second.Repository(p.DiskPath); r == nil || r.Pool != "" || len(r.Branches) != 1 || s.Server.Repository(pool) == nil {
			t.Errorf("%s: %+v", p.FullPath, r)
		}
		s.Must(mover.Remove(t.Context(), old))
	}
	for i, p := range []project.Project{source, fork} {
		s.Must(repositories.Delete(t.Context(), p))
		s.Must(repositories.Cleanup(t.Context(), p.ID))
		if left := s.Server.Repository(pool) != nil; left != (i == 0) || s.second.Repository(p.DiskPath) != nil {
			t.Errorf("after %s: the pool is there: %v", p.FullPath, left)
		}
	}
}

// TestRemove keeps what is in use, and what somebody has written to.
func TestRemove(t *testing.T) {
	t.Parallel()
	s := setup(t)
	mover := repomove.New(s.deps)
	if err := mover.Remove(t.Context(), jobs.RemoveCopy{Storage: "default", Path: s.p.DiskPath}); err == nil || s.Server.Repository(s.p.DiskPath) == nil {
		t.Errorf("a repository in use: %v", err)
	}
	sum, err := s.deps.Gitaly.Checksum(t.Context(), s.p)
	s.Must(err)
	s.run(s.request())
	old := jobs.RemoveCopy{Storage: "default", Path: s.p.DiskPath, Checksum: sum}
	s.push(8)
	if err := mover.Remove(t.Context(), old); err == nil || s.Server.Repository(s.p.DiskPath) == nil {
		t.Errorf("one that somebody wrote to: %v", err)
	}
	s.push(1)
	for range 2 {
		s.Must(mover.Remove(t.Context(), old))
	}
	if s.Server.Repository(s.p.DiskPath) != nil || s.head() != railstest.ID(1) {
		t.Errorf("the copy is still there, or main is %s", s.head())
	}
}
