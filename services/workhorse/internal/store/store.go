// Package store puts the bytes of an upload where rails-api wants them: into a
// file of a directory, or into object storage through signed addresses
// (wire/workhorse.md §6.6). Bytes are counted and summed as they pass, and never
// held in memory.
//
// What is stored is temporary: rails-api takes it over while it answers the
// request that follows, and File.Discard removes what is still there. Files that a
// killed process left are told from those of living ones by a lock, and removed.
package store

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// Options of a Store.
type Options struct {
	TempDir string // for uploads on their way to object storage; "" is the system's
	Log     *slog.Logger
	Now     func() time.Time
}

// Store stores uploads. It is safe for concurrent use.
type Store struct {
	Options
	client   *http.Client // towards object storage
	openTemp func(dir string) (*os.File, error)

	mu    sync.Mutex
	swept map[string]bool // directories that were cleaned
}

// New returns a Store.
func New(o Options) *Store {
	return &Store{Options: o, client: newClient(), openTemp: openTemp, swept: map[string]bool{}}
}

// Close drops idle connections to object storage.
func (s *Store) Close() { s.client.CloseIdleConnections() }

// File is a stored upload. Discard it when the request has been answered.
type File struct {
	Name     string // as its sender called it
	Path     string // of a local file, else ""
	ID, URL  string // of an object
	Size     int64
	Duration time.Duration
	Sums     map[string]string // hexadecimal, by the name of the function

	mode    string
	discard func()
}

// Discard removes the file or object if it is still there.
func (f *File) Discard() { f.discard() }

// Fields returns what rails-api is told about the file (wire/workhorse.md §6.4).
func (f *File) Fields() map[string]string {
	fields := map[string]string{
		"name": f.Name, "path": f.Path, "remote_url": f.URL, "remote_id": f.ID,
		"size": strconv.FormatInt(f.Size, 10), "upload_duration": strconv.FormatFloat(f.Duration.Seconds(), 'f', -1, 64),
	}
	maps.Copy(fields, f.Sums)
	return fields
}

// Save stores what r yields under a name that rails-api is told. size is the
// announced number of bytes, -1 if there was no announcement. On an error nothing
// is left behind; ErrTooLarge and ErrSource tell the sender's faults.
func (s *Store) Save(ctx context.Context, d Destination, name string, r io.Reader, size int64) (*File, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.MaximumSize > 0 && size > d.MaximumSize {
		return nil, fmt.Errorf("the upload size %d is over maximum of %d bytes: %w", size, d.MaximumSize, ErrTooLarge)
	}
	sums, err := newSums(d.UploadHashFunctions)
	if err != nil {
		return nil, err
	}
	src := &source{r: r, sums: sums, max: d.MaximumSize}
	started := s.Now()
	f := &File{Name: name}
	switch {
	case d.TempPath != "":
		err = s.saveLocal(ctx, f, d.TempPath, src)
	case d.RemoteObject.MultipartUpload != nil && d.RemoteObject.MultipartUpload.PartSize > 0:
		err = s.saveParts(ctx, f, d, src)
	default:
		err = s.saveObject(ctx, f, d, src, size)
	}
	if err != nil {
		return nil, err
	}
	if size >= 0 && src.n != size {
		f.Discard()
		return nil, fmt.Errorf("%d bytes were announced and %d came", size, src.n)
	}
	f.Size, f.Sums, f.Duration = src.n, sums.hex(), s.Now().Sub(started)
	s.Log.InfoContext(ctx, "saved file", slog.Int64("copied_bytes", f.Size), slog.String("client_mode", f.mode),
		slog.Bool("is_local", f.Path != ""), slog.Bool("is_remote", f.ID != ""), slog.Bool("is_multipart", f.mode == modeParts),
		slog.String("filename", name), slog.String("local_temp_path", d.TempPath), slog.String("remote_id", f.ID))
	return f, nil
}

// The ways of storing, as the log calls them.
const (
	modeLocal = "local"
	modePut   = "s3_put"
	modeParts = "s3_multipart"
)
