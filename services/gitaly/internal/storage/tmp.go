package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
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

// Temp is a new file for what must pass through the disk.
type Temp struct {
	*os.File
	s   *Storage
	rel string
}

// CreateTemp makes a file in our own directory. The caller ends it with Remove.
func (s *Storage) CreateTemp() (*Temp, error) {
	rel := tmpDir + "/file-" + randomName()
	f, err := s.root.OpenFile(rel, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	return &Temp{File: f, s: s, rel: rel}, nil
}

// Path is where the file is, absolute.
func (t *Temp) Path() string { return filepath.Join(t.s.Path, t.rel) }

// Remove closes and removes the file.
func (t *Temp) Remove() error { return errors.Join(t.Close(), t.s.root.Remove(t.rel)) }

// SweepTemp removes what was left in our own temporary directory before the given
// time, and returns how many entries there were.
func (s *Storage) SweepTemp(before time.Time) (int, error) {
	entries, err := fs.ReadDir(s.root.FS(), tmpDir)
	if err != nil {
		return 0, fmt.Errorf("storage %q: %w", s.Name, err)
	}
	removed := 0
	var faults []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue // gone, or young
		}
		if err := s.root.RemoveAll(tmpDir + "/" + e.Name()); err != nil {
			faults = append(faults, fmt.Errorf("storage %q: remove leftover: %w", s.Name, err))
			continue
		}
		removed++
	}
	return removed, errors.Join(faults...)
}
