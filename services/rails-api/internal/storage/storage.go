// Package storage keeps finished files, such as LFS objects and attachments, under
// keys of our own making. Where they lie is a setting: a directory, or a bucket of
// object storage.
//
// Bytes never pass through this process: workhorse stores uploads next to the
// place where they will lie, Keep moves them there, and Send lets workhorse send
// them. What Keep has returned for is durable (security-baseline.md D2).
package storage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/uploaded"
)

// Store keeps files. It is safe for concurrent use. Keys are relative paths of
// lower-case letters, digits, "-" and "_"; two files never share one, unless they
// have the same content.
type Store struct{ backend backend }

// backend is one kind of place. Keys are checked already.
type backend interface {
	// place returns where workhorse stores the next upload.
	place(ctx context.Context) (uploaded.Destination, error)
	keep(ctx context.Context, f uploaded.File, key string) error
	size(ctx context.Context, key string) (int64, error)
	remove(ctx context.Context, key string) error
	// send tells workhorse, in the header, to send the file.
	send(ctx context.Context, header http.Header, key string) error
	close() error
}

// Open opens the place that an address names: file:///directory, which is made
// when it is first needed.
func Open(address string) (*Store, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address of the object storage cannot be read")
	}
	if u.Scheme != "file" || u.Host != "" || u.RawQuery != "" || !filepath.IsAbs(u.Path) {
		return nil, fmt.Errorf("object storage %q: want file:///directory", u.Redacted())
	}
	return &Store{backend: directory{filepath.Clean(u.Path)}}, nil
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
	d, err := s.backend.place(ctx)
	d.MaximumSize, d.UploadHashFunctions = maximum, sums
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
