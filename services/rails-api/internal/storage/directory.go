package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"

	"gitsplit/kit/durable"
	"gitsplit/services/rails-api/internal/uploaded"
)

// directory keeps files in a directory of this host, or of a volume that all
// replicas of rails-api and workhorse share.
type directory struct{ root string }

// temp lies on the same volume as the rest, so that keeping is renaming.
func (d directory) temp() string { return filepath.Join(d.root, "tmp", "uploads") }

func (d directory) place(context.Context) (uploaded.Destination, error) {
	if err := os.MkdirAll(d.temp(), 0o700); err != nil {
		return uploaded.Destination{}, fmt.Errorf("directory of uploads: %w", err)
	}
	return uploaded.Destination{TempPath: d.temp()}, nil
}

// open opens the root; what is reached through it lies below it, also when
// somebody put a symbolic link there (security-baseline.md C2).
func (d directory) open() (*os.Root, error) {
	root, err := os.OpenRoot(d.root)
	if err != nil {
		return nil, fmt.Errorf("object storage: %w", err)
	}
	return root, nil
}

func (d directory) keep(_ context.Context, f uploaded.File, key string) (err error) {
	from, err := filepath.Rel(d.root, f.Path)
	if err != nil || filepath.Dir(f.Path) != d.temp() {
		return fmt.Errorf("upload %q is not where it was to be stored", f.Path)
	}
	root, err := d.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := syncFile(root, from); err != nil {
		return err
	}
	if err := root.MkdirAll(path.Dir(key), 0o700); err != nil {
		return fmt.Errorf("keep %q: %w", key, err)
	}
	if err := root.Rename(from, key); err != nil {
		return fmt.Errorf("keep %q: %w", key, err)
	}
	// Any of the directories may be new, also when another request made it just now.
	for dir := path.Dir(key); ; dir = path.Dir(dir) {
		if err := durable.SyncDir(filepath.Join(d.root, dir)); err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

// syncFile makes the content of an upload durable.
func syncFile(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return nil
}

func (d directory) size(_ context.Context, key string) (n int64, err error) {
	root, err := d.open()
	if errors.Is(err, fs.ErrNotExist) { // nothing was ever stored
		return 0, absent(key, err)
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	info, err := root.Lstat(key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, absent(key, err)
	case err != nil:
		return 0, fmt.Errorf("stored file: %w", err)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("stored file %q is a %s", key, info.Mode())
	}
	return info.Size(), nil
}

func (d directory) remove(_ context.Context, key string) (err error) {
	root, err := d.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

func (d directory) send(ctx context.Context, header http.Header, key string) error {
	if _, err := d.size(ctx, key); err != nil {
		return err
	}
	header.Set("X-Sendfile", filepath.Join(d.root, key))
	return nil
}

func (directory) close() error { return nil }
