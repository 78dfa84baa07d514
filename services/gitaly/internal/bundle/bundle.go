// Package bundle writes bundle files: references and what they reach, as one stream
// (git's documentation, gitformat-bundle).
package bundle

import (
	"context"
	"io"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error
}

// All writes all references. None are errs.FailedPrecondition.
func All(ctx context.Context, git Git, repo *gitcmd.Repo, w io.Writer) error {
	return create(ctx, git, repo, gitcmd.Spec{Flags: []string{"--quiet", "-", "--all"}, Stdout: w})
}

// Some writes the references that in names; "^name" and "^id" stand for what the
// receiver has. Names that are not there are passed over. If nothing is left, it is
// errs.FailedPrecondition.
func Some(ctx context.Context, git Git, repo *gitcmd.Repo, in *commit.Input, w io.Writer) error {
	flags := append([]string{"--quiet", "-", "--ignore-missing", "--stdin"}, in.Flags...)
	err := create(ctx, git, repo, gitcmd.Spec{Flags: flags, Stdin: in, Stdout: w})
	if in.Err() != nil {
		return in.Err()
	}
	return err
}

func create(ctx context.Context, git Git, repo *gitcmd.Repo, s gitcmd.Spec) error {
	s.Name = "bundle create"
	err := git.Run(ctx, repo, s)
	if gitcmd.Exited(err, 128) && strings.Contains(err.Error(), "Refusing to create empty bundle") {
		return errs.Wrap(errs.FailedPrecondition, "create bundle: refusing to create empty bundle", err)
	}
	return err
}
