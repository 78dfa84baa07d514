package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"gitsplit/kit/logging"
)

// prefix begins the names of our files.
const prefix = "gitlab-workhorse-upload"

// saveLocal writes to a new file in dir.
func (s *Store) saveLocal(ctx context.Context, f *File, dir string, src *source) error {
	s.Sweep(ctx, dir)
	file, err := s.openTemp(dir)
	if err != nil {
		return err
	}
	f.mode, f.Path = modeLocal, file.Name()
	f.discard = func() { s.remove(ctx, file) }
	if _, err := io.Copy(file, src); err != nil {
		f.Discard()
		return err
	}
	return nil
}

// remove deletes the file unless rails-api has moved it, and lets go of it.
func (s *Store) remove(ctx context.Context, file *os.File) {
	err := os.Remove(file.Name())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(err, file.Close()); err != nil {
		s.Log.ErrorContext(ctx, "an upload was not removed", slog.Any(logging.KeyError, err))
	}
}

// openTemp makes a file in dir, and dir. The file is locked for as long as it is
// open: that is how Sweep knows that it belongs to somebody.
func openTemp(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of uploads: %w", err)
	}
	for {
		file, err := os.CreateTemp(dir, prefix)
		if err != nil {
			return nil, fmt.Errorf("file of an upload: %w", err)
		}
		if err := lock(file); err == nil && stillThere(file) {
			return file, nil
		}
		// Somebody else's Sweep came between making and locking.
		if err := file.Close(); err != nil {
			return nil, fmt.Errorf("file of an upload: %w", err)
		}
	}
}

// lock takes the file's lock; it fails at once when another holds it.
func lock(file *os.File) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var locked error
	err = conn.Control(func(fd uintptr) { locked = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) })
	return errors.Join(err, locked)
}

func stillThere(file *os.File) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(file.Name())
	return err == nil && os.SameFile(open, named)
}

// Sweep removes from dir, once in the life of the Store, the files of processes
// that are gone. A directory that is not there yet holds nothing.
func (s *Store) Sweep(ctx context.Context, dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.swept[dir] {
		return
	}
	s.swept[dir] = true
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Log.WarnContext(ctx, "unfinished uploads were not looked for", slog.Any(logging.KeyError, err))
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if err := removeDead(filepath.Join(dir, e.Name())); err != nil {
			s.Log.WarnContext(ctx, "an unfinished upload was not removed", slog.Any(logging.KeyError, err))
		}
	}
}

// removeDead removes a file that nobody holds.
func removeDead(path string) (err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if lock(file) != nil { // its writer lives
		return nil
	}
	return os.Remove(path)
}

// IsFull reports whether an error of Save means that there is no room on disk.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
