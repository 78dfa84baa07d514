package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	repos := []*Repo{r}
	for i := 0; i < len(repos); i++ {
		if i == maxBorrowed {
			return roots, errs.New(errs.FailedPrecondition, "repository borrows from too many others")
		}
		root, err := r.Storage.root.OpenRoot(filepath.Join(repos[i].RelativePath, "objects"))
		if err != nil {
			return roots, fmt.Errorf("open object directory: %w", err)
		}
		roots = append(roots, root)
		entries, err := repos[i].Borrows()
		if err != nil {
			return roots, err
		}
		for _, entry := range entries {
			lender := repos[i].Lender(entry)
			if lender == "" {
				return roots, errs.New(errs.FailedPrecondition, "repository borrows from outside of its storage")
			}
			repos = append(repos, &Repo{Storage: r.Storage, RelativePath: lender})
		}
	}
	return roots, nil
}
