package faults_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// mountable says that we may mount file systems; without, the cells of the storage's
// faults are reported as not covered.
func mountable() bool { return os.Getuid() == 0 }

// mountStorage gives the storage a small file system of its own.
func mountStorage(dir string) error {
	if !mountable() {
		return nil
	}
	return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512m,mode=0700")
}

// unmount takes away whatever is mounted at dir, used or not.
func unmount(dir string) {
	for mountable() && unix.Unmount(dir, unix.MNT_DETACH) == nil {
	}
}

// fill leaves no room in the storage until the returned function is called.
func fill(storage string) (undo func() error, err error) {
	name := filepath.Join(storage, "filler")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	var block int64 = 64 << 20
	for size := int64(0); block >= 4096; {
		err := unix.Fallocate(int(f.Fd()), 0, size, block)
		switch {
		case err == nil:
			size += block
		case errors.Is(err, syscall.ENOSPC):
			block /= 2
		case !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(err, f.Close(), os.Remove(name))
		}
	}
	return func() error { return errors.Join(f.Close(), os.Remove(name)) }, nil
}

// seal lets nobody open or make anything in the storage for writing. What is open
// stays so: a file system with open files cannot be made read-only as a whole.
func seal(storage string) (undo func() error, err error) {
	if err := unix.Mount(storage, storage, "", unix.MS_BIND, ""); err != nil {
		return nil, err
	}
	undo = func() error { return unix.Unmount(storage, unix.MNT_DETACH) }
	if err := unix.Mount("", storage, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}
