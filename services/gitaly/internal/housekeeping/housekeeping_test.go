package housekeeping_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/housekeeping"
	"gitsplit/services/gitaly/internal/leftover"
	"gitsplit/services/gitaly/internal/storage"
	"gitsplit/services/gitaly/internal/suspect"
)

const day = 24 * time.Hour

// bundle is a manager over one storage, with a clock and a git that can fail.
type bundle struct {
	marks   *suspect.Marks
	manager *housekeeping.Manager
	locator *storage.Locator
	storage *storage.Storage
	git     *failingGit
	totals  chan string // tasks done
	ahead   atomic.Int64
	swept   func(dir string) // may be nil
}

// sweeper tells the test which repository is being kept.
type sweeper struct {
	*leftover.Guard
	b *bundle
}

func (s sweeper) RemoveStale(dir string) ([]string, error) {
	if s.b.swept != nil {
		s.b.swept(dir)
	}
	return s.Guard.RemoveStale(dir)
}

// failingGit fails at the given call, before or after doing its work.
type failingGit struct {
	*gitcmd.Factory
	calls, failAt int // failAt 0 never
	after         bool
	before        func(name string) // may be nil
}

var errInjected = errors.New("injected")

func (g *failingGit) Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error {
	return g.fail(s.Name, func() error { return g.Factory.Run(ctx, repo, s) })
}

func (g *failingGit) Output(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec, limit int) (out []byte, err error) {
	err = g.fail(s.Name, func() error {
		out, err = g.Factory.Output(ctx, repo, s, limit)
		return err
	})
	return out, err
}

func (g *failingGit) fail(name string, do func() error) error {
	if g.before != nil {
		g.before(name)
	}
	g.calls++
	if g.calls == g.failAt && !g.after {
		return errInjected
	}
	err := do()
	if g.calls == g.failAt {
		return errInjected
	}
	return err
}

// observer passes on the ends of runs.
type observer struct{ totals chan string }

func (o observer) HousekeepingTask(task string, err error) {
	if err != nil {
		task += " failed"
	}
	select {
	case o.totals <- task:
	default: // nobody looks
	}
}

func (observer) HousekeepingStage(string, time.Duration) {}

func (observer) HousekeepingRuns(int, int) {}

func (observer) HousekeepingDue(int) {}

func setup(t *testing.T) *bundle { return setupGit(t, "git") }

// setupGit uses the git at a path.
func setupGit(t *testing.T, path string) *bundle {
	t.Helper()
	guard := leftover.NewGuard(logging.Discard(), time.Now)
	factory, err := gitcmd.New(t.Context(), gitcmd.Options{Path: path, SearchPath: os.Getenv("PATH"), Home: t.TempDir(), PackThreads: 1, Guard: guard})
	if err != nil {
		t.Fatal(err)
	}
	st, err := storage.Open("default", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	marks, err := suspect.Open(suspect.Options{Log: logging.Discard(), Due: func(string, string) {}}, st)
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{marks: marks, storage: st, locator: storage.NewLocator(st), git: &failingGit{Factory: factory}, totals: make(chan string, 1000)}
	b.manager = housekeeping.New(housekeeping.Options{
		Git: b.git, Sweeper: sweeper{guard, b}, Marks: marks, Observer: observer{b.totals}, Log: logging.Discard(), Parallel: 1,
		Now: func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) },
	})
	return b
}

func (b *bundle) create(t *testing.T, rel string) *storage.Repo {
	t.Helper()
	repo := b.locate(t, rel)
	if err := storage.Create(t.Context(), b.git, repo, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return repo
}

func (b *bundle) locate(t *testing.T, rel string) *storage.Repo {
	t.Helper()
	repo, err := b.locator.Locate(&gitalypb.Repository{StorageName: "default", RelativePath: rel})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// git runs git in the repository, as no part of gitaly.
func git(t *testing.T, repo *storage.Repo, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"--git-dir", repo.Dir}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit makes a loose commit with one file on top of the branch.
func commit(t *testing.T, repo *storage.Repo, branch, content string) string {
	t.Helper()
	blob := git(t, repo, content, "hash-object", "-w", "--stdin")
	tree := git(t, repo, "100644 blob "+blob+"\tf\n", "mktree")
	args := []string{"commit-tree", "-m", content, tree}
	if tip := git(t, repo, "", "for-each-ref", "--format=%(objectname)", "refs/heads/"+branch); tip != "" {
		args = append(args, "-p", tip)
	}
	id := git(t, repo, "", args...)
	git(t, repo, "", "update-ref", "refs/heads/"+branch, id)
	return id
}

func has(t *testing.T, repo *storage.Repo, id string) bool {
	t.Helper()
	return git(t, repo, id+"\n", "cat-file", "--batch-check") != id+" missing"
}

func fsck(t *testing.T, repo *storage.Repo) {
	t.Helper()
	git(t, repo, "", "fsck", "--strict", "--no-dangling")
	git(t, repo, "", "commit-graph", "verify")
	for _, pattern := range []string{"*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*", "objects/pack/*.lock", "objects/info/commit-graphs/*.lock"} {
		if found, _ := filepath.Glob(filepath.Join(repo.Dir, pattern)); len(found) > 0 {
			t.Errorf("left behind: %q", found)
		}
	}
}

func inspect(t *testing.T, repo *storage.Repo) storage.Info {
	t.Helper()
	info, err := repo.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (b *bundle) optimize(t *testing.T, repo *storage.Repo, s housekeeping.Strategy) {
	t.Helper()
	if err := b.manager.Optimize(t.Context(), repo, s); err != nil {
		t.Fatal(err)
	}
}

func glob(t *testing.T, repo *storage.Repo, patterns ...string) (out []string) {
	t.Helper()
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(repo.Dir, p))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

// TestOptimize_canceled ends with the context, wherever it is, and leaves nothing.
func TestOptimize_canceled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "a.git")
	for _, at := range []string{"pack-objects", "prune-packed", "multi-pack-index write", "prune", "pack-refs", "commit-graph write"} {
		id := commit(t, repo, "main", at)
		ctx, cancel := context.WithCancel(t.Context())
		b.git.before = func(name string) {
			if name == at {
				cancel()
			}
		}
		if err := b.manager.Optimize(ctx, repo, housekeeping.Eager); !errors.Is(err, context.Canceled) || errs.KindOf(err) != errs.Canceled {
			t.Errorf("at %s: %v", at, err)
		}
		if !has(t, repo, id) {
			t.Errorf("at %s: a commit is gone", at)
		}
		fsck(t, repo)
	}
}

func TestManager_Hold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "a.git")
	release, err := b.manager.Hold(repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{b.manager.Optimize(t.Context(), repo, housekeeping.Eager), b.manager.Prune(t.Context(), repo)} {
		if errs.KindOf(err) != errs.Exists || errs.Message(err) != "housekeeping already executing for repository" {
			t.Errorf("while it is held: %v", err)
		}
	}
	release()
	b.optimize(t, repo, housekeeping.Eager)
	if err := storage.Remove(repo); err != nil {
		t.Fatal(err)
	}
	if err := b.manager.Optimize(t.Context(), repo, housekeeping.Heuristical); errs.KindOf(err) != errs.NotFound {
		t.Errorf("of a removed repository: %v", err)
	}
}

// TestOptimize_stale: files that nobody needs go first.
func TestOptimize_stale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "a.git")
	commit(t, repo, "main", "x")
	old := time.Now().Add(-8 * day)
	for _, name := range []string{"config.lock", "objects/pack/tmp_pack_x", "gitlab-worktree/merge-1/f", "worktrees/merge-1/gitdir"} {
		path := filepath.Join(repo.Dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("/nowhere/.git\n"), 0o600),
			os.Chtimes(path, old, old), os.Chtimes(filepath.Dir(path), old, old)); err != nil {
			t.Fatal(err)
		}
	}
	b.optimize(t, repo, housekeeping.Heuristical)
	if left := glob(t, repo, "*.lock", "objects/pack/tmp_*", "gitlab-worktree/*", "worktrees/*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestOptimize_marked: a repository in which a sync has failed is checked before
// anything is done to it; one that is not well stays as it is, and marked.
func TestOptimize_marked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "r.git")
	b.marks.Mark(t.Context(), repo, errors.New("input/output error"))
	broken := filepath.Join(repo.Dir, "refs/heads/main")
	if err := os.WriteFile(broken, []byte(strings.Repeat("1", 40)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.manager.Optimize(t.Context(), repo, housekeeping.Eager); err == nil || !b.marks.Marked(repo) {
		t.Errorf("a broken repository: %v, marked %v", err, b.marks.Marked(repo))
	}
	if _, err := os.Stat(broken); err != nil {
		t.Errorf("it was touched: %v", err)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	if err := b.manager.Optimize(t.Context(), repo, housekeeping.Eager); err != nil || b.marks.Marked(repo) {
		t.Errorf("a repository that is well: %v, marked %v", err, b.marks.Marked(repo))
	}
}
