package commit

import (
	"bytes"
	"context"
	"strconv"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// Blobs calls each for the blobs that the revisions reach, with the path at which the
// walk met it first (up to a line break in it); maxSize leaves larger ones out, unless
// it is negative. An error of each ends it.
func Blobs(ctx context.Context, git Git, repo *gitcmd.Repo, in *Input, maxSize int64, each func(oid string, path []byte) error) error {
	flags := []string{"--objects", "--stdin", "--filter=object:type=blob", "--filter-provided-objects"}
	if maxSize >= 0 {
		flags = append(flags, "--filter=blob:limit="+strconv.FormatInt(maxSize+1, 10))
	}
	err := git.Lines(ctx, repo, gitcmd.Spec{Name: "rev-list", Flags: append(flags, in.Flags...), Stdin: in}, func(line []byte) error {
		oid, path, _ := bytes.Cut(line, []byte(" "))
		return each(string(oid), path)
	})
	if in.Err() != nil {
		return in.Err()
	}
	return unknownRevision(err)
}
