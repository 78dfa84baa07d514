// Package rundir is the directory of one running gitaly (wire/gitaly.md §1.3,
// §6.1): the internal socket, the links by which git finds gitaly-hooks, an empty
// home for children. It goes when the process stops; the directories of dead
// processes go when the next one starts.
package rundir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what a Unix socket address holds on Linux.
const maxSocketPath = 107

const prefix = "gitaly-"

// Dir is the directory of this process.
type Dir struct {
	Path   string
	binary string // the hook program
	lock   *os.File
}

// Open makes the directory below base, or in the system's temporary directory if
// base is "". Hook links will lead to the program at hookBinary.
func Open(base, hookBinary string, log *slog.Logger) (_ *Dir, err error) {
	if err := checkBinary(hookBinary); err != nil {
		return nil, err
	}
	d := &Dir{binary: hookBinary}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.Path, err = create(base, log); err != nil {
		return nil, err
	}
	if len(d.Socket()) > maxSocketPath {
		return nil, fmt.Errorf("runtime directory %q: the socket's path %q is %d bytes long, the system allows %d: choose a shorter runtime_dir",
			d.Path, d.Socket(), len(d.Socket()), maxSocketPath)
	}
	if d.lock, err = lock(d.Path); err != nil {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	for _, sub := range []string{"sock.d", "home", "chan.d"} {
		if err := os.Mkdir(filepath.Join(d.Path, sub), 0o700); err != nil {
			return nil, fmt.Errorf("runtime directory: %w", err)
		}
	}
	if err := os.Symlink(hookBinary, d.PackObjects()); err != nil {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	return d, nil
}

// NewHooks makes a directory for one push, which removes it at its end, with links of
// the given names. git starts no other hooks.
func (d *Dir) NewHooks(names ...string) (string, error) {
	dir := filepath.Join(d.Path, "hooks-"+rand.Text()+".d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("hook directory: %w", err)
	}
	for _, name := range names {
		if err := os.Symlink(d.binary, filepath.Join(dir, name)); err != nil {
			return "", errors.Join(fmt.Errorf("hook directory: %w", err), os.RemoveAll(dir))
		}
	}
	return dir, nil
}

func checkBinary(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("hook program %q: want an absolute path", path)
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() || unix.Access(path, unix.X_OK) != nil {
		return fmt.Errorf("hook program %q is not there or not executable: set bin_dir to the directory of gitaly-hooks", path)
	}
	return nil
}

func create(base string, log *slog.Logger) (string, error) {
	if base == "" {
		dir, err := os.MkdirTemp("", prefix)
		if err != nil {
			return "", fmt.Errorf("runtime directory: %w", err)
		}
		return dir, nil
	}
	abs, err := filepath.Abs(base)
	if err != nil {
		return "", fmt.Errorf("runtime directory: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return "", fmt.Errorf("runtime directory: %w", err)
	}
	if err := prune(abs, log); err != nil {
		return "", err
	}
	dir := filepath.Join(abs, prefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("runtime directory: %w", err)
	}
	return dir, nil
}

// lock marks the directory as that of a living process; a process id would not
// do, for in a container it is often the same as the dead one's.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // a descriptor is small
		return nil, errors.Join(fmt.Errorf("%q is in use: %w", dir, err), f.Close())
	}
	return f, nil
}

// prune removes the directories of dead processes. First it ends what they left
// running: a receive-pack that no longer finds its hooks would go on without.
func prune(base string, log *slog.Logger) error {
	entries, err := os.ReadDir(base)
	if err != nil {
		return fmt.Errorf("runtime directory: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		if _, err := strconv.Atoi(strings.TrimPrefix(e.Name(), prefix)); err != nil || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		held, err := lock(dir)
		if err != nil {
			continue // alive
		}
		killed, err := endOrphans(dir)
		if err == nil {
			err = os.RemoveAll(dir)
		}
		if err = errors.Join(err, held.Close()); err != nil {
			return fmt.Errorf("runtime directory of a dead process: %w", err)
		}
		log.Info("runtime directory of a dead process removed", slog.String("dir", dir), slog.Int("processes_ended", killed))
	}
	return nil
}

// Socket is the path of the internal socket.
func (d *Dir) Socket() string { return filepath.Join(d.Path, "sock.d", "intern") }

// PackObjects is the hook program under the name by which it stands in for git
// pack-objects.
func (d *Dir) PackObjects() string { return filepath.Join(d.Path, "gitaly-hooks") }

// Home is an empty directory.
func (d *Dir) Home() string { return filepath.Join(d.Path, "home") }

// Close removes the directory.
func (d *Dir) Close() error {
	var errs []error
	if d.Path != "" {
		errs = append(errs, os.RemoveAll(d.Path))
	}
	if d.lock != nil { // unlock first: a child between fork and exec has the file open too
		errs = append(errs, unix.Flock(int(d.lock.Fd()), unix.LOCK_UN), d.lock.Close()) //nolint:gosec // a descriptor is small
	}
	return errors.Join(errs...)
}
