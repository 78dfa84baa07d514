package operation

import (
	"context"
	"errors"

	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Rebase applies the commits that a branch has beyond another one onto that one, in
// order, and returns the id of the last. Merges are left out, as is what upstream has
// already or would change nothing any more. A commit that does not fit is a *Conflict.
func (w *Work) Rebase(ctx context.Context, upstream, branch string, committer Signature) (string, error) {
	base, err := commit.MergeBase(ctx, w.s.o.Git, w.view(), []string{upstream, branch})
	if err != nil {
		return "", err
	}
	switch base {
	case upstream: // it is there already
		return branch, nil
	case branch:
		return upstream, nil
	}
	tip := upstream
	onto, err := w.Raw(upstream)
	if err != nil {
		return "", err
	}
	err = w.s.o.Git.Lines(ctx, w.view(), gitcmd.Spec{
		Name:  "rev-list",
		Flags: []string{"--cherry-pick", "--right-only", "--no-merges", "--topo-order", "--reverse"},
		Args:  []string{upstream + "..." + branch},
	}, func(line []byte) error {
		oid, next, err := w.replay(ctx, string(line), tip, onto, committer)
		if oid != "" {
			tip, onto = oid, next
		}
		return err
	})
	return tip, err
}

// replay applies one commit; "" if there is nothing left of it.
func (w *Work) replay(ctx context.Context, oid, tip string, onto commit.Raw, committer Signature) (string, commit.Raw, error) {
	picked, err := w.Raw(oid)
	if err != nil {
		return "", onto, err
	}
	tree, err := w.Pick(ctx, onto, picked)
	var conflict *Conflict
	if errors.As(err, &conflict) {
		conflict.Commit = oid
	}
	if err != nil {
		return "", onto, err
	}
	if tree == onto.Tree { // a commit that was empty from the beginning stays
		before, err := w.before(picked)
		if err != nil || before != picked.Tree {
			return "", onto, err
		}
	}
	picked.Tree, picked.Parents = tree, []string{tip}
	oid, err = w.Rewrite(ctx, picked, committer)
	return oid, picked, err
}
