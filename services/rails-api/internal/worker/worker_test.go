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
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
	"gitsplit/services/rails-api/internal/worker"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// start runs the worker and returns the ends of its jobs.
func start(t *testing.T, b *railstest.Bench) <-chan *river.Event {
	t.Helper()
	_, done := run(t, b)
	return done
}

func run(t *testing.T, b *railstest.Bench) (*river.Client[pgx.Tx], <-chan *river.Event) {
	t.Helper()
	c, err := worker.New(worker.Deps{
		DB: b.DB, Gitaly: b.Gitaly, Branches: branchcache.New(b.Redis), Cleaner: b.Repositories, Files: b.Files, Concurrency: 2,
		LFSRemovalDelay: time.Hour, Log: b.Log, Now: b.Now,
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
		c, done := run(t, b)
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

// pushed is one whose HEAD still points at the intended default branch.
func pushed() gitalytest.Repository {
	return gitalytest.Repository{HEAD: "refs/heads/main", Branches: []string{"refs/heads/trunk", "refs/heads/x/y"}, Size: 7, Commits: 3}
}
