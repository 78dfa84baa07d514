package ref

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // the protocol's checksum, not a signature
	"encoding/hex"
	"regexp"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// summed are the lines that count, as GitLab has it: the word HEAD anywhere counts.
var summed = regexp.MustCompile(`HEAD|refs/(heads|tags|keep-around|merge-requests|environments|notes)/`)

// Checksum condenses HEAD and the references that users see: the exclusive or of the
// SHA-1 of each line of git show-ref --head, in hex, without leading zero bytes. A
// repository without references has 40 zeros. Two GitLab servers compare these.
func Checksum(ctx context.Context, git Git, repo *gitcmd.Repo) (string, error) {
	var sum [sha1.Size]byte
	err := git.Lines(ctx, repo, gitcmd.Spec{Name: "show-ref", Flags: []string{"--head"}}, func(line []byte) error {
		if !summed.Match(line) {
			return nil
		}
		for i, b := range sha1.Sum(line) { //nolint:gosec // as above
			sum[i] ^= b
		}
		return nil
	})
	if err != nil && !gitcmd.Exited(err, 1) { // 1: nothing to show
		return "", err
	}
	if sum == [sha1.Size]byte{} {
		return hex.EncodeToString(sum[:]), nil
	}
	return hex.EncodeToString(bytes.TrimLeft(sum[:], "\x00")), nil
}
