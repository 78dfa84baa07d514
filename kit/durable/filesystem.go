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

// Tells reports whether FileSystem.Sync learns of what could not be written on the file
// system of dir. From Linux 5.17 on syncfs(2) tells of data and of the file system's own
// records, and these file systems are known to tell the kernel; others may say nothing
// (FUSE), or not for the layer below (overlayfs).
func Tells(dir string) bool {
	var u unix.Utsname
	var fs unix.Statfs_t
	if unix.Uname(&u) != nil || unix.Statfs(dir, &fs) != nil {
		return false
	}
	switch fs.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
		return atLeast(unix.ByteSliceToString(u.Release[:]), 5, 17)
	}
	return false
}

func atLeast(release string, major, minor int) bool {
	var a, b int
	_, err := fmt.Sscanf(release, "%d.%d", &a, &b)
	return err == nil && (a > major || a == major && b >= minor)
}
