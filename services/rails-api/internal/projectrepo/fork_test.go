package projectrepo_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

// forks is a project of ada's with a large file, and eve who forks it.
type forks struct {
	*railstest.Bench
	ada, eve user.User
	source   project.Project
	file     lfs.Object
}

func setupForks(t *testing.T, level visibility.Level) forks {
	t.Helper()
	b := forks{Bench: railstest.New(t)}
	b.ada, b.eve = b.User("ada"), b.User("eve")
	b.source = b.Inhabited(b.ada.NamespaceID, "p", level)
	b.file = b.LFSObject(b.source, "large")
	return b
}

// fork forks as eve.
func (b forks) fork(path, branch string) project.Project {
	b.TB.Helper()
	in := project.NewProject{NamespaceID: b.eve.NamespaceID, CreatorID: &b.eve.ID, Path: path, Visibility: b.source.Visibility, DefaultBranch: b.source.DefaultBranch}
	p, err := b.Repositories.Fork(b.TB.Context(), b.source, in, branch)
	b.Must(err)
	return p
}

func (b forks) again(p project.Project) project.Project {
	b.TB.Helper()
	p, err := project.New(b.DB).ByID(context.Background(), p.ID)
	b.Must(err)
	return p
}

func jobOf(p project.Project) jobs.Fork { return jobs.Fork{ProjectID: p.ID, Storage: p.Storage} }

func TestService_Fork(t *testing.T) {
	t.Parallel()
	b := setupForks(t, visibility.Private)
	b.Server.SetBranches(b.source.DiskPath, "refs/heads/main", "refs/heads/x")
	p := b.fork("p", "")
	if p.Import != project.ImportFinished || p.EmptyRepo || p.ForkedFromID == nil || *p.ForkedFromID != b.source.ID {
		t.Errorf("%+v", p)
	}
	if r := b.Server.Repository(p.DiskPath); r == nil || len(r.Branches) != 2 {
		t.Errorf("repository %+v", r)
	}
	if r := b.Server.Repository(b.fork("one", "x").DiskPath); r == nil || !slices.Equal(r.Branches, []string{"refs/heads/x"}) {
		t.Errorf("repository of one branch %+v", r)
	}
	if _, err := lfs.New(b.DB).Get(t.Context(), p.ID, b.file.OID); err != nil {
		t.Errorf("the large file: %v", err)
	}
	if rules, err := protection.New(b.DB).All(t.Context(), p.ID); err != nil || len(rules) != 1 || rules[0].Name != "main" {
		t.Errorf("protected branches %+v, %v", rules, err)
	}
	var known bool
	b.Must(b.DB.QueryRow(t.Context(), "SELECT refs_known FROM projects WHERE id = $1", p.ID).Scan(&known))
	if state, err := b.Events.State(t.Context(), p.ID); known || err != nil || state.Known {
		t.Errorf("the references are taken for known: %v, %+v, %v", known, state, err)
	}
	b.Must(b.Repositories.Import(t.Context(), jobOf(p))) // the job comes when all is well
	if counts, err := project.New(b.DB).CountForks(t.Context(), []int64{b.source.ID, p.ID}); err != nil || counts[b.source.ID] != 2 || len(counts) != 1 {
		t.Errorf("forks %v, %v", counts, err)
	}
	empty := b.Project(b.ada.NamespaceID, "empty", visibility.Private)
	b.source = empty
	if e := b.fork("empty", ""); e.Import != project.ImportFinished || !e.EmptyRepo || b.Server.Repository(e.DiskPath) == nil {
		t.Errorf("of an empty project: %+v", e)
	}
}

// TestService_Fork_later: what could not be copied at once is copied by the job, and nobody compares references meanwhile.
func TestService_Fork_later(t *testing.T) {
	t.Parallel()
	b := setupForks(t, visibility.Private)
	b.Server.SetFail(status.Error(codes.Unavailable, "down"))
	p := b.fork("p", "")
	if p.Import != project.ImportScheduled || p.EmptyRepo || b.Server.Repository(p.DiskPath) != nil {
		t.Errorf("%+v", p)
	}
	var waiting int
	b.Must(b.DB.QueryRow(t.Context(), "SELECT count(*) FROM river_job WHERE kind = 'fork' AND max_attempts = 8 AND queue = 'forks' AND scheduled_at > now()").Scan(&waiting))
	if waiting != 1 {
		t.Errorf("%d jobs", waiting)
	}
	if list, err := project.New(b.DB).After(t.Context(), b.source.ID, 10); err != nil || len(list) != 0 {
		t.Errorf("compared: %+v, %v", list, err)
	}
	b.Server.SetFail(nil)
	b.Must(b.Repositories.Import(t.Context(), jobOf(p)))
	if p = b.again(p); p.Import != project.ImportFinished || b.Server.Repository(p.DiskPath) == nil {
		t.Errorf("%+v", p)
	}
	b.Must(b.Repositories.Delete(t.Context(), b.source))
	b.Must(b.Repositories.Cleanup(t.Context(), b.source.ID))
	if p = b.again(p); p.ForkedFromID != nil || b.Server.Repository(p.DiskPath) == nil {
		t.Errorf("without its source: %+v", p)
	}
	if _, err := lfs.New(b.DB).Get(t.Context(), p.ID, b.file.OID); err != nil {
		t.Errorf("the large file without the source: %v", err)
	}
}

func TestService_Import_sourceGone(t *testing.T) {
	t.Parallel()
	b := setupForks(t, visibility.Private)
	b.Server.SetFail(status.Error(codes.Unavailable, "down"))
	p := b.fork("p", "")
	b.Must(b.Repositories.Delete(t.Context(), b.source))
	b.Must(b.Repositories.Import(t.Context(), jobOf(p)))
	if p = b.again(p); p.Import != project.ImportFailed || !strings.Contains(p.ImportError, "source") {
		t.Errorf("%+v", p)
	}
}

// TestService_Import_sourceClosed: a source that is made private before its fork is copied, or while
// it is, is not copied into the open.
func TestService_Import_sourceClosed(t *testing.T) {
	t.Parallel()
	b := setupForks(t, visibility.Public)
	closeSource := func(project.Project) {
		_, err := b.DB.Exec(t.Context(), "UPDATE projects SET visibility = 'private' WHERE id = $1", b.source.ID)
		b.Must(err)
	}
	b.Server.SetFail(status.Error(codes.Unavailable, "down"))
	before, during := b.fork("before", ""), b.fork("during", "")
	b.Server.SetFail(nil)
	slow := projectrepo.New(b.DB, deleting{b.Gitaly, closeSource}, noJobs{}, b.Log, b.Now)
	b.Must(slow.Import(t.Context(), jobOf(during)))
	if p := b.again(during); p.Import != project.ImportFinished || p.Visibility != visibility.Private {
		t.Errorf("closed while it was copied: %s %s", p.Import, p.Visibility)
	}
	b.Must(b.Repositories.Import(t.Context(), jobOf(before)))
	if p := b.again(before); p.Import != project.ImportFailed || !strings.Contains(p.ImportError, "less visible") {
		t.Errorf("closed before it was copied: %s %q", p.Import, p.ImportError)
	}
}

// deleting is a storage server that is so slow that the fork is deleted meanwhile.
type deleting struct {
	projectrepo.Gitaly
	delete func(p project.Project)
}

func (d deleting) Fork(ctx context.Context, p, source project.Project, branch string) error {
	d.delete(p)
	return d.Gitaly.Fork(ctx, p, source, branch)
}

// TestService_Import_forkGone: what was copied for a fork that is deleted meanwhile is removed.
func TestService_Import_forkGone(t *testing.T) {
	t.Parallel()
	b := setupForks(t, visibility.Private)
	b.Server.SetFail(status.Error(codes.Unavailable, "down"))
	p := b.fork("p", "")
	b.Server.SetFail(nil)
	s := projectrepo.New(b.DB, deleting{b.Gitaly, func(p project.Project) {
		b.Must(b.Repositories.Delete(t.Context(), p))
		b.Must(b.Repositories.Cleanup(t.Context(), p.ID))
	}}, noJobs{}, b.Log, b.Now)
	b.Must(s.Import(t.Context(), jobOf(p)))
	if b.Server.Repository(p.DiskPath) != nil {
		t.Error("the repository stays")
	}
	b.Server.Lock()
	b.Server.Repositories[p.DiskPath] = &gitalytest.Repository{} // of an attempt that died before it removed it
	b.Server.Unlock()
	b.Must(s.Import(t.Context(), jobOf(p)))
	if b.Server.Repository(p.DiskPath) != nil {
		t.Error("the repository of an earlier attempt stays")
	}
}

// TestService_JoinPool: a public project and its forks borrow from a pool, which goes with the last of them.
func TestService_JoinPool(t *testing.T) {
	t.Parallel()
	b := setupForks(t, visibility.Public)
	one, two := b.fork("one", ""), b.fork("two", "")
	for _, p := range []project.Project{one, two, one} {
		b.Must(b.Repositories.JoinPool(t.Context(), p.ID))
	}
	place := b.Server.Repository(one.DiskPath).Pool
	if !strings.HasPrefix(place, "@pools/") || b.Server.Repository(place) == nil {
		t.Fatalf("pool %q", place)
	}
	for _, p := range []project.Project{b.source, two} {
		if got := b.Server.Repository(p.DiskPath).Pool; got != place {
			t.Errorf("%s borrows from %q", p.FullPath, got)
		}
	}
	for i, p := range []project.Project{b.source, two, one} {
		b.Must(b.Repositories.Delete(t.Context(), p))
		b.Must(b.Repositories.Cleanup(t.Context(), p.ID))
		if left := b.Server.Repository(place) != nil; left != (i < 2) {
			t.Errorf("after %s: the pool is there: %v", p.FullPath, left)
		}
	}
	b.Must(b.Repositories.JoinPool(t.Context(), one.ID)) // gone
}

// TestService_JoinPool_private: what not everybody reads comes into no pool; and a pool whose removal fails is removed later.
func TestService_JoinPool_private(t *testing.T) {
	t.Parallel()
	b := setupForks(t, visibility.Internal)
	p := b.fork("p", "")
	b.Must(b.Repositories.JoinPool(t.Context(), p.ID))
	if r := b.Server.Repository(p.DiskPath); r.Pool != "" || len(b.Server.Repositories) != 2 {
		t.Errorf("%+v", r)
	}
	b = setupForks(t, visibility.Public)
	p = b.fork("p", "")
	b.Must(b.Repositories.JoinPool(t.Context(), p.ID))
	b.Must(b.Repositories.Delete(t.Context(), b.source))
	b.Must(b.Repositories.Delete(t.Context(), p))
	b.Must(b.Repositories.Cleanup(t.Context(), b.source.ID))
	s := projectrepo.New(b.DB, stuckPool{b.Gitaly}, noJobs{}, b.Log, b.Now)
	if err := s.Cleanup(t.Context(), p.ID); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("%v", err)
	}
	b.Must(b.Repositories.Cleanup(t.Context(), p.ID))
	if len(b.Server.Repositories) != 0 {
		t.Errorf("%d repositories stay", len(b.Server.Repositories))
	}
}

type stuckPool struct{ projectrepo.Gitaly }

func (stuckPool) RemovePool(context.Context, project.Pool) error {
	return errs.New(errs.Unavailable, "down")
}
