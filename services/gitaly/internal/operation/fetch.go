package operation

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/storage"
)

// ResolveIn is Resolve in another repository of this server; the commit and all that
// it needs are copied into the quarantine.
func (w *Work) ResolveIn(ctx context.Context, other *storage.Repo, revision string) (string, error) {
	if other == nil || other.Dir == w.repo.Dir {
		return w.Resolve(revision)
	}
	objects, err := object.Open(ctx, w.s.git, &other.Repo)
	if err != nil {
		return "", err
	}
	theirs := Work{Objects: objects}
	oid, err := theirs.Resolve(revision)
	_ = objects.Close() // it was asked, it has answered
	if err != nil {
		return "", err
	}
	return oid, w.fetch(ctx, other, oid)
}

// fetch copies what a commit of another repository needs and our references do not
// reach: a pack made with both repositories in view.
func (w *Work) fetch(ctx context.Context, other *storage.Repo, oid string) error {
	both := *w.view()
	both.Alternates = append(slices.Clone(both.Alternates), filepath.Join(other.Dir, "objects"))
	return w.s.git.Run(ctx, &both, gitcmd.Spec{
		Name: "pack-objects", Flags: []string{"--quiet", "--revs", "--non-empty"},
		Args: []string{filepath.Join(w.inside.ObjectDir, "pack/pack")}, Stdin: strings.NewReader(oid + "\n--not\n--all\n"),
	})
}
