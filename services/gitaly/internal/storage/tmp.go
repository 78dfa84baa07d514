package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
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
	dir = filepath.Join(s.Path, rel)
	return dir, func() error { return s.RemoveTemp(dir) }, nil
}

// removeAgain is the pause between attempts to remove what could not be.
const removeAgain = time.Second

// doomed are the temporary entries that could not be removed when their time had come.
type doomed struct {
	mu    sync.Mutex
	names map[string]bool
	some  chan struct{} // has an entry when names may have one
}

func newDoomed() *doomed { return &doomed{names: map[string]bool{}, some: make(chan struct{}, 1)} }

func (d *doomed) add(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[name] = true
	select {
	case d.some <- struct{}{}:
	default:
	}
}

// RemoveTemp removes an entry of our temporary directory, given by its path. What cannot
// be removed, since the file system takes no writes for a while, RetryRemovals removes
// when it does.
func (s *Storage) RemoveTemp(path string) error {
	name := filepath.Base(path)
	if err := s.root.RemoveAll(tmpDir + "/" + name); err != nil {
		s.doomed.add(name)
		return fmt.Errorf("remove temporary files: %w", err)
	}
	return nil
}

// RetryRemovals removes what could not be removed before, until ctx ends.
func (s *Storage) RetryRemovals(ctx context.Context) {
	tick := time.NewTicker(removeAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.doomed.some:
		}
		for s.retryRemovals() {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}

// retryRemovals reports whether something is left.
func (s *Storage) retryRemovals() bool {
	s.doomed.mu.Lock()
	defer s.doomed.mu.Unlock()
	for name := range s.doomed.names {
		if s.root.RemoveAll(tmpDir+"/"+name) == nil {
			delete(s.doomed.names, name)
		}
	}
	return len(s.doomed.names) > 0
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
func (t *Temp) Remove() error { return errors.Join(t.Close(), t.s.RemoveTemp(t.rel)) }

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
