package operation_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/api"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/hook"
	"gitsplit/services/gitaly/internal/leftover"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// reported is an API that permits everything, and a journal that notes until when it
// may take a report.
type reported struct{ until time.Time }

func (*reported) Allowed(context.Context, api.Push) error { return nil }

func (*reported) PreReceive(context.Context, api.Push) (bool, error) { return true, nil }

func (*reported) Begin(context.Context, string, api.Push) error { return nil }

func (*reported) Forget(context.Context, string) {}

func (*reported) End(context.Context, string, func(string) bool) {}

func (r *reported) Deliver(ctx context.Context, _, _ string) ([]internalapi.Message, bool, error) {
	r.until, _ = ctx.Deadline()
	return nil, true, nil
}

// bundle is an empty repository, and operations on it.
type bundle struct {
	msg     *gitalypb.Repository
	repo    *storage.Repo
	git     *gitcmd.Factory
	guard   *leftover.Guard
	asked   *reported
	service *operation.Service
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{asked: &reported{}, guard: leftover.NewGuard(logging.Discard(), time.Now)}
	var err error
	if b.git, err = gitcmd.New(t.Context(), gitcmd.Options{SearchPath: os.Getenv("PATH"), Home: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	st, err := storage.Open("default", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b.msg = &gitalypb.Repository{StorageName: "default", RelativePath: "r.git", GlRepository: "project-26"}
	if b.repo, err = storage.NewLocator(st).Locate(b.msg); err != nil {
		t.Fatal(err)
	}
	if err := storage.Create(t.Context(), b.git, b.repo, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	hooks := hook.New(hook.Options{API: b.asked, Journal: b.asked, GitBinDir: b.git.BinDir(), SearchPath: os.Getenv("PATH"), Home: "/", Log: logging.Discard()})
	b.service = operation.New(operation.Options{Git: b.git, Hooks: hooks, Journal: b.asked, Writers: b.guard, Log: logging.Discard(), Now: time.Now})
	return b
}

func (b *bundle) begin(t *testing.T) *operation.Work {
	t.Helper()
	w, err := b.service.Begin(t.Context(), operation.Request{Message: b.msg, Repo: b.repo, User: &gitalypb.User{GlId: "user-1"}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestWork_outlived: who takes objects away waits for an operation that may build on
// them.
func TestWork_outlived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	w := b.begin(t)
	if err := b.guard.Outlive(ended, b.repo.Dir); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits for an operation under way: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.guard.Outlive(ended, b.repo.Dir); err != nil {
		t.Errorf("after its end: %v", err)
	}
}

// TestMove: a reference moves as it is named, also a symbolic one: those who were asked
// were not asked about the one behind it. What follows the permission has a bound, which
// the end of the server waits for.
func TestMove(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tree, err := b.git.Output(t.Context(), &b.repo.Repo, gitcmd.Spec{Name: "mktree"}, 100)
	if err != nil {
		t.Fatal(err)
	}
	w := b.begin(t)
	defer func() { _ = w.Close() }()
	who := operation.Signature{Name: "Ada", Email: "ada@example.com", When: time.Unix(1, 0)}
	write := func(message string, parents ...string) string {
		id, err := w.Write(t.Context(), operation.Commit{Author: who, Committer: who, Message: []byte(message)}, strings.TrimSpace(string(tree)), parents...)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	one := write("one\n")
	two := write("two\n", one)
	began := time.Now()
	if err := w.Move(t.Context(), ref.Change{Name: "refs/heads/main", New: one, Old: ref.ZeroOID(one)}); err != nil {
		t.Fatal(err)
	}
	if limit := began.Add(31 * time.Second); b.asked.until.After(limit) {
		t.Errorf("the report had until %v, want at most %v", b.asked.until, limit)
	}
	if err := os.WriteFile(filepath.Join(b.repo.Dir, "refs/heads/alias"), []byte("ref: refs/heads/main\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Move(t.Context(), ref.Change{Name: "refs/heads/alias", New: two, Old: one}); err != nil {
		t.Fatal(err)
	}
	got, err := ref.Read(t.Context(), b.git, &b.repo.Repo, []string{"refs/heads/main", "refs/heads/alias", "refs/heads/none"})
	if diff := cmp.Diff(map[string]string{"refs/heads/main": one, "refs/heads/alias": two}, got); diff != "" || err != nil {
		t.Errorf("references (-want +got):\n%s\n%v", diff, err)
	}
}
