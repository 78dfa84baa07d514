package ref

import (
	"bytes"
	"context"
	"fmt"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Change moves one reference. New all zero deletes. Old is what it must be now: all
// zero means that it must not exist, "" that anything will do.
type Change struct{ Name, New, Old string }

// Update carries the changes out, all or none. hooks sets what the transaction
// calls; use NoHooks for none. A reference that is not what it must be, or is
// being changed, is errs.Conflict.
func Update(ctx context.Context, git Git, repo *gitcmd.Repo, hooks gitcmd.Spec, changes ...Change) error {
	var in bytes.Buffer
	for _, c := range changes {
		if !Valid(c.Name) {
			return errs.New(errs.Invalid, "invalid refname")
		}
		if !ValidOID(c.New) || c.Old != "" && !ValidOID(c.Old) {
			return errs.New(errs.Invalid, "invalid object id")
		}
		fmt.Fprintf(&in, "update %s\x00%s\x00%s\x00", c.Name, c.New, c.Old)
	}
	hooks.Name, hooks.Flags, hooks.Stdin = "update-ref", []string{"--stdin", "-z"}, &in
	err := git.Run(ctx, repo, hooks)
	if gitcmd.Exited(err, 128) {
		return errs.Wrap(errs.Conflict, "reference could not be updated", err)
	}
	return err
}

// SetHead points HEAD at a branch, which need not exist.
func SetHead(ctx context.Context, git Git, repo *gitcmd.Repo, name string) error {
	if !Valid(name) {
		return errs.New(errs.Invalid, "invalid refname")
	}
	return git.Run(ctx, repo, gitcmd.Spec{Name: "symbolic-ref", Args: []string{"HEAD", name}, NoHooks: true})
}
