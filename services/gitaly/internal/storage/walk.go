package storage

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
)

// EachRepository calls do with every directory below root that looks like a
// repository, in the order of their names, until ctx ends. Our own directory is left
// out.
func EachRepository(ctx context.Context, root string, do func(dir string)) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil || !d.IsDir():
			return nil //nolint:nilerr // vanished
		case d.Name() == ownDir:
			return fs.SkipDir
		}
		if _, err := os.Lstat(filepath.Join(path, "HEAD")); err != nil {
			return nil //nolint:nilerr // a directory above repositories
		}
		do(path)
		return fs.SkipDir
	})
}
