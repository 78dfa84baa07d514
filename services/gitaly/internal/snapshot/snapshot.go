// Package snapshot copies a repository's files as they are, damaged or not, for a
// server that keeps a second copy.
package snapshot

import (
	"context"
	"io"
	"os"
	"regexp"
	"strings"

	"gitsplit/services/gitaly/internal/storage"
	"gitsplit/services/gitaly/internal/tarball"
)

// objectFile are loose objects and packs with their indexes, and the directories that
// they are in; all else in an object directory can be made anew.
var objectFile = regexp.MustCompile(`^([0-9a-f]{2}/|pack/|[0-9a-f]{2}/([0-9a-f]{38}|[0-9a-f]{62})|pack/pack-([0-9a-f]{40}|[0-9a-f]{64})\.(pack|idx))$`)

// Write writes HEAD, the references and all objects, also those that are borrowed, as
// a tar stream. Configuration, hooks, logs and locks stay here. A push meanwhile is in
// it or not; references come before objects, loose ones before packed ones, so that
// what is moved from the one to the other is not missed.
func Write(ctx context.Context, repo *storage.Repo, w io.Writer) error {
	root, err := repo.Root()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	objects, err := repo.ObjectRoots()
	if err != nil {
		return err
	}
	defer func() {
		for _, o := range objects {
			_ = o.Close()
		}
	}()
	out := tarball.NewWriter(w)
	if err := references(ctx, out, root); err != nil {
		return err
	}
	for i := range objects {
		if err := add(ctx, out, objects, i); err != nil {
			return err
		}
	}
	return out.Close()
}

func references(ctx context.Context, out *tarball.Writer, root *os.Root) error {
	if err := out.File(root, "HEAD", "HEAD"); err != nil {
		return err
	}
	err := out.Tree(ctx, root, "refs", "refs", func(rel string) bool { return !strings.HasSuffix(rel, ".lock") })
	if err != nil {
		return err
	}
	for _, name := range []string{"packed-refs", "shallow"} {
		if err := out.File(root, name, name); err != nil {
			return err
		}
	}
	return nil
}

// add packs one object directory without what those before had.
func add(ctx context.Context, out *tarball.Writer, objects []*os.Root, i int) error {
	return out.Tree(ctx, objects[i], ".", "objects", func(rel string) bool {
		if !objectFile.MatchString(rel) || strings.HasSuffix(rel, "/") {
			return objectFile.MatchString(rel)
		}
		for _, earlier := range objects[:i] {
			if _, err := earlier.Lstat(rel); err == nil {
				return false
			}
		}
		return true
	})
}
