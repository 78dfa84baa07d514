package storage

import (
	"fmt"
	"os"
)

// Root opens the repository's directory as a root that nothing leads out of. Close it.
func (r *Repo) Root() (*os.Root, error) {
	root, err := r.Storage.root.OpenRoot(r.RelativePath)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	return root, nil
}
