package backup

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"gitsplit/kit/durable"
	"gitsplit/kit/errs"
)

// Store is a directory of backups. What is in it is complete and durable.
type Store struct {
	dir  string
	root *os.Root
}

// OpenStore opens an existing directory. Close must be called.
func OpenStore(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open backups: %w", err)
	}
	return &Store{dir: dir, root: root}, nil
}

// Close lets go of the directory.
func (s *Store) Close() error { return s.root.Close() }

// open opens a file. One that is not there is errs.NotFound.
func (s *Store) open(name string) (*os.File, error) {
	f, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Wrap(errs.NotFound, "no such file in the backup", err)
	}
	return f, err
}

// path is where a file is, for git, which opens it by name.
func (s *Store) path(name string) (string, error) {
	f, err := s.open(name) // nothing on the way leads out
	if err != nil {
		return "", err
	}
	return filepath.Join(s.dir, name), f.Close()
}

// write writes a file with what fill gives, and reports whether that was anything:
// there are no empty files. A file that is there already is replaced.
func (s *Store) write(name string, fill func(w io.Writer) error) (written bool, err error) {
	if err := s.mkdir(path.Dir(name)); err != nil {
		return false, err
	}
	tmp := path.Join(path.Dir(name), ".tmp-"+rand.Text())
	f, err := s.root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false, fmt.Errorf("write backup: %w", err)
	}
	w := &counter{w: f}
	if err = fill(w); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil || w.n == 0 {
		return false, errors.Join(err, s.root.Remove(tmp))
	}
	if err := s.root.Rename(tmp, name); err != nil {
		return false, fmt.Errorf("write backup: %w", err)
	}
	return true, durable.SyncDir(filepath.Join(s.dir, path.Dir(name)))
}

// mkdir makes a directory and those above it, each name durable.
func (s *Store) mkdir(name string) error {
	if name == "." {
		return nil
	}
	if err := s.mkdir(path.Dir(name)); err != nil {
		return err
	}
	switch err := s.root.Mkdir(name, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return fmt.Errorf("write backup: %w", err)
	}
	return durable.SyncDir(filepath.Join(s.dir, path.Dir(name)))
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
