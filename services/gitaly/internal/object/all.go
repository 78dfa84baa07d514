package object

import (
	"context"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// Lister is the part of gitcmd.Factory that lists.
type Lister interface {
	Lines(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec, each func(line []byte) error) error
}

// All calls each for every object of the repository, reachable or not, in the order of
// the disk. An error of each ends it.
func All(ctx context.Context, git Lister, repo *gitcmd.Repo, each func(Info) error) error {
	s := gitcmd.Spec{Name: "cat-file", Flags: []string{"--batch-check", "--batch-all-objects", "--unordered", "--buffer"}}
	return git.Lines(ctx, repo, s, func(line []byte) error {
		info, err := parse(string(line))
		if err != nil {
			return err
		}
		return each(info)
	})
}
