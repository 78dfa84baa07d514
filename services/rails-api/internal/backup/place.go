package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gitsplit/kit/durable"
	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/archive"
)

// Place is where an archive is kept.
type Place interface {
	// Write keeps what fill writes, all of it or nothing: it appears when it is complete, durable, and has been read back.
	Write(ctx context.Context, fill func(io.Writer) error) (size int64, err error)
	// Open reads the archive.
	Open(ctx context.Context) (io.ReadCloser, error)
	// String names the archive for people.
	String() string
}

// FindPlace returns the place that an operator names: a path, or an address of object storage. A directory, which ends in "/" or exists, gets an
// archive with a name of its own.
func FindPlace(target string, now time.Time) (Place, error) {
	name := "gitsplit-" + now.UTC().Format("20060102T150405Z") + ".tar"
	u, err := url.Parse(target)
	if err != nil || u.Scheme == "" {
		return localPlace(target, name), nil //nolint:nilerr // whatever is no address is a path
	}
	if u.Scheme == "file" && u.Host == "" && u.RawQuery == "" {
		return localPlace(u.Path, name), nil
	}
	if key := strings.TrimPrefix(u.Path, "/"); u.Scheme == "s3" {
		if key == "" || strings.HasSuffix(key, "/") {
			key += name
		}
		bucket := *u
		bucket.Path = ""
		return object{bucket: &bucket, key: key}, nil
	}
	return nil, errs.Newf(errs.Invalid, "%q is no path, file:///path or s3://bucket/path?region=…", u.Redacted())
}

func localPlace(path, name string) file {
	info, err := os.Stat(path)
	if strings.HasSuffix(path, "/") || err == nil && info.IsDir() {
		path = filepath.Join(path, name)
	}
	return file{filepath.Clean(path)}
}

// file is an archive in a directory of this host.
type file struct{ path string }

// String returns the path.
func (f file) String() string { return f.path }

// Open opens the file.
func (f file) Open(context.Context) (io.ReadCloser, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("open the backup: %w", err)
	}
	return r, nil
}

// Write writes aside, reads back, and renames.
func (f file) Write(ctx context.Context, fill func(io.Writer) error) (size int64, err error) {
	if _, err := os.Lstat(f.path); err == nil {
		return 0, errs.Newf(errs.Exists, "%s exists already", f.path)
	}
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, unwritable(dir, err)
	}
	draft, err := os.CreateTemp(dir, "."+filepath.Base(f.path)+".partial-*") // mode 0600
	if err != nil {
		return 0, unwritable(dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(draft.Name()))
		}
	}()
	if err := errors.Join(fill(draft), draft.Sync()); err != nil {
		return 0, errors.Join(err, draft.Close())
	}
	if size, err = draft.Seek(0, io.SeekCurrent); err == nil {
		_, err = draft.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = archive.Verify(readerContext{ctx, draft})
	}
	if err := errors.Join(err, draft.Close()); err != nil {
		return 0, fmt.Errorf("read the backup back: %w", err)
	}
	if err := os.Rename(draft.Name(), f.path); err != nil {
		return 0, fmt.Errorf("write the backup: %w", err)
	}
	return size, durable.SyncDir(dir)
}

// unwritable says who has to be let in, which in a container is not obvious.
func unwritable(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return errs.Wrap(errs.Denied, fmt.Sprintf("the directory %s cannot be written; it has to belong to the user %d", dir, os.Getuid()), err)
	}
	return fmt.Errorf("write the backup: %w", err)
}

// readerContext ends with its context.
type readerContext struct {
	ctx context.Context
	r   io.Reader
}

// Read reads, unless the context has ended.
func (r readerContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
