package projectrepo_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// counts returns how many projects, paths of projects and jobs there are.
func counts(b *railstest.Bench) (projects, routes, jobs int) {
	b.TB.Helper()
	const query = `SELECT (SELECT count(*) FROM projects), (SELECT count(*) FROM routes WHERE project_id IS NOT NULL), (SELECT count(*) FROM river_job)`
	b.Must(b.DB.QueryRow(context.Background(), query).Scan(&projects, &routes, &jobs))
	return projects, routes, jobs
}

func TestService_Create(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	p, err := b.Repositories.Create(t.Context(), project.NewProject{NamespaceID: ada.NamespaceID, CreatorID: &ada.ID, Path: "p", DefaultBranch: "trunk"})
	b.Must(err)
	if r := b.Server.Repository(p.DiskPath); r == nil || r.HEAD != "refs/heads/trunk" {
		t.Errorf("repository %+v", r)
	}
	if m, err := member.New(b.DB).Get(t.Context(), member.OfProject(p.ID), ada.ID); err != nil || m.Level != member.Owner {
		t.Errorf("the owner is no member: %+v, %v", m, err)
	}
	if projects, routes, jobs := counts(b); projects != 1 || routes != 1 || jobs != 1 {
		t.Errorf("%d projects, %d routes, %d jobs", projects, routes, jobs)
	}
	b.Must(b.Repositories.Cleanup(t.Context(), p.ID)) // the job comes when all is well
	if b.Server.Repository(p.DiskPath) == nil {
		t.Error("the cleanup removed a visible project")
	}
}

// TestService_Create_failures: whatever fails, nothing half made stays.
func TestService_Create_failures(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	in := project.NewProject{NamespaceID: ada.NamespaceID, Path: "p"}
	b.Server.SetFail(status.Error(codes.Internal, "disk full"))
	_, err := b.Repositories.Create(t.Context(), in)
	if errs.KindOf(err) != errs.Internal {
		t.Errorf("broken storage: %v", err)
	}
	projects, routes, _ := counts(b)
	if projects != 1 || routes != 0 { // its removal failed as well: a row that frees its path and waits for the job
		t.Errorf("broken storage leaves %d projects, %d routes", projects, routes)
	}
	b.Server.SetFail(nil)
	var id int64
	b.Must(b.DB.QueryRow(t.Context(), "SELECT id FROM projects").Scan(&id))
	b.Must(b.Repositories.Cleanup(t.Context(), id))
	b.Must(b.Repositories.Cleanup(t.Context(), id)) // once more changes nothing
	if projects, _, _ := counts(b); projects != 0 {
		t.Errorf("cleanup leaves %d projects", projects)
	}
	p, err := b.Repositories.Create(t.Context(), in)
	if err != nil || p.FullPath != "ada/p" {
		t.Errorf("the same path again: %+v, %v", p, err)
	}
	if _, err := b.Repositories.Create(t.Context(), in); errs.KindOf(err) != errs.Exists {
		t.Errorf("twice: %v", err)
	}
}

// halfway is a storage server whose answer is lost, or after which the caller dies.
type halfway struct {
	projectrepo.Gitaly
	after error
}

func (h halfway) Create(ctx context.Context, p project.Project) error {
	if err := h.Gitaly.Create(ctx, p); err != nil {
		return err
	}
	return h.after
}

type noJobs struct{ err error }

func (n noJobs) InsertTx(context.Context, pgx.Tx, river.JobArgs, *river.InsertOpts) (*rivertype.JobInsertResult, error) {
	return nil, n.err
}

func TestService_Create_lostAnswer(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	s := projectrepo.New(b.DB, halfway{b.Gitaly, errs.New(errs.Unavailable, "gone")}, noJobs{}, b.Log, b.Now)
	_, err := s.Create(t.Context(), project.NewProject{NamespaceID: ada.NamespaceID, Path: "p"})
	if errs.KindOf(err) != errs.Unavailable {
		t.Errorf("%v", err)
	}
	if projects, routes, _ := counts(b); projects+routes != 0 || len(b.Server.Repositories) != 0 {
		t.Errorf("%d projects, %d routes, %d repositories", projects, routes, len(b.Server.Repositories))
	}
	s = projectrepo.New(b.DB, halfway{b.Gitaly, errs.New(errs.Exists, "")}, noJobs{}, b.Log, b.Now)
	if _, err := s.Create(t.Context(), project.NewProject{NamespaceID: ada.NamespaceID, Path: "p"}); err != nil {
		t.Errorf("made by a call whose answer was lost: %v", err)
	}
	s = projectrepo.New(b.DB, b.Gitaly, noJobs{errors.New("no jobs")}, b.Log, b.Now)
	if _, err := s.Create(t.Context(), project.NewProject{NamespaceID: ada.NamespaceID, Path: "q"}); err == nil {
		t.Error("made without a cleanup job")
	}
	if projects, _, _ := counts(b); projects != 1 {
		t.Errorf("%d projects", projects)
	}
}

func TestService_Delete(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	b.Must(b.Repositories.Delete(t.Context(), p))
	if _, _, err := project.New(b.DB).ByPath(t.Context(), "ada/p"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("still visible: %v", err)
	}
	if err := b.Repositories.Delete(t.Context(), p); errs.KindOf(err) != errs.NotFound {
		t.Errorf("twice: %v", err)
	}
	again := b.Project(ada.NamespaceID, "p", visibility.Private) // the path is free at once
	b.Server.Stop()
	if err := b.Repositories.Cleanup(t.Context(), p.ID); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("storage down: %v", err)
	}
	if r := b.Server.Repository(again.DiskPath); r == nil {
		t.Error("the new project lost its repository")
	}
}
