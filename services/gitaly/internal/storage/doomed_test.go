package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
)

// TestStorage_RetryRemovals: what a file system without writes kept goes when it takes
// them again. A directory handle that is closed stands for it.
func TestStorage_RetryRemovals(t *testing.T) {
	t.Parallel()
	s, err := Open("default", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	dir, remove, err := s.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	busy := s.root
	closed, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	s.root = closed
	if err := remove(); err == nil {
		t.Fatal("removed below a closed directory")
	}
	if !s.retryRemovals() {
		t.Error("nothing is left to remove")
	}
	s.root = busy
	synctest.Test(t, func(t *testing.T) {
		names := s.doomed.names
		s.doomed = newDoomed()
		for name := range names {
			s.doomed.add(name)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go s.RetryRemovals(ctx)
		synctest.Wait()
		cancel()
	})
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || s.retryRemovals() {
		t.Errorf("%s is still there: %v", filepath.Base(dir), err)
	}
}
