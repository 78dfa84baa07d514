package gitwire_test

import (
	"context"
	"path/filepath"
	"testing"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
)

// TestLocal pushes to git's own receive-pack and fetches from its upload-pack.
func TestLocal(t *testing.T) {
	t.Parallel()
	r, err := fixture.Make(t.Context(), t.TempDir(), fixture.Spec{Name: "wire", Commits: 5, Files: 3, Text: 100})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "server.git")
	if err := fixture.Place(r, dir); err != nil {
		t.Fatal(err)
	}
	pushes, err := fixture.Chain(t.Context(), r, 2)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := local(t.Context(), dir, "upload-pack", func(p gitwire.Pipe) (int64, error) {
		return gitwire.Fetch(p, gitwire.Want{Ref: "refs/heads/main"})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, push := range pushes {
		u := gitwire.Move("refs/heads/main", push.Old, push.New, push.Pack)
		if _, err := local(t.Context(), dir, "receive-pack", func(p gitwire.Pipe) (int64, error) { return 0, gitwire.Send(p, u) }); err != nil {
			t.Fatal(err)
		}
	}
	u := gitwire.Move("refs/heads/main", pushes[0].Old, pushes[0].New, pushes[0].Pack)
	if _, err := local(t.Context(), dir, "receive-pack", func(p gitwire.Pipe) (int64, error) { return 0, gitwire.Send(p, u) }); err == nil {
		t.Error("a push from an old value was reported as good")
	}
	shallow, err := local(t.Context(), dir, "upload-pack", func(p gitwire.Pipe) (int64, error) {
		return gitwire.Fetch(p, gitwire.Want{Ref: "refs/heads/main", Shallow: true})
	})
	if err != nil || shallow <= 0 || shallow >= whole {
		t.Errorf("the whole pack has %d bytes, the shallow one %d, %v", whole, shallow, err)
	}
	if _, err := local(t.Context(), dir, "upload-pack", func(p gitwire.Pipe) (int64, error) {
		return gitwire.Fetch(p, gitwire.Want{Ref: "refs/heads/none"})
	}); err == nil {
		t.Error("a reference that is not there was fetched")
	}
}

func local(ctx context.Context, dir, command string, talk func(gitwire.Pipe) (int64, error)) (int64, error) {
	p, err := gitwire.Start(ctx, "git", command, dir)
	if err != nil {
		return 0, err
	}
	n, err := talk(p)
	if err != nil {
		_ = p.CloseWrite()
		_ = p.Wait()
		return n, err
	}
	return n, p.Wait()
}
