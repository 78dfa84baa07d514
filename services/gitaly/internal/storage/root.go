package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gitsplit/kit/errs"
)

// Root opens the repository's directory as a root that nothing leads out of. Close it.
func (r *Repo) Root() (*os.Root, error) {
	root, err := r.Storage.root.OpenRoot(r.RelativePath)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	return root, nil
}

// maxBorrowed bounds the object directories of one repository: git follows chains of
// alternates five deep, and a fork has one.
const maxBorrowed = 16

// ObjectRoots opens the object directories that the repository reads from: its own,
// then those that it borrows from. They must lie in its storage; else it is
// errs.FailedPrecondition. Close them.
func (r *Repo) ObjectRoots() (roots []*os.Root, err error) {
	defer func() {
		if err != nil {
			for _, root := range roots {
				err = errors.Join(err, root.Close())
			}
			roots = nil
		}
	}()
	dirs := []string{filepath.Join(r.RelativePath, "objects")}
	for i := 0; i < len(dirs); i++ {
		if i == maxBorrowed {
			return roots, errs.New(errs.FailedPrecondition, "repository borrows from too many others")
		}
		root, err := r.Storage.root.OpenRoot(dirs[i])
		if err != nil {
			return roots, fmt.Errorf("open object directory: %w", err)
		}
		roots = append(roots, root)
		more, err := r.Storage.alternates(root, dirs[i])
		if err != nil {
			return roots, err
		}
		dirs = append(dirs, more...)
	}
	return roots, nil
}

// alternates reads where an object directory borrows from, relative to the storage.
func (s *Storage) alternates(objects *os.Root, dir string) ([]string, error) {
	raw, err := objects.ReadFile("info/alternates")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read alternates: %w", err)
	}
	var dirs []string
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		rel := filepath.Join(dir, line)
		if filepath.IsAbs(line) {
			if rel, err = filepath.Rel(s.Path, line); err != nil {
				return nil, fmt.Errorf("read alternates: %w", err)
			}
		}
		if !filepath.IsLocal(rel) {
			return nil, errs.New(errs.FailedPrecondition, "repository borrows from outside of its storage")
		}
		dirs = append(dirs, rel)
	}
	return dirs, nil
}
