package ref

import (
	"bytes"
	"context"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// Read returns what references point at, by their full names; those that are not there
// are left out. It reads no object, and so works where some are missing.
func Read(ctx context.Context, git Git, repo *gitcmd.Repo, names []string) (map[string]string, error) {
	wanted, patterns := make(map[string]bool, len(names)), names
	for _, name := range names {
		wanted[name] = true
	}
	if len(names) > maxPatterns {
		patterns = nil
	}
	found := map[string]string{}
	s := gitcmd.Spec{Name: "for-each-ref", Flags: []string{"--format=%(objectname) %(refname)"}, Args: patterns}
	err := git.Lines(ctx, repo, s, func(line []byte) error {
		oid, name, _ := bytes.Cut(line, []byte(" "))
		if wanted[string(name)] {
			found[string(name)] = string(oid)
		}
		return nil
	})
	return found, err
}
