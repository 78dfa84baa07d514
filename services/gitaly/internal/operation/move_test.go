package operation_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

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

// reported is an API that permits everything and notes until when it may take a report.
type reported struct{ until time.Time }

func (*reported) Allowed(context.Context, api.Push) error { return nil }

func (*reported) PreReceive(context.Context, string) (bool, error) { return true, nil }

func (r *reported) PostReceive(ctx context.Context, _ api.Push) ([]internalapi.Message, bool, error) {
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
	hooks := hook.New(hook.Options{API: b.asked, GitBinDir: b.git.BinDir(), SearchPath: os.Getenv("PATH"), Home: "/", Log: logging.Discard()})
	b.service = operation.New(operation.Options{Git: b.git, Hooks: hooks, Writers: b.guard, Log: logging.Discard(), Now: time.Now})
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

// TestMove_reportTime: what an update hook takes does not shorten the time for the
// report of a reference that has moved.
func TestMove_reportTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tree, err := b.git.Output(t.Context(), &b.repo.Repo, gitcmd.Spec{Name: "mktree"}, 100)
	if err != nil {
		t.Fatal(err)
	}
	ended := filepath.Join(t.TempDir(), "ended")
	install := exec.CommandContext(t.Context(), "install", "-D", "-m", "0700", "/dev/stdin", filepath.Join(b.repo.Dir, "custom_hooks/update"))
	install.Stdin = strings.NewReader("#!/bin/sh\ndate +%s%N > " + ended + "\n")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w := b.begin(t)
	defer func() { _ = w.Close() }()
	who := operation.Signature{Name: "Ada", Email: "ada@example.com", When: time.Unix(1, 0)}
	commit, err := w.Write(t.Context(), operation.Commit{Author: who, Committer: who, Message: []byte("one\n")}, strings.TrimSpace(string(tree)))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Move(t.Context(), ref.Change{Name: "refs/heads/main", New: commit, Old: ref.ZeroOID(commit)}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(ended)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	const want = 30 * time.Second
	if hookEnd := time.Unix(0, ns); b.asked.until.Before(hookEnd.Add(want)) {
		t.Errorf("the report had %v from the end of the update hook on, want %v", b.asked.until.Sub(hookEnd), want)
	}
}
