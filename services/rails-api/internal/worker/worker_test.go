package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/branchcache"
	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/reconcile"
	"gitsplit/services/rails-api/internal/visibility"
	"gitsplit/services/rails-api/internal/worker"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// start runs the worker and returns the ends of its jobs.
func start(t *testing.T, b *railstest.Bench) <-chan *river.Event {
	t.Helper()
	_, done := run(t, b, b.Files)
	return done
}

func run(t *testing.T, b *railstest.Bench, files worker.Files) (*river.Client[pgx.Tx], <-chan *river.Event) {
	t.Helper()
	c, err := worker.New(worker.Deps{
		DB: b.DB, Gitaly: b.Gitaly, Branches: branchcache.New(b.Redis), Cleaner: b.Repositories, Forks: b.Repositories, Files: files, Concurrency: 2,
		LFSRemovalDelay: time.Hour, Log: b.Log, Now: b.Now, Reconciler: reconcile.New(reconcile.Deps{
			Projects: project.New(b.DB), Events: b.Events, Gitaly: b.Gitaly, Pushes: counter.New(b.Redis, b.Log, b.Now), PerEvent: 10, Log: b.Log, Now: b.Now,
		}),
	})
	b.Must(err)
	done, cancel := c.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed)
	t.Cleanup(cancel)
	b.Must(c.Start(t.Context()))
	t.Cleanup(func() { <-c.Stopped() }) // the test's context ends first
	return c, done
}

func (e ended) String() string { return fmt.Sprintf("%s %s", e.Job.Kind, e.Kind) }

type ended struct{ *river.Event }

func TestPostReceive(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p := b.Project(b.User("ada").NamespaceID, "p", visibility.Private)
	b.Server.Lock()
	*b.Server.Repositories[p.DiskPath] = pushed()
	b.Server.Unlock()
	_, err := b.Events.Record(t.Context(), event.Push{
		Project: p, Protocol: "ssh", Changes: []access.Change{{Old: railstest.ID(0), New: railstest.ID(1), Ref: "refs/heads/trunk"}},
	})
	b.Must(err)
	done := start(t, b)
	if got := (ended{<-done}).String(); got != "post_receive job_completed" {
		t.Fatalf("%s\n%s", got, b.Logged)
	}
	p, err = project.New(b.DB).ByID(t.Context(), p.ID)
	if err != nil || p.RepositorySize != 7*1024 || p.CommitCount != 3 || p.DefaultBranch != "trunk" {
		t.Errorf("statistics %+v, %v", p, err)
	}
	if names, ok, err := branchcache.New(b.Redis).Get(t.Context(), p.GLRepository()); err != nil || !ok || !cmp.Equal(names, []string{"trunk", "x/y"}) {
		t.Errorf("branch names %q, %v, %v", names, ok, err)
	}
	if head := b.Server.Repository(p.DiskPath).HEAD; head != "refs/heads/trunk" {
		t.Errorf("HEAD %q", head)
	}
	if !strings.Contains(b.Logged.String(), `"job":"post_receive"`) {
		t.Errorf("no access line: %s", b.Logged)
	}
}

// TestPostReceive_moved: a push that only moves branches leaves their names as they are kept.
func TestPostReceive_moved(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p := b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private)
	done := start(t, b)
	<-done // the push of Inhabited, which made a branch
	names, kept := branchcache.New(b.Redis), []string{"as they were"}
	b.Must(names.Put(t.Context(), p.GLRepository(), kept))
	for _, tc := range []struct {
		change access.Change
		want   bool
	}{
		{access.Change{Old: railstest.ID(1), New: railstest.ID(2), Ref: "refs/heads/main"}, true},
		{access.Change{Old: railstest.ID(0), New: railstest.ID(2), Ref: "refs/tags/v1"}, true},
		{access.Change{Old: railstest.ID(2), New: railstest.ID(0), Ref: "refs/heads/main"}, false},
	} {
		_, err := b.Events.Record(t.Context(), event.Push{Project: p, Protocol: "ssh", Changes: []access.Change{tc.change}})
		b.Must(err)
		if got := (ended{<-done}).String(); got != "post_receive job_completed" {
			t.Fatalf("%s\n%s", got, b.Logged)
		}
		if got, _, err := names.Get(t.Context(), p.GLRepository()); err != nil || cmp.Equal(got, kept) != tc.want {
			t.Errorf("after %+v: branch names %q, %v", tc.change, got, err)
		}
	}
}

// TestPostReceive_gitalyDown: the job fails and is kept for later.
func TestPostReceive_gitalyDown(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p := b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private)
	b.Server.SetFail(status.Error(codes.Unavailable, "down"))
	done := start(t, b)
	e := ended{<-done}
	if e.String() != "post_receive job_failed" || e.Job.State != "retryable" && e.Job.State != "available" {
		t.Errorf("%s, state %s", e, e.Job.State)
	}
	p, err := project.New(b.DB).ByID(t.Context(), p.ID)
	if err != nil || p.CommitCount != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestJobs_gone: jobs of a project that is gone are done, and its repository is removed.
func TestJobs_gone(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p := b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private)
	b.Must(b.Repositories.Delete(t.Context(), p))
	done := start(t, b)
	got := map[string]int{}
	for range 2 {
		got[ended{<-done}.String()]++
	}
	if got["post_receive job_completed"] != 1 || got["project_cleanup job_completed"] != 1 {
		t.Errorf("%v\n%s", got, b.Logged)
	}
	if b.Server.Repository(p.DiskPath) != nil {
		t.Error("the repository is still there")
	}
}

// TestPostReceive_redisDown: what is only kept for speed does not fail a job.
func TestPostReceive_redisDown(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private)
	b.Must(b.Redis.Close())
	done := start(t, b)
	if got := (ended{<-done}).String(); got != "post_receive job_completed" {
		t.Errorf("%s\n%s", got, b.Logged)
	}
}

// TestLFSCleanup: the file of an object goes when no project had it for the time that is set.
func TestLFSCleanup(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ctx, ns := t.Context(), b.User("ada").NamespaceID
	p := b.Project(ns, "p", visibility.Private)
	kept, gone := b.LFSObject(p, "kept"), b.LFSObject(p, "gone")
	_, err := b.DB.Exec(ctx, "DELETE FROM lfs_objects_projects WHERE object_id = $1", gone.ID)
	b.Must(err)
	inserter, err := worker.Inserter(b.DB, b.Log)
	b.Must(err)
	for _, step := range []struct {
		later time.Duration
		there bool
	}{{0, true}, {30 * time.Minute, true}, {time.Hour + time.Second, false}, {time.Hour + 2*time.Second, false}} {
		began := b.Time
		b.Time = began.Add(step.later)
		c, done := run(t, b, b.Files)
		_, err = inserter.Insert(ctx, jobs.LFSCleanup{}, nil)
		b.Must(err)
		if got := (ended{<-done}).String(); got != "lfs_cleanup job_completed" {
			t.Fatalf("%s\n%s", got, b.Logged)
		}
		b.Must(c.Stop(context.WithoutCancel(ctx)))
		b.Time = began
		if _, err := b.Files.Size(ctx, gone.Key()); (err == nil) != step.there || (err != nil && errs.KindOf(err) != errs.NotFound) {
			t.Errorf("after %v: %v", step.later, err)
		}
		if _, err := b.Files.Size(ctx, kept.Key()); err != nil {
			t.Errorf("the object of a project after %v: %v", step.later, err)
		}
	}
	var rows int
	if err := b.DB.QueryRow(ctx, "SELECT count(*) FROM lfs_objects").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// sweeper notes which uploads are to be removed.
type sweeper struct {
	worker.Files
	before time.Time
}

func (s *sweeper) Sweep(_ context.Context, before time.Time) error {
	s.before = before
	return nil
}

// TestUploadCleanup: what is removed of uploads began so long ago that nobody sends them any more.
func TestUploadCleanup(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	files := &sweeper{Files: b.Files}
	_, done := run(t, b, files)
	inserter, err := worker.Inserter(b.DB, b.Log)
	b.Must(err)
	_, err = inserter.Insert(t.Context(), jobs.UploadCleanup{}, nil)
	b.Must(err)
	if got := (ended{<-done}).String(); got != "upload_cleanup job_completed" || !files.before.Equal(b.Time.Add(-24*time.Hour)) {
		t.Errorf("%s, before %v\n%s", got, files.before, b.Logged)
	}
}

// pushed is one whose HEAD still points at the intended default branch.
func pushed() gitalytest.Repository {
	return gitalytest.Repository{HEAD: "refs/heads/main", Branches: []string{"refs/heads/trunk", "refs/heads/x/y"}, Size: 7, Commits: 3}
}

// TestReconcile: what no push reported is recorded by the second comparison, and what is kept for late reports goes.
func TestReconcile(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p := b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private)
	b.Server.SetReferences(p.DiskPath, map[string]string{"refs/heads/main": railstest.ID(2)})
	_, err := b.DB.Exec(t.Context(), "INSERT INTO push_ids VALUES ($1, gen_random_uuid(), $2)", p.ID, b.Time.Add(-31*24*time.Hour))
	b.Must(err)
	inserter, err := worker.Inserter(b.DB, b.Log)
	b.Must(err)
	began := b.Time
	for _, step := range []struct {
		later  time.Duration
		events int
	}{{0, 1}, {31 * time.Minute, 2}, {90 * time.Minute, 2}} {
		b.Time = began.Add(step.later)
		c, done := run(t, b, b.Files)
		_, err := inserter.Insert(t.Context(), jobs.Reconcile{}, nil)
		b.Must(err)
		for kind := ""; kind != "reconcile"; { // the jobs of the events come too
			e := ended{<-done}
			if kind = e.Job.Kind; e.Kind != river.EventKindJobCompleted {
				t.Fatalf("%s\n%s", e, b.Logged)
			}
		}
		b.Must(c.Stop(context.WithoutCancel(t.Context())))
		var events, ids int
		b.Must(b.DB.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM push_events), (SELECT count(*) FROM push_ids)").Scan(&events, &ids))
		if events != step.events || ids != 0 {
			t.Errorf("after %v: %d events, %d identities", step.later, events, ids)
		}
	}
}

// TestFork: a fork that could not be copied at once is copied by its job, and has failed after the last attempt.
func TestFork(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	source := b.Inhabited(ada.NamespaceID, "p", visibility.Public)
	fork := func(path string) project.Project {
		b.Server.SetFail(status.Error(codes.Unavailable, "down"))
		p, err := b.Repositories.Fork(t.Context(), source, project.NewProject{NamespaceID: ada.NamespaceID, Path: path, DefaultBranch: "main"}, "")
		b.Must(err)
		b.Server.SetFail(nil)
		return p
	}
	good, bad := fork("good"), fork("bad")
	const due = "UPDATE river_job SET state = 'available', scheduled_at = now(), max_attempts = $2 WHERE kind = 'fork' AND (args->>'project_id')::bigint = $1"
	for id, attempts := range map[int64]int{good.ID: 8, bad.ID: 1} {
		_, err := b.DB.Exec(t.Context(), due, id, attempts)
		b.Must(err)
	}
	_, err := b.DB.Exec(t.Context(), "DELETE FROM river_job WHERE kind = 'post_receive'")
	b.Must(err)
	b.Server.Lock()
	b.Server.FailAt = map[string]error{bad.DiskPath: status.Error(codes.Internal, "disk full")}
	b.Server.Unlock()
	done := start(t, b)
	got := map[string]int{}
	for range 3 {
		got[ended{<-done}.String()]++
	}
	if want := map[string]int{"fork job_completed": 1, "fork job_failed": 1, "join_pool job_completed": 1}; !cmp.Equal(got, want) {
		t.Errorf("%v\n%s", got, b.Logged)
	}
	for p, want := range map[*project.Project]project.Import{&good: project.ImportFinished, &bad: project.ImportFailed} {
		if got, err := project.New(b.DB).ByID(t.Context(), p.ID); err != nil || got.Import != want {
			t.Errorf("%s: %v %q, %v", p.Path, got.Import, got.ImportError, err)
		}
	}
}
