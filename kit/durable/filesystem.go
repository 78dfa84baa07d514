package durable

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// FileSystem is a file system that is to be made durable as a whole: one wait for the
// disk where thousands of files would each have one.
type FileSystem struct{ dir *os.File }

// OpenFileSystem opens the file system that dir is on. What the kernel cannot write from
// now on, Sync tells.
func OpenFileSystem(dir string) (*FileSystem, error) {
	f, err := os.Open(dir) //nolint:gosec // the caller's own
	if err != nil {
		return nil, fmt.Errorf("open file system: %w", err)
	}
	return &FileSystem{f}, nil
}

// Sync makes everything durable that was written to the file system, by whomever: files
// and names. The error's chain has ErrSync.
func (s *FileSystem) Sync() error {
	if err := unix.Syncfs(int(s.dir.Fd())); err != nil {
		return fmt.Errorf("sync file system of %q: %w: %w", s.dir.Name(), ErrSync, err)
	}
	return nil
}

// Close must be called.
func (s *FileSystem) Close() { _ = s.dir.Close() } // nothing was written through it

// TellsOfFileSystems reports whether FileSystem.Sync learns of what could not be written:
// syncfs(2) does so from Linux 5.8 on.
func TellsOfFileSystems() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(u.Release[:]), 5, 8)
}

func atLeast(release string, major, minor int) bool {
	var a, b int
	_, err := fmt.Sscanf(release, "%d.%d", &a, &b)
	return err == nil && (a > major || a == major && b >= minor)
}
