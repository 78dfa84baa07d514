package commit

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// DiskUsage adds up what the objects that the revisions reach take on disk, in bytes.
func DiskUsage(ctx context.Context, git Git, repo *gitcmd.Repo, in *Input) (uint64, error) {
	out, err := git.Output(ctx, repo, gitcmd.Spec{
		Name: "rev-list", Flags: append([]string{"--disk-usage", "--objects", "--stdin"}, in.Flags...), Stdin: in,
	}, 100)
	if in.Err() != nil {
		return 0, in.Err()
	}
	if err != nil {
		return 0, unknownRevision(err)
	}
	size, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read disk usage: %w", err)
	}
	return size, nil
}
