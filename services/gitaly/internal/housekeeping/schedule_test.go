package housekeeping_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"gitsplit/kit/logging"
	"gitsplit/services/gitaly/internal/housekeeping"
	"gitsplit/services/gitaly/internal/storage"
)

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
