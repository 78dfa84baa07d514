package home

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// MakeDirs creates the directories of the home, mode 0700, and the directory of
// the sockets. Existing ones are kept; one that belongs to someone else or that
// others may enter is refused.
func (h Home) MakeDirs() error {
	if err := os.MkdirAll(h.Root, 0o700); err != nil {
		return fmt.Errorf("make GITSPLIT_HOME: %w", err)
	}
	dirs := []string{h.Root, h.Config(), h.Config("shell"), h.join("secrets", nil), h.Data(), h.Run(), h.join("log", nil),
		h.Data("repositories"), h.Data("redis"), h.Data("objects")}
	for _, dir := range dirs {
		if err := privateDir(dir); err != nil {
			return err
		}
	}
	return privateDir(h.Sockets)
}

// privateDir makes dir unless it exists, and checks that it is a directory (not a
// symbolic link), ours, and closed to others. The group may have the right to
// pass (0710): that is how the postgres user reaches its own directory when the
// rest runs as root.
func privateDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("check directory: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case !ok || int(owner.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to another user; run gitsplit as its owner or choose another GITSPLIT_HOME", dir)
	case info.Mode().Perm()&0o067 != 0:
		return fmt.Errorf("%s may be read or entered by other users; run: chmod 700 %s", dir, dir)
	}
	return nil
}

// LetPass gives group the right to pass through (not to list) the home, its data
// and its sockets, so that a member can reach a directory of its own in there.
func (h Home) LetPass(gid int) error {
	for _, dir := range []string{h.Root, h.Data(), h.Sockets} {
		if err := errors.Join(os.Chown(dir, -1, gid), os.Chmod(dir, 0o710)); err != nil { //nolint:gosec // search only, one group
			return fmt.Errorf("let the database user pass: %w", err)
		}
	}
	return nil
}

// Reachable reports whether a process with the given user and group could enter
// dir's parents, all the way from the root. The last element itself is not looked
// at, and neither are access control lists.
func Reachable(dir string, uid, gid uint32) (bool, error) {
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return false, fmt.Errorf("check whether user %d can reach %s: %w", uid, dir, err)
		}
		if !passable(info, uid, gid) {
			return false, nil
		}
		if parent == "/" {
			return true, nil
		}
	}
}

func passable(info os.FileInfo, uid, gid uint32) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	switch mode := info.Mode().Perm(); {
	case owner.Uid == uid:
		return mode&0o100 != 0
	case owner.Gid == gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
