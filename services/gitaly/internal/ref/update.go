package ref

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Change moves one reference. New all zero deletes. Old is what it must be now: all
// zero means that it must not exist, "" that anything will do.
type Change struct{ Name, New, Old string }

// check refuses what git must not see.
func (c Change) check() error {
	if !Valid(c.Name) {
		return errs.New(errs.Invalid, "invalid refname")
	}
	if !ValidOID(c.New) || c.Old != "" && !ValidOID(c.Old) {
		return errs.New(errs.Invalid, "invalid object id")
	}
	return nil
}

// Update carries the changes out, all or none. hooks sets what the transaction
// calls; use NoHooks for none. Errors are those of Transaction.
func Update(ctx context.Context, git Git, repo *gitcmd.Repo, hooks gitcmd.Spec, changes ...Change) error {
	t, err := Begin(ctx, git, repo, hooks)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if err := t.Add(c); err != nil {
			t.Abort()
			return err
		}
	}
	return t.Commit()
}

// SetHead points HEAD at a branch, which need not exist.
func SetHead(ctx context.Context, git Git, repo *gitcmd.Repo, name string) error {
	if !Valid(name) {
		return errs.New(errs.Invalid, "invalid refname")
	}
	return git.Run(ctx, repo, gitcmd.Spec{Name: "symbolic-ref", Args: []string{"HEAD", name}, NoHooks: true})
}
