package storage

import (
	"fmt"
	"path/filepath"
)

// TempDir makes an empty private directory on the file system of the repositories,
// so that what is put together there can be renamed into one. remove deletes it with
// what is left in it; after a crash the next start does.
func (s *Storage) TempDir() (dir string, remove func() error, err error) {
	rel := tmpDir + "/dir-" + randomName()
	if err := s.root.Mkdir(rel, 0o700); err != nil {
		return "", nil, fmt.Errorf("make temporary directory: %w", err)
	}
	return filepath.Join(s.Path, rel), func() error { return s.root.RemoveAll(rel) }, nil
}
