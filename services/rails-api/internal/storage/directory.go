package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"

	"gitsplit/kit/durable"
	"gitsplit/services/rails-api/internal/uploaded"
)

// directory keeps files in a directory of this host, or of a volume that all
// replicas of rails-api and workhorse share.
type directory struct{ root string }

// temp lies on the same volume as the rest, so that keeping is renaming.
func (d directory) temp() string { return filepath.Join(d.root, "tmp", "uploads") }

func (d directory) place(context.Context, int64) (uploaded.Destination, error) {
	if err := os.MkdirAll(d.temp(), 0o700); err != nil {
		return uploaded.Destination{}, fmt.Errorf("directory of uploads: %w", err)
	}
	return uploaded.Destination{TempPath: d.temp()}, nil
}

// openRoot opens the root; what is reached through it lies below it, also when
// somebody put a symbolic link there (security-baseline.md C2).
func (d directory) openRoot() (*os.Root, error) {
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
	root, err := d.openRoot()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := syncFile(root, from); err != nil {
		return err
	}
	return d.move(root, from, key)
}

// move renames a synced file to its key, durably.
func (d directory) move(root *os.Root, from, key string) error {
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
	root, err := d.openRoot()
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
	root, err := d.openRoot()
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

func (d directory) list(ctx context.Context, each func(key string, size int64) error) error {
	root, err := d.openRoot()
	if errors.Is(err, fs.ErrNotExist) { // nothing was ever stored
		return nil
	}
	if err != nil {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(ctx.Err(), each(name, info.Size()))
	})
	return errors.Join(err, root.Close())
}

func (d directory) open(_ context.Context, key string) (_ io.ReadCloser, err error) {
	root, err := d.openRoot()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent(key, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent(key, err)
	}
	if err != nil {
		return nil, fmt.Errorf("stored file: %w", err)
	}
	return f, nil
}

// draftPrefix begins the names of what put has not finished, in the directory above temp.
const draftPrefix = "put-"

func (d directory) put(_ context.Context, key string, content io.Reader) (err error) {
	if err := os.MkdirAll(d.temp(), 0o700); err != nil {
		return fmt.Errorf("directory of uploads: %w", err)
	}
	root, err := d.openRoot()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	name := path.Join("tmp", draftPrefix+rand.Text())
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	_, err = io.Copy(f, content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = d.move(root, name, key)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("put %q: %w", key, err), root.RemoveAll(name))
	}
	return nil
}

// sweep removes what a killed put left and nobody has written to since. It leaves
// uploads to workhorse, which knows by a lock on the file which of them lives.
func (d directory) sweep(ctx context.Context, before time.Time) (err error) {
	root, err := d.openRoot()
	if errors.Is(err, fs.ErrNotExist) { // nothing was ever stored
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	drafts, err := fs.Glob(root.FS(), path.Join("tmp", draftPrefix+"*"))
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, name := range drafts {
		info, err := root.Lstat(name)
		if err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) {
			err = root.Remove(name)
		}
		if err := errors.Join(err, ctx.Err()); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have been finished
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

func (directory) close() error { return nil }
