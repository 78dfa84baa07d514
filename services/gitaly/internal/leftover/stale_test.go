package leftover_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/logging"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/leftover"
)

// day is a day.
const day = 24 * time.Hour

// ages are when files become stale; 0 is never.
var ages = []struct {
	name, content string
	age           time.Duration
}{
	{"config", "x", 0},
	{"HEAD", "ref: refs/heads/main", 0},
	{"config.lock", "x", 15 * time.Minute},
	{"HEAD.lock", "x", 15 * time.Minute},
	{"packed-refs", "x", 0},
	{"packed-refs.new", "x", 15 * time.Minute},
	{"packed-refs.lock", "x", time.Hour},
	{"info/refs", "x", time.Second},
	{"info/attributes", "x", 0},
	{"custom_hooks/tmp_x", "x", 0},
	{"refs/heads/main", "x", 0},
	{"refs/heads/tmp_x", "x", 0},
	{"refs/heads/a/b.lock", "x", time.Hour},
	{"refs/heads/a/empty", "", day},
	{"objects/info/alternates", "x", 0},
	{"objects/info/packs", "x", time.Second},
	{"objects/info/commit-graphs/commit-graph-chain.lock", "x", 15 * time.Minute},
	{"objects/ab/tmp_obj_x", "x", day},
	{"objects/ab/0123456789012345678901234567890123456789", "x", 0},
	{"objects/pack/tmp_pack_x", "x", day},
	{"objects/pack/.tmp-1-pack-x.pack", "x", day},
	{"objects/pack/multi-pack-index", "x", 0},
	{"objects/pack/multi-pack-index.lock", "x", 15 * time.Minute},
	{"objects/pack/pack-1.pack", "x", 0},
	{"objects/pack/pack-1.keep", "receive-pack 12 on host", 7 * day},
	{"objects/pack/pack-2.keep", "keep it", 0},
	{"objects/tmp_objdir-incoming-x/tmp_obj_x", "x", 3 * day},
}

func TestGuard_RemoveStale(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	for _, past := range []time.Duration{0, time.Minute, 20 * time.Minute, 2 * time.Hour, 2 * day, 4 * day, 8 * day} {
		repo := t.TempDir()
		var stay []string
		for _, f := range ages {
			write(t, repo, f.name, f.content, now.Add(-past))
			if f.age == 0 || past <= f.age {
				stay = append(stay, f.name)
			}
		}
		g := leftover.NewGuard(logging.Discard(), func() time.Time { return now })
		removed, err := g.RemoveStale(repo)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range ages {
			names = append(names, f.name)
		}
		got := present(repo, names)
		if diff := cmp.Diff(stay, got); diff != "" {
			t.Errorf("after %v (-want +got):\n%s", past, diff)
		}
		if past > 0 && len(removed) == 0 {
			t.Errorf("after %v: removed nothing", past)
		}
	}
}

// TestGuard_RemoveStale_living: what a living writer may own stays however old.
func TestGuard_RemoveStale_living(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := leftover.NewGuard(logging.Discard(), func() time.Time { return now })
	leave := g.Enter(repo, gitcmd.PackTraces)
	write(t, repo, "objects/pack/tmp_pack_x", "x", now)
	now = now.Add(9 * day)
	if removed, err := g.RemoveStale(repo); err != nil || len(removed) > 0 {
		t.Errorf("removed %q, %v", removed, err)
	}
	leave(true)
	if removed, err := g.RemoveStale(repo); err != nil || !slices.Equal(removed, []string{"objects/pack/tmp_pack_x"}) {
		t.Errorf("removed %q, %v", removed, err)
	}
}

// TestGuard_RemoveStale_refDirs: directories that held references once go, those that
// git or we expect stay.
func TestGuard_RemoveStale_refDirs(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	now := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	write(t, repo, "refs/heads/a/empty", "", now.Add(-2*day))
	write(t, repo, "refs/heads/b/full", "x", now.Add(-2*day))
	g := leftover.NewGuard(logging.Discard(), func() time.Time { return now })
	if _, err := g.RemoveStale(repo); err != nil {
		t.Fatal(err)
	}
	now = time.Now().Add(2 * day) // removing the file has made its directory young
	removed, err := g.RemoveStale(repo)
	if err != nil || !slices.Equal(removed, []string{"refs/heads/a"}) {
		t.Errorf("removed %q, %v", removed, err)
	}
	if got := present(repo, []string{"refs/heads", "refs/heads/a", "refs/heads/b"}); len(got) != 2 {
		t.Errorf("there are %q", got)
	}
}
