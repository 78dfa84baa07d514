// Package storage knows where repositories are: it turns the storage name and the
// relative path of a request into a directory, refuses everything that leaves
// it, and creates and removes repositories so that a crash leaves all or nothing.
//
// Paths come from callers and are data (security-baseline.md C1-C3): they are
// checked as text, then opened below the storage's root, and no symbolic link is
// followed on the way to a repository.
package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"gitsplit/kit/errs"
)

// Names of our own inside a storage (wire/gitaly.md §16).
const (
	ownDir = "+gitaly"
	tmpDir = ownDir + "/tmp"
)

// Storage is one directory of repositories, held exclusively.
type Storage struct {
	Name         string
	Path         string // absolute, symbolic links resolved
	FilesystemID string // from the marker file
	root         *os.Root
	lock         *os.File
	dir          fs.FileInfo // of Path when it was opened
	doomed       *doomed
}

// Open takes hold of the storage at path: the directory must exist and carry our
// marker or be empty, and no other gitaly may hold it. Leftovers of dead
// processes in our own temporary directory are removed.
func Open(name, path string) (_ *Storage, err error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("storage %q: directory %q does not exist: create it, or mount its disk", name, path)
	}
	if err != nil {
		return nil, fmt.Errorf("storage %q: %w", name, err)
	}
	s := &Storage{Name: name, Path: real, doomed: newDoomed()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.root, err = os.OpenRoot(real); err != nil {
		return nil, fmt.Errorf("storage %q: %w", name, err)
	}
	if s.dir, err = s.root.Stat("."); err != nil {
		return nil, fmt.Errorf("storage %q: %w", name, err)
	}
	if s.FilesystemID, err = s.marker(); err != nil {
		return nil, fmt.Errorf("storage %q: %w", name, err)
	}
	if err := s.root.MkdirAll(tmpDir, 0o700); err != nil {
		return nil, fmt.Errorf("storage %q: %w", name, err)
	}
	if err := s.hold(); err != nil {
		return nil, err
	}
	return s, s.emptyTmp()
}

// hold locks the storage: sweeping locks and quarantines is safe only for the
// one gitaly that starts writers here.
func (s *Storage) hold() error {
	f, err := s.root.OpenFile(ownDir+"/lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("storage %q: %w", s.Name, err)
	}
	s.lock = f
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // a descriptor is small
		return fmt.Errorf("storage %q at %q is in use by another gitaly: %w", s.Name, s.Path, err)
	}
	return nil
}

func (s *Storage) emptyTmp() error {
	entries, err := fs.ReadDir(s.root.FS(), tmpDir)
	if err != nil {
		return fmt.Errorf("storage %q: %w", s.Name, err)
	}
	for _, e := range entries {
		if err := s.root.RemoveAll(tmpDir + "/" + e.Name()); err != nil {
			return fmt.Errorf("storage %q: remove leftover: %w", s.Name, err)
		}
	}
	return nil
}

// Own is the directory of gitaly's own in the storage, absolute.
func (s *Storage) Own() string { return filepath.Join(s.Path, ownDir) }

// Close lets go of the storage.
func (s *Storage) Close() error {
	var faults []error
	if s.lock != nil { // unlock first: a child between fork and exec has the file open too
		faults = append(faults, unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close()) //nolint:gosec // a descriptor is small
	}
	if s.root != nil {
		faults = append(faults, s.root.Close())
	}
	return errors.Join(faults...)
}

// present is an error when the directory that was opened is no longer at Path: git
// finds repositories by name, and where a disk is no longer mounted there is an empty
// directory in its place.
func (s *Storage) present() error {
	info, err := os.Stat(s.Path)
	if err != nil || !os.SameFile(info, s.dir) {
		return errs.Wrap(errs.NotFound, "storage does not exist", err)
	}
	return nil
}

// Writable reports whether a file can be written, made durable and removed.
func (s *Storage) Writable() error {
	name := tmpDir + "/probe-" + randomName()
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("storage %q: %w", s.Name, err)
	}
	if err := errors.Join(f.Close(), s.root.Remove(name)); err != nil {
		return fmt.Errorf("storage %q: %w", s.Name, err)
	}
	return nil
}

// Disk returns the bytes free for us and the bytes in use on the storage's disk.
func (s *Storage) Disk() (available, used int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.Path, &st); err != nil {
		return 0, 0, fmt.Errorf("storage %q: statfs: %w", s.Name, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks-st.Bfree) * st.Bsize, nil //nolint:gosec // sizes of real disks
}

// Filesystem names the file system's type where it is a well-known one.
func (s *Storage) Filesystem() string {
	var st unix.Statfs_t
	if unix.Statfs(s.Path, &st) != nil {
		return "unknown"
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.NFS_SUPER_MAGIC: "nfs",
	}
	if n, ok := names[int64(st.Type)]; ok {
		return n
	}
	return "unknown"
}
