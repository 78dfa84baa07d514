package housekeeping_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/housekeeping"
	"gitsplit/services/gitaly/internal/storage"
)

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
