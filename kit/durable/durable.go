// Package durable writes files that are whole or absent, also for a machine that
// lost power (security-baseline.md D2).
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrSync is in the chain of the error when a sync failed. Nobody knows then what is on
// the disk, and a second sync that succeeds proves nothing: the kernel forgets what it
// could not write (security-baseline.md D3).
var ErrSync = errors.New("not durable")

// WriteFile puts content at path so that a reader sees the old file or the whole
// new one: written aside, synced, renamed, and the directory synced. The mode is
// exactly mode.
func WriteFile(path string, content []byte, mode os.FileMode) error {
	return write(path, content, mode, os.Rename)
}

// CreateFile is WriteFile for a file that must not exist: the error is
// os.ErrExist if it does, whoever made it.
func CreateFile(path string, content []byte, mode os.FileMode) error {
	return write(path, content, mode, os.Link)
}

func write(path string, content []byte, mode os.FileMode, place func(from, to string) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	defer func() {
		if rmErr := os.Remove(f.Name()); !errors.Is(rmErr, os.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
	}()
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(mode), synced(f), f.Close()); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	if err := place(f.Name(), path); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return SyncDir(dir)
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // the caller's own
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(synced(f), f.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

func synced(f *os.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrSync, err)
	}
	return nil
}
