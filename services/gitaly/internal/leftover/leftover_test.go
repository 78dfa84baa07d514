package leftover_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"gitsplit/kit/logging"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/leftover"
)

// leftovers are one of each kind; bystanders must stay.
var (
	leftovers = []string{
		"objects/tmp_objdir-incoming-a/pack/tmp_pack_x", "objects/ab/tmp_obj_1", "objects/pack/tmp_idx_1", "objects/pack/pack-1.keep",
		"objects/pack/.tmp-7-pack-1.pack", "objects/pack/multi-pack-index.lock", "objects/info/commit-graphs/tmp_graph_1",
		"objects/info/commit-graphs/commit-graph-chain.lock", "packed-refs.lock", "packed-refs.new", "HEAD.lock", "reftable/tables.list.lock", "refs/heads/main.lock", "refs/heads/deep/er.lock", torn,
	}
	bystanders = []string{
		"HEAD", "objects/ab/cdef", "objects/pack/pack-1.pack", "objects/pack/pack-2.keep", "refs/heads/main", "refs/heads/deep/other", "hooks/x.lock",
	}
)

// torn is a reference that a crash of the machine has left empty.
const torn = "refs/heads/deep/torn"

func write(t *testing.T, repo, name, content string, at time.Time) {
	t.Helper()
	path := filepath.Join(repo, name)
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600),
		os.Chtimes(path, at, at), os.Chtimes(filepath.Dir(path), at, at))
	if err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, repo string, at time.Time) {
	t.Helper()
	for _, name := range slices.Concat(bystanders, leftovers) {
		write(t, repo, name, "receive-pack 4711 on host", at)
	}
	write(t, repo, torn, "", at)
	write(t, repo, "objects/pack/pack-2.keep", "kept by the administrator", at)
	if err := os.Chtimes(filepath.Join(repo, "objects/tmp_objdir-incoming-a"), at, at); err != nil {
		t.Fatal(err)
	}
}

func present(repo string, names []string) (found []string) {
	for _, n := range names {
		if _, err := os.Lstat(filepath.Join(repo, n)); err == nil {
			found = append(found, n)
		}
	}
	return found
}

func want(t *testing.T, repo string, names ...string) {
	t.Helper()
	if diff := cmp.Diff(names, present(repo, leftovers)); diff != "" {
		t.Errorf("leftovers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(bystanders, present(repo, bystanders)); diff != "" {
		t.Errorf("bystanders (-want +got):\n%s", diff)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := leftover.NewGuard(logging.Discard(), func() time.Time { return now })

	fill(t, repo, now)
	leaveFirst := g.Enter(repo, gitcmd.RefTraces) // the first writer finds leftovers of an earlier gitaly
	want(t, repo)
	defer g.Enter(repo, gitcmd.NoTraces)(true) // owns nothing, however old

	now = now.Add(time.Minute)
	leaveKilled := g.Enter(repo, gitcmd.RefTraces)
	fill(t, repo, now)
	leaveKilled(false)
	want(t, repo, leftovers...) // they could be the first writer's

	now = now.Add(time.Minute)
	leaveThird := g.Enter(repo, gitcmd.RefTraces)
	leaveFirst(true)
	want(t, repo) // now the oldest writer is younger than they are

	fill(t, repo, now)
	leaveThird(true)
	want(t, repo) // nobody is left who could own anything

	fill(t, repo, now)
	g.Enter(repo, gitcmd.RefTraces)(true)
	want(t, repo, leftovers...) // clean writers leave nothing, so nobody looks
}

func TestGuard_SweepAll(t *testing.T) {
	t.Parallel()
	root, now := t.TempDir(), time.Now()
	repo, tmp := filepath.Join(root, "@hashed/aa/bb/x.git"), filepath.Join(root, "+gitaly/tmp/y")
	fill(t, repo, now)
	fill(t, tmp, now)
	g := leftover.NewGuard(logging.Discard(), time.Now)
	if err := g.SweepAll(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	want(t, repo)
	want(t, tmp, leftovers...)
}

// TestGuard_blocks: no writer starts while leftovers are being removed.
func TestGuard_blocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := leftover.NewGuard(logging.Discard(), time.Now)
		repo := t.TempDir()
		done := make(chan struct{})
		for range 8 {
			go func() {
				for range 20 {
					g.Enter(repo, gitcmd.RefTraces)(false)
				}
				done <- struct{}{}
			}()
		}
		for range 8 {
			<-done
		}
	})
}

// TestGuard_housekeeping: what a killed push left goes although housekeeping goes on,
// whose own files stay.
func TestGuard_housekeeping(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := leftover.NewGuard(logging.Discard(), func() time.Time { return now })
	leaveRepack := g.Enter(repo, gitcmd.PackTraces)

	now = now.Add(time.Minute)
	leavePush := g.Enter(repo, gitcmd.RefTraces)
	fill(t, repo, now)
	leavePush(false)
	packs := []string{"objects/ab/tmp_obj_1", "objects/pack/tmp_idx_1", "objects/pack/.tmp-7-pack-1.pack", "objects/pack/multi-pack-index.lock",
		"objects/info/commit-graphs/tmp_graph_1", "objects/info/commit-graphs/commit-graph-chain.lock"}
	want(t, repo, packs...)

	leaveRepack(true)
	want(t, repo) // the push may have left them, and nobody else is there

	now = now.Add(time.Minute)
	leaveRepack, leavePush = g.Enter(repo, gitcmd.PackTraces), g.Enter(repo, gitcmd.RefTraces)
	fill(t, repo, now)
	leaveRepack(false)
	want(t, repo, leftovers...) // the push is alive
	now = now.Add(time.Minute)
	leavePush(true)
	want(t, repo, slices.DeleteFunc(slices.Clone(leftovers), func(name string) bool { return slices.Contains(packs, name) })...)
}

func TestGuard_SweepAll_remembers(t *testing.T) {
	t.Parallel()
	root, now := t.TempDir(), time.Now()
	repo, later := filepath.Join(root, "a.git"), filepath.Join(root, "b.git")
	fill(t, repo, now)
	g := leftover.NewGuard(logging.Discard(), time.Now)
	if err := g.SweepAll(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	fill(t, later, now)
	g.Enter(later, gitcmd.RefTraces)(true)
	want(t, later, leftovers...) // nobody was killed there since
	g.Enter(later, gitcmd.RefTraces)(false)
	want(t, later)
}

func TestRemove_oddPath(t *testing.T) {
	t.Parallel()
	repo := filepath.Join(t.TempDir(), "a[b]*c?")
	fill(t, repo, time.Now().Add(-time.Minute))
	leftover.NewGuard(logging.Discard(), time.Now).Sweep(repo)
	want(t, repo)
}
