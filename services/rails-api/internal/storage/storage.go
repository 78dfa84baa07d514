// Package storage keeps finished files, such as LFS objects and attachments, under
// keys of our own making. Where they lie is a setting: a directory, or a bucket of
// object storage.
//
// Bytes never pass through rails-api: workhorse stores uploads next to the place
// where they will lie, Keep moves them there, and Send lets workhorse send them.
// What Keep has returned for is durable (security-baseline.md D2). List, Open and Put
// are for copies of everything, as backups are.
package storage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/uploaded"
)

// Store keeps files. It is safe for concurrent use. Keys are relative paths of
// lower-case letters, digits, "-" and "_"; two files never share one, unless they
// have the same content.
type Store struct{ backend backend }

// backend is one kind of place. Keys are checked already.
type backend interface {
	// place returns where workhorse stores the next upload, of maximum bytes at most;
	// 0 is no limit. It may ask for check sums of its own.
	place(ctx context.Context, maximum int64) (uploaded.Destination, error)
	keep(ctx context.Context, f uploaded.File, key string) error
	size(ctx context.Context, key string) (int64, error)
	remove(ctx context.Context, key string) error
	// send tells workhorse, in the header, to send the file.
	send(ctx context.Context, header http.Header, key string) error
	// list calls each with every file, in the order of their keys; also with what
	// has no key of ours.
	list(ctx context.Context, each func(key string, size int64) error) error
	open(ctx context.Context, key string) (io.ReadCloser, error)
	put(ctx context.Context, key string, content io.Reader) error
	// sweep removes what uploads and puts left that began before.
	sweep(ctx context.Context, before time.Time) error
	close() error
}

// Open opens the place that an address names: file:///directory, which is made
// when it is first needed, or s3://bucket?region=…&endpoint=…, for which the
// credentials come from where AWS's tools look for them. It does not connect.
func Open(ctx context.Context, address string) (*Store, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address of the object storage cannot be read")
	}
	switch {
	case u.Scheme == "s3":
		b, err := openBucket(ctx, u)
		if err != nil {
			return nil, err
		}
		return &Store{backend: b}, nil
	case u.Scheme != "file" || u.Host != "" || u.RawQuery != "" || !filepath.IsAbs(u.Path):
		return nil, fmt.Errorf("object storage %q: want file:///directory or s3://bucket", u.Redacted())
	}
	return &Store{backend: directory{filepath.Clean(u.Path)}}, nil
}

// Check reports what is wrong with an address.
func Check(address string) error {
	s, err := Open(context.Background(), address)
	if err != nil {
		return err
	}
	return s.Close()
}

// Close frees what Open opened.
func (s *Store) Close() error { return s.backend.close() }

// TempDir returns the directory into which workhorse stores uploads, "" if it
// stores them elsewhere.
func (s *Store) TempDir() string {
	if d, ok := s.backend.(directory); ok {
		return d.temp()
	}
	return ""
}

// Destination returns where workhorse shall store the next upload, of maximum
// bytes at most (0 is no limit), with the check sums that are wanted: each of them
// costs time.
func (s *Store) Destination(ctx context.Context, maximum int64, sums ...string) (uploaded.Destination, error) {
	d, err := s.backend.place(ctx, maximum)
	d.MaximumSize, d.UploadHashFunctions = maximum, append(d.UploadHashFunctions, sums...)
	return d, err
}

// Keep moves an upload to its key.
func (s *Store) Keep(ctx context.Context, f uploaded.File, key string) error {
	if err := check(key); err != nil {
		return err
	}
	return s.backend.keep(ctx, f, key)
}

// Size returns the size of a file in bytes, errs.NotFound if there is none.
func (s *Store) Size(ctx context.Context, key string) (int64, error) {
	if err := check(key); err != nil {
		return 0, err
	}
	return s.backend.size(ctx, key)
}

// Delete removes a file, if it is there.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(key); err != nil {
		return err
	}
	return s.backend.remove(ctx, key)
}

// Send answers with a file, which workhorse sends: always as something to keep,
// never to show in the browser of whoever follows the link, if name is not "". The
// content type is the caller's. It is errs.NotFound if there is no such file.
func (s *Store) Send(ctx context.Context, w http.ResponseWriter, key, contentType, name string) error {
	if err := check(key); err != nil {
		return err
	}
	h := w.Header()
	if err := s.backend.send(ctx, h, key); err != nil {
		return err
	}
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	if name != "" {
		h.Set("Content-Disposition", Disposition(name))
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// List calls each with the key and the size in bytes of every file that is kept, in
// the order of the keys. It ends with the first error.
func (s *Store) List(ctx context.Context, each func(key string, size int64) error) error {
	return s.backend.list(ctx, func(key string, size int64) error {
		if check(key) != nil { // an upload under way, or none of ours
			return nil
		}
		return each(key, size)
	})
}

// Open returns the content of a file, errs.NotFound if there is none. The caller
// closes it.
func (s *Store) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := check(key); err != nil {
		return nil, err
	}
	return s.backend.open(ctx, key)
}

// Put stores content under a key, in place of what is there, at once or not at all.
func (s *Store) Put(ctx context.Context, key string, content io.Reader) error {
	if err := check(key); err != nil {
		return err
	}
	return s.backend.put(ctx, key, content)
}

// Sweep removes what is left of uploads that began before a time and were neither
// kept nor removed by workhorse, since it died; and of what Put wrote before it when it was killed.
func (s *Store) Sweep(ctx context.Context, before time.Time) error {
	return s.backend.sweep(ctx, before)
}

// Disposition is the Content-Disposition of a file that is to be kept; names that are not
// plain are encoded (RFC 6266).
func Disposition(name string) string {
	if v := mime.FormatMediaType("attachment", map[string]string{"filename": name}); v != "" {
		return v
	}
	return "attachment"
}

var (
	keyPattern = regexp.MustCompile(`^[a-z0-9_-]+(/[a-z0-9_-]+)+$`)
	errKey     = errors.New("bad key of a stored file")
)

// tempPrefix is where uploads lie before they are kept; no key begins so.
const tempPrefix = "tmp/"

func check(key string) error {
	const most = 512
	if len(key) > most || !keyPattern.MatchString(key) || len(key) >= len(tempPrefix) && key[:len(tempPrefix)] == tempPrefix {
		return fmt.Errorf("%w: %q", errKey, key)
	}
	return nil
}

// NewKey returns a key below prefix that nobody can guess.
func NewKey(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return prefix + "/" + hex.EncodeToString(b[:])
}

func absent(key string, err error) error {
	return errs.Wrap(errs.NotFound, "the file is not stored", fmt.Errorf("key %q: %w", key, err))
}
