// Package customhook keeps the custom hooks of one repository: which they are is told
// and set as a tar file with the directory custom_hooks (wire/gitaly.md §6.6). Running
// them is the business of package hook.
package customhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"gitsplit/kit/durable"
	"gitsplit/services/gitaly/internal/storage"
	"gitsplit/services/gitaly/internal/tarball"
)

// dir is where the hooks are, in the repository and in the tar file.
const dir = "custom_hooks"

// limits of a tar file with hooks.
var limits = tarball.Limits{Entries: 1000, Size: 64 << 20} //nolint:gochecknoglobals // a constant

// Get writes the hooks. Without any it writes nothing.
func Get(ctx context.Context, repo *storage.Repo, w io.Writer) error {
	root, err := repo.Root()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if _, err := root.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	out := tarball.NewWriter(w)
	if err := out.Tree(ctx, root, dir, dir, nil); err != nil {
		return err
	}
	return out.Close()
}

// Set replaces the hooks by those of a tar file; an empty file leaves none. At every
// moment the old ones are there or the new ones, also after a crash. A tar file that
// will not do is errs.Invalid.
func Set(repo *storage.Repo, r io.Reader) (err error) {
	tmp, remove, err := repo.Storage.TempDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return fmt.Errorf("open temporary directory: %w", err)
	}
	defer func() { _ = root.Close() }()
	if err := Unpack(root, r); err != nil {
		return err
	}
	_, err = root.Lstat(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := replace(filepath.Join(repo.Dir, dir), filepath.Join(tmp, dir), err == nil); err != nil {
		return fmt.Errorf("replace custom hooks: %w", err)
	}
	return durable.SyncDir(repo.Dir)
}

// Unpack puts the hooks of a tar file into a repository that has none yet.
func Unpack(repo *os.Root, r io.Reader) error { return tarball.Extract(repo, dir, r, limits) }

// replace puts the new directory into the place of the old one in a single step. The
// old one, if there was one, is then at the place of the new one.
func replace(current, next string, any bool) error {
	if !any {
		err := os.Rename(current, next)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, current, unix.RENAME_EXCHANGE)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.Rename(next, current)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS): // a file system that cannot
		return errors.Join(os.Rename(current, next+".old"), os.Rename(next, current))
	}
	return err
}
