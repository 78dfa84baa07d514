package diff

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// PatchID returns git's id of the change between two revisions, or two blobs given as
// revision:path. contextFree leaves the lines around it out. No change at all is
// errs.FailedPrecondition.
func PatchID(ctx context.Context, git Git, repo *gitcmd.Repo, left, right string, contextFree bool) (string, error) {
	for _, rev := range []string{left, right} {
		if err := checkScoped(rev); err != nil {
			return "", err
		}
	}
	flags := append(safe(), "--full-index", "--find-renames", "--src-prefix=a/", "--dst-prefix=b/")
	if contextFree {
		flags = append(flags, "--unified=0")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return "", fmt.Errorf("compute patch id: %w", err)
	}
	compare, err := git.Start(ctx, repo, gitcmd.Spec{Name: "diff", Flags: flags, Args: []string{left, right}, Stdout: w})
	_ = w.Close() // git has its own
	if err != nil {
		return "", errors.Join(err, r.Close())
	}
	out, err := git.Output(ctx, repo, gitcmd.Spec{Name: "patch-id", Flags: []string{"--verbatim"}, Stdin: r}, 1024)
	_ = r.Close() // from here on nobody reads, so the other git ends
	if compareErr := compare.Wait(); compareErr != nil {
		return "", failed(compareErr)
	}
	if err != nil {
		return "", err
	}
	id, _, found := strings.Cut(string(out), " ")
	if !found {
		return "", errs.New(errs.FailedPrecondition, "no difference between old and new revision")
	}
	return id, nil
}

// checkScoped is ref.CheckRevision that takes revision:path too.
func checkScoped(rev string) error {
	revision, p, scoped := strings.Cut(rev, ":")
	if err := ref.CheckRevision(revision); err != nil || !scoped {
		return err
	}
	clean, err := object.CleanPath(p)
	if err != nil {
		return err
	}
	if clean != p || p == "" {
		return errs.New(errs.Invalid, "path of a revision is not clean")
	}
	return nil
}
