package housekeeping_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
)

const day = 24 * time.Hour

// bundle is a manager over one storage, with a clock and a git that can fail.
type bundle struct {
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
func (observer) HousekeepingRuns(int, int)               {}
func (observer) HousekeepingDue(int)                     {}

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
	b := &bundle{storage: st, locator: storage.NewLocator(st), git: &failingGit{Factory: factory}, totals: make(chan string, 1000)}
	b.manager = housekeeping.New(housekeeping.Options{
		Git: b.git, Sweeper: sweeper{guard, b}, Observer: observer{b.totals}, Log: logging.Discard(), Parallel: 1,
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

// TestOptimize_grace: an old object goes only when it was found unreachable the whole
// grace period ago, however old it is, and not when it was needed again meanwhile.
func TestOptimize_grace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "a.git")
	commit(t, repo, "main", "stays")
	old, again := commit(t, repo, "old", "old"), commit(t, repo, "again", "again")
	b.optimize(t, repo, housekeeping.Eager)
	loose := commit(t, repo, "loose", "loose and old")
	long := time.Now().Add(-100 * day)
	for _, path := range glob(t, repo, "objects/??/*", "objects/pack/*") {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	for _, branch := range []string{"old", "again", "loose"} {
		git(t, repo, "", "update-ref", "-d", "refs/heads/"+branch)
	}
	present := func(when string, want ...string) {
		t.Helper()
		for _, id := range []string{old, again, loose} {
			if got := has(t, repo, id); got != slices.Contains(want, id) {
				t.Errorf("%s: %s is there: %v", when, id, got)
			}
		}
	}
	b.optimize(t, repo, housekeeping.Eager)
	present("when it is found unreachable", old, again, loose)
	if i := inspect(t, repo); i.Crufts != 1 || len(i.Packs) != 2 {
		t.Errorf("packs: %+v", i.Packs)
	}
	b.ahead.Store(int64(9 * day))
	b.optimize(t, repo, housekeeping.Eager)
	present("after nine days", old, again, loose)

	git(t, repo, "", "update-ref", "refs/heads/again", again)
	b.optimize(t, repo, housekeeping.Eager)
	git(t, repo, "", "update-ref", "-d", "refs/heads/again")
	b.ahead.Store(int64(11 * day))
	b.optimize(t, repo, housekeeping.Eager)
	present("after eleven days", again)
	fsck(t, repo)

	if err := b.manager.Prune(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	present("when it is found unreachable again", again)
	b.ahead.Store(int64(11*day + 31*time.Minute))
	if err := b.manager.Prune(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	present("half an hour later")
	if i := inspect(t, repo); i.Crufts != 0 || len(i.Packs) != 1 {
		t.Errorf("packs: %+v", i.Packs)
	}
	fsck(t, repo)
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

// TestOptimize_comesBack: an object that is about to go and is sent again stays,
// although it was in the cruft pack for long.
func TestOptimize_comesBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "a.git")
	commit(t, repo, "main", "stays")
	id := commit(t, repo, "gone", "gone")
	git(t, repo, "", "update-ref", "-d", "refs/heads/gone")
	b.optimize(t, repo, housekeeping.Eager)
	b.ahead.Store(int64(9 * day))
	blob := git(t, repo, "gone", "hash-object", "-w", "--stdin") // a push, before it has moved its reference
	ahead := time.Now().Add(9 * day)
	for _, path := range glob(t, repo, "objects/??/*") {
		if err := os.Chtimes(path, ahead, ahead); err != nil {
			t.Fatal(err)
		}
	}
	b.optimize(t, repo, housekeeping.Eager)
	b.ahead.Store(int64(11 * day))
	b.optimize(t, repo, housekeeping.Eager)
	if has(t, repo, id) || !has(t, repo, blob) {
		t.Errorf("commit %v, blob %v", has(t, repo, id), has(t, repo, blob))
	}
}

// TestOptimize_geometric: packs are merged as they come, and their number stays small.
func TestOptimize_geometric(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "a.git")
	for i := range 12 {
		commit(t, repo, "main", fmt.Sprint(i))
		git(t, repo, "", "repack", "-q", "-n") // a pack of its own, and loose objects beside
		if i%4 == 3 {
			kept := commit(t, repo, fmt.Sprint("loose", i), fmt.Sprint(i))
			b.optimize(t, repo, housekeeping.Heuristical)
			info := inspect(t, repo)
			if len(info.Packs) > 3 || info.LooseObjects != 0 || len(info.MultiPackIndex.Packs) != len(info.Packs) || info.MultiPackBitmap.Version == 0 {
				t.Errorf("after %d: %+v", i, info)
			}
			if !has(t, repo, kept) {
				t.Error("a loose commit is gone")
			}
			fsck(t, repo)
		}
	}
	if got := git(t, repo, "", "rev-list", "--count", "refs/heads/main"); got != "12" {
		t.Errorf("%s commits", got)
	}
}

// TestOptimize_kept: a pack with a keep file stays, and what it has counts.
func TestOptimize_kept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "a.git")
	commit(t, repo, "main", "kept")
	git(t, repo, "", "repack", "-q", "-n", "-d")
	kept := glob(t, repo, "objects/pack/*.pack")[0]
	if err := os.WriteFile(strings.TrimSuffix(kept, ".pack")+".keep", []byte("by hand"), 0o600); err != nil {
		t.Fatal(err)
	}
	commit(t, repo, "main", "more")
	for _, s := range []housekeeping.Strategy{housekeeping.Heuristical, housekeeping.Eager, housekeeping.Eager} {
		b.optimize(t, repo, s)
		info := inspect(t, repo)
		if _, err := os.Lstat(kept); err != nil || len(info.Packs) != 2 || info.Keeps != 1 || info.MultiPackBitmap.Version == 0 {
			t.Errorf("%v: %v, %+v", s, err, info.Packs)
		}
		fsck(t, repo)
	}
}

// TestOptimize_pool: a pool keeps what nothing refers to, and its member has none of
// what the pool has, and no bitmap.
func TestOptimize_pool(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := strings.Repeat("ab", 32)
	pool, member := b.create(t, "@pools/ab/ab/"+name+".git"), b.create(t, "member.git")
	commit(t, pool, "main", "shared")
	lost := commit(t, pool, "lost", "lost")
	git(t, pool, "", "update-ref", "-d", "refs/heads/lost")
	for _, ahead := range []time.Duration{0, 11 * day, 30 * day} {
		b.ahead.Store(int64(ahead))
		b.optimize(t, pool, housekeeping.Eager)
	}
	if info := inspect(t, pool); !has(t, pool, lost) || len(info.Packs) != 1 || info.Crufts != 0 || info.MultiPackBitmap.Version == 0 {
		t.Errorf("pool: %v, %+v", has(t, pool, lost), info.Packs)
	}
	fsck(t, pool)
	if err := b.manager.Prune(t.Context(), pool); errs.KindOf(err) != errs.Invalid {
		t.Errorf("prune of the pool: %v", err)
	}

	b.ahead.Store(0)
	commit(t, member, "main", "shared")
	own := commit(t, member, "main", "own")
	b.optimize(t, member, housekeeping.Eager)
	before := git(t, member, "", "count-objects", "-v")
	alternates := filepath.Join(member.Dir, "objects/info/alternates")
	rel, _ := filepath.Rel(filepath.Join(member.Dir, "objects"), filepath.Join(pool.Dir, "objects"))
	if err := os.WriteFile(alternates, []byte(rel), 0o600); err != nil {
		t.Fatal(err)
	}
	b.ahead.Store(int64(time.Minute)) // else a coarse clock hides that they changed after the repack
	b.optimize(t, member, housekeeping.Heuristical)
	info := inspect(t, member)
	if info.MultiPackBitmap.Version != 0 || info.MultiPackIndex.Version == 0 || !has(t, member, own) {
		t.Errorf("member: %+v", info)
	}
	if after := git(t, member, "", "count-objects", "-v"); after == before {
		t.Errorf("the member keeps what the pool has: %s", after)
	}
	fsck(t, member)
}

// TestOptimize_sha256 and without any reference: both formats, and only cruft.
func TestOptimize_unusual(t *testing.T) {
	t.Parallel()
	b := setup(t)
	sha256 := b.locate(t, "sha256.git")
	if err := storage.Create(t.Context(), b.git, sha256, storage.CreateOptions{SHA256: true}); err != nil {
		t.Fatal(err)
	}
	commit(t, sha256, "main", "x")
	bare := b.create(t, "unreferenced.git")
	id := commit(t, bare, "main", "x")
	git(t, bare, "", "update-ref", "-d", "refs/heads/main")
	for _, repo := range []*storage.Repo{sha256, bare} {
		for _, s := range []housekeeping.Strategy{housekeeping.Heuristical, housekeeping.Eager, housekeeping.Eager} {
			b.optimize(t, repo, s)
			if info := inspect(t, repo); len(info.Packs) != 1 || info.MultiPackIndex.Version == 0 || info.LooseObjects != 0 {
				t.Errorf("%s, %v: %+v", repo.RelativePath, s, info)
			}
			fsck(t, repo)
		}
	}
	if !has(t, bare, id) {
		t.Error("the unreferenced commit is gone")
	}
	b.ahead.Store(int64(11 * day))
	b.optimize(t, bare, housekeeping.Eager)
	if info := inspect(t, bare); len(info.Packs) != 0 || has(t, bare, id) {
		t.Errorf("packs at the end: %+v", info.Packs)
	}
	fsck(t, bare)
}

// TestOptimize_interrupted breaks off at every call of git, before and after its work,
// as a crash would: nothing is lost, and the next run makes good.
func TestOptimize_interrupted(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			b := setup(t)
			repo := b.create(t, "a.git")
			commit(t, repo, "main", "first")
			git(t, repo, "", "repack", "-q", "-n", "-d")
			main, lost := commit(t, repo, "main", "second"), commit(t, repo, "lost", "lost")
			git(t, repo, "", "update-ref", "-d", "refs/heads/lost")
			b.git.calls, b.git.failAt, b.git.after = 0, at, after
			err := b.manager.Optimize(t.Context(), repo, housekeeping.Eager)
			if err == nil && b.git.calls < at {
				break // every call has had its failure
			}
			if !errors.Is(err, errInjected) {
				t.Fatalf("call %d: %v", at, err)
			}
			fsck(t, repo)
			b.git.failAt = 0
			b.optimize(t, repo, housekeeping.Eager)
			info := inspect(t, repo)
			if !has(t, repo, main) || !has(t, repo, lost) || len(info.Packs) != 2 || info.Crufts != 1 || info.LooseRefs != 0 || !info.CommitGraph.Bloom {
				t.Errorf("call %d, after its work %v: %+v", at, after, info)
			}
			fsck(t, repo)
		}
	}
}

// TestOptimize_replaced: a repository that is removed and restored meanwhile keeps its
// packs, although those of the removed one had the same names.
func TestOptimize_replaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "a.git")
	commit(t, repo, "main", "first")
	git(t, repo, "", "repack", "-q", "-n", "-d")
	tip := commit(t, repo, "main", "second")
	git(t, repo, "", "repack", "-q", "-n", "-d")
	backup := filepath.Join(t.TempDir(), "a.git")
	if err := os.CopyFS(backup, os.DirFS(repo.Dir)); err != nil {
		t.Fatal(err)
	}
	b.git.before = func(name string) {
		if name != "multi-pack-index write" {
			return
		}
		if err := errors.Join(os.Rename(repo.Dir, repo.Dir+".removed"), os.CopyFS(repo.Dir, os.DirFS(backup))); err != nil {
			t.Error(err)
		}
	}
	_ = b.manager.Optimize(t.Context(), repo, housekeeping.Eager) // it may notice
	if packs := glob(t, repo, "objects/pack/*.pack"); len(packs) != 2 || !has(t, repo, tip) {
		t.Errorf("%d packs", len(packs))
	}
	fsck(t, repo)
}

// TestOptimize_killed: what a git that was killed had begun goes at once.
func TestOptimize_killed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	on, script := filepath.Join(dir, "on"), filepath.Join(dir, "git")
	if err := os.WriteFile(script, fmt.Appendf(nil, `#!/bin/sh
case "$* " in
*" pack-objects "*) [ -e %[1]s ] && { echo x >"$2/objects/pack/tmp_pack_x"; kill -KILL $$; } ;;
*" commit-graph "*) [ -e %[1]s ] && { echo x >"$2/objects/info/commit-graphs/commit-graph-chain.lock"; kill -KILL $$; } ;;
*" pack-refs "*) [ -e %[1]s ] && { echo x >"$2/packed-refs.lock"; kill -KILL $$; } ;;
esac
exec git "$@"
`, on), 0o700); err != nil {
		t.Fatal(err)
	}
	b := setupGit(t, script)
	repo := b.create(t, "a.git")
	id := commit(t, repo, "main", "x")
	b.optimize(t, repo, housekeeping.Eager)
	commit(t, repo, "main", "y")
	if err := os.WriteFile(on, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.manager.Optimize(t.Context(), repo, housekeeping.Eager); err == nil {
		t.Error("a killed git is no failure")
	}
	fsck(t, repo)
	if err := os.Remove(on); err != nil {
		t.Fatal(err)
	}
	b.optimize(t, repo, housekeeping.Eager)
	if info := inspect(t, repo); len(info.Packs) != 1 || !has(t, repo, id) {
		t.Errorf("%+v", info)
	}
	fsck(t, repo)
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

// TestScheduler: a repository is visited after enough writes, its references sooner.
func TestScheduler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "a.git")
	id := commit(t, repo, "main", "x")
	for i := range 20 {
		git(t, repo, "", "update-ref", fmt.Sprintf("refs/heads/b%d", i), id)
	}
	s := housekeeping.NewScheduler(b.manager)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(done)
	}()
	wrote := func(n int) {
		for range n {
			s.Wrote(repo)
		}
	}
	wrote(11)
	if got := []string{<-b.totals, <-b.totals}; !slices.Equal(got, []string{"packed_refs", "total"}) {
		t.Errorf("after 11 writes: %q", got)
	}
	if info := inspect(t, repo); info.LooseRefs != 0 || info.LooseObjects == 0 {
		t.Errorf("after 11 writes: %+v", info)
	}
	wrote(10)
	for task := range b.totals {
		if task == "total" {
			break
		}
	}
	if info := inspect(t, repo); info.LooseObjects != 0 || info.MultiPackIndex.Version == 0 {
		t.Errorf("after 21 writes: %+v", info)
	}
	if err := storage.Remove(repo); err != nil {
		t.Fatal(err)
	}
	wrote(30) // gone: it is left out
	cancel()
	<-done
	if len(b.totals) > 0 {
		t.Errorf("another run: %q", <-b.totals)
	}
}

// TestDaily visits all repositories, those first that the last window did not reach.
func TestDaily(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, rel := range []string{"@hashed/a/a.git", "@hashed/b/b.git", "c.git"} {
		commit(t, b.create(t, rel), "main", "x")
	}
	d := &housekeeping.Daily{Manager: b.manager, Locator: b.locator, Log: logging.Discard()}
	window := func(shutAfter int) (visited []string) {
		ctx, shut := context.WithCancel(t.Context())
		defer shut()
		b.swept = func(dir string) {
			rel, _ := filepath.Rel(b.storage.Path, dir)
			if visited = append(visited, rel); len(visited) == shutAfter {
				shut()
			}
		}
		if n := d.Visit(ctx, b.storage); n != len(visited) {
			t.Errorf("%d visited, %q", n, visited)
		}
		return visited
	}
	a, bb, c := "@hashed/a/a.git", "@hashed/b/b.git", "c.git"
	for _, tc := range []struct {
		shutAfter int
		want      []string
	}{{2, []string{a, bb}}, {0, []string{c, a, bb}}, {1, []string{a}}, {1, []string{bb}}, {2, []string{c, a}}, {0, []string{bb, c, a}}} {
		if got := window(tc.shutAfter); !slices.Equal(got, tc.want) {
			t.Errorf("window of %d: %q, want %q", tc.shutAfter, got, tc.want)
		}
	}
	for _, rel := range []string{a, bb, c} {
		if info := inspect(t, b.locate(t, rel)); info.MultiPackIndex.Version == 0 {
			t.Errorf("%s was not kept", rel)
		}
	}
}
